"""An engine for a process that was forked from one that has computed already, on the GPU where it has one.

Knows checkpoints and torch; not who forks, nor why (see the page's zero_gpu.py).
"""

from __future__ import annotations

from pathlib import Path

import torch

from kochat.inference.causal_lm import decoder_of
from kochat.inference.engine import Engine
from kochat.model import checkpoint

_engines: dict[tuple[str, float], Engine] = {}  # one: the process may serve several calls


def prepare() -> None:
    """Let torch compute in this thread: those of its pool are not here, though it thinks so and would wait for them."""
    torch.set_num_threads(1)


def engine_of(folder: str) -> Engine:
    """The engine of a checkpoint folder, loaded anew where it has changed. Raises CheckpointError."""
    prepare()
    key = folder, (Path(folder) / checkpoint.CARD_FILE).stat().st_mtime
    if key not in _engines:
        loaded = checkpoint.load(folder)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        _engines.clear()
        _engines[key] = Engine(decoder_of(loaded, device), loaded.tokenizer.eos_token_id)
    return _engines[key]
