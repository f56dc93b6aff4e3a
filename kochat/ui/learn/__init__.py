"""The tab in which one learns by doing: seven short steps, each with a prediction, a deed, what came out, and why."""
