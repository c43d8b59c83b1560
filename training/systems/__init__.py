"""Each paper's heads: hidden states of an encoder -> logits. One file a paper; nothing is shared between papers."""
