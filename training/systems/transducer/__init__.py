"""ENT and FENT: Shen, Gao, Liu, Wang, Zhou, "Emotion Neural Transducer for Fine-Grained Speech Emotion Recognition", ICASSP 2024."""
