"""What an encoder may learn from speech without labels, one file an objective, and what they share. The command is training/pretrain.py."""
