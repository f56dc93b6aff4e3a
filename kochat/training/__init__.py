"""Training: from pairs to a checkpoint, as events."""
