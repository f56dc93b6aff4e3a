"""Sharing: a checkpoint as something that others can open, without kochat."""
