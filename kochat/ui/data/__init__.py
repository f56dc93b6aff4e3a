"""The data tab: datasets, their rows, files brought in."""
