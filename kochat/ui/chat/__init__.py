"""The chat tab: talk, see why, correct, learn."""
