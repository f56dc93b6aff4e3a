"""The loaded checkpoints of the server: each loaded once, shared by all visitors, a few kept."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from .. import checkpoint
from ..errors import CheckpointError

if TYPE_CHECKING:
    from ..chatbot import Chatbot

KEPT = 3
_loading = threading.Lock()


def bot(name: str) -> Chatbot:
    """The chatbot of a checkpoint in the list; only names count, never a path. Raises CheckpointError."""
    path = checkpoint.list_checkpoints().get(name)
    if path is None:
        raise CheckpointError("no_checkpoint", path=name)
    with _loading:  # two visitors at once must not load it twice
        return _loaded(path, (path / checkpoint.CARD_FILE).stat().st_mtime)


@functools.lru_cache(maxsize=KEPT)
def _loaded(path: Path, changed: float) -> Chatbot:
    from ..chatbot import load  # torch takes seconds; the page is there before

    return load(path)


def labels(name: str) -> list[str]:
    """The labels of a checkpoint, without loading its model."""
    path = checkpoint.list_checkpoints().get(name)
    return checkpoint.read_card(path).labels if path else []
