"""Several processes that train together, as `torchrun` starts them: what the main one finds out, for all of them.

Knows accelerate; one process alone is the main one, and nothing changes for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, parse_flag_from_env

from kochat.errors import RunError

T = TypeVar("T")


def _state() -> PartialState:
    # Without a GPU, and not told so, it would take each of several processes for the only one.
    return PartialState(cpu=not torch.accelerator.is_available() or parse_flag_from_env("ACCELERATE_USE_CPU"))


def is_main() -> bool:
    """Whether this is the process that writes."""
    return _state().is_main_process


def process_index() -> int:
    """The number of this process among all, from 0."""
    return _state().process_index


def from_main(ask: Callable[[], T]) -> T:
    """What `ask` gives in the main process, in all of them: they decide alike, also where they compute differently."""
    return broadcast_object_list([ask() if is_main() else None])[0]


@contextlib.contextmanager
def told_of_losses() -> Iterator[None]:
    """Raises RunError where one of the others has ended: whoever waits for it gets an error of the connection."""
    try:
        yield
    except RuntimeError as error:
        # gloo has no exception of its own.
        if isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error):
            raise RunError("process_lost") from error
        raise
