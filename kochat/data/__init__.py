"""Data: a file of any kind becomes pairs, datasets and the parts of a split."""
