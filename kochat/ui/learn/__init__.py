"""The learning tab: seven short steps, each with a prediction, an action, what came out, and why."""
