"""Each figure of the README: `python -m benchmarks.NAME`, one command a table."""
