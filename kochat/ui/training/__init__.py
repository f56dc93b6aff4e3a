"""The training tab: choose data and settings, watch the loss, talk to the result."""
