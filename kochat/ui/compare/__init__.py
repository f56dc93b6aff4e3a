"""The compare tab: the same questions to several checkpoints and labels."""
