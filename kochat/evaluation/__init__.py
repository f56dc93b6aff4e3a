"""Evaluation: the figures of a checkpoint on pairs that it was not trained on."""
