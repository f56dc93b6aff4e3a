"""`python -m kochat`: see cli/main.py."""

from kochat.cli.main import main

if __name__ == "__main__":
    main()
