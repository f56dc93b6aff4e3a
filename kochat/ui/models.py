"""The loaded checkpoints of the server: each loaded once, shared by all visitors, a few kept."""

from __future__ import annotations

import functools
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

# It puts another module in its place while it is imported: a second thread that imports it meanwhile is left with the
# first one, in which nothing is found. So it is here before there are threads; torch still comes when it is needed.
import transformers  # noqa: F401

from kochat.inference import remote
from kochat.model import checkpoint
from kochat.model.cards import PROFILE_TEXTS, Card
from kochat.ui import zero_gpu

if TYPE_CHECKING:
    from kochat.inference.chatbot import Chatbot
    from kochat.inference.remote import RemoteChatbot
    from kochat.model.prompt import Prompt

KEPT = 3
ENGINE = "/engine"  # the name of what answers on another server; no checkpoint can be called so
_loading = threading.Lock()
_order = threading.Lock()
_bots: dict[tuple[Path, float], Chatbot] = {}  # the one used longest ago is first, and goes first


def engine() -> RemoteChatbot | None:
    """The chatbot of the engine that KOCHAT_ENGINE names, if any. Raises ReplyError where that is no address."""
    url = os.environ.get(remote.ENGINE, "").strip()
    return _engine(url) if url else None


@functools.lru_cache(maxsize=1)
def _engine(url: str) -> RemoteChatbot:
    return remote.load(url)


def first_name() -> str | None:
    """What the page opens on: the engine, else the first checkpoint of the list."""
    return ENGINE if engine() else next(iter(checkpoint.list_checkpoints()), None)


def bot(name: str) -> Chatbot | RemoteChatbot:
    """The chatbot of a checkpoint in the list; only names count, never a path. Raises CheckpointError.

    By the name ENGINE it is that of the engine, where there is one.
    """
    if name == ENGINE and (elsewhere := engine()):
        return elsewhere
    path, _ = key = version(name)
    if known := _used(key):  # need not wait for one that is being loaded
        return known
    with _loading:  # two visitors at once must not load it twice
        return _used(key) or _keep(key, _load(path))


def _used(key: tuple[Path, float]) -> Chatbot | None:
    """A chatbot that is loaded; it is now the one used last."""
    with _order:
        if key in _bots:
            _bots[key] = _bots.pop(key)
        return _bots.get(key)


def _keep(key: tuple[Path, float], loaded: Chatbot) -> Chatbot:
    with _order:
        _bots[key] = loaded
        while len(_bots) > KEPT:
            _bots.pop(next(iter(_bots)))
    return loaded


def loaded() -> list[str]:
    """The names of the checkpoints that are loaded, the one used last at the end."""
    with _order:
        return [path.name for path, _ in _bots]


def borrow(name: str) -> Chatbot:
    """The same, but one that has to be loaded for it is not kept. Raises CheckpointError.

    For whoever goes through many: the ones that people talk to stay.
    """
    path, _ = key = version(name)
    return _bots.get(key) or _load(path)


def version(name: str) -> tuple[Path, float]:
    """The folder of a checkpoint in the list, and when it was last changed. Raises CheckpointError."""
    path = checkpoint.list_checkpoints().get(name)
    if path is None:
        checkpoint.explain_absence(name)
    return path, (path / checkpoint.CARD_FILE).stat().st_mtime


def _load(path: Path) -> Chatbot:
    from kochat.inference.chatbot import load  # torch takes seconds; the page is there before
    from kochat.model.gpt2 import quiet

    quiet()
    return zero_gpu.lend_to(load(path), path)


def card(name: str | None) -> Card:
    """The card of a checkpoint, without loading its model; an empty one where it is gone."""
    if name == ENGINE and (elsewhere := engine()):
        return replace(elsewhere.card, profile={"title": elsewhere.name[: PROFILE_TEXTS["title"]]})
    path = checkpoint.list_checkpoints().get(name or "")
    return checkpoint.read_card(path) if path else Card()


def prompt(name: str | None) -> Prompt | None:
    """How a checkpoint in the list makes tokens of a pair; None where it is gone."""
    return bot(name).prompt if name in checkpoint.list_checkpoints() else None
