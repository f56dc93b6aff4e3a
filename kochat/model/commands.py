"""The command line that makes a checkpoint again, for its card."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def command(name: str, config: Any) -> str:
    """The command line that makes `config` again, with files by their names only."""
    words = [f"python -m kochat {name}"]
    for one in fields(config):
        value = getattr(config, one.name)
        if value is None or value == one.default or one.name == "sample_questions":
            continue
        option = "--" + one.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(option if value else "--no-" + option[2:])
            continue
        for each in value if isinstance(value, tuple) else (value,):
            words.append(f"{option} {shlex.quote(_without_folder(one.name, each))}")
    return " ".join(words)


def _without_folder(name: str, value: Any) -> str:
    if name == "output" or (name == "base" and Path(value).is_dir()):
        return f"checkpoints/{Path(value).name}"
    if name not in ("data", "text", "pairs"):
        return str(value)
    if "://" in value:  # without name, password and query: they may be a key
        url = urlsplit(value)
        return f"{url.scheme}://{url.hostname}{url.path}"
    return Path(value).name
