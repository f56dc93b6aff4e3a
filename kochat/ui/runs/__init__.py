"""The runs tab: every run, one closely, several compared."""
