"""Training on transformers' Trainer: data, losses, checkpoints."""
