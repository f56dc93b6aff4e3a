"""The command line: `kochat …`."""
