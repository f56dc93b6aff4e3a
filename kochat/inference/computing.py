"""The one thread in which torch computes, whoever asks.

GNU OpenMP starts a team of threads for every thread that computes, and MKL keeps some 3 MB of buffers for each thread
of a team for ever. The threads of a server come and go, so its memory would grow as long as it answers. And where the
teams together have more threads than there are processors, OpenMP lets idle ones sleep at once instead of waiting for
the next operation (its `GOMP_SPINCOUNT`): a token of a KoGPT2 took twice as long on two cores.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import torch

Arguments, Result = ParamSpec("Arguments"), TypeVar("Result")


def computed(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function, run in that thread; it must call no other such function."""

    @functools.wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return _thread.submit(function, *args, **kwargs).result()

    return run


@contextlib.contextmanager
def without_a_team() -> Iterator[None]:
    """What is done here goes without a team of threads: a model can be loaded while others get their replies."""
    global _num_threads, _num_without
    _thread.submit(torch.get_num_threads).result()  # a thread keeps the number that torch has when it first asks
    with _lock:
        if not _num_without:
            _num_threads = torch.get_num_threads()
        _num_without += 1
    torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _num_without -= 1
        torch.set_num_threads(_num_threads)


def _start() -> None:
    global _thread, _lock, _num_without, _num_threads
    _thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="computing")
    _lock, _num_without, _num_threads = threading.Lock(), 0, 1


_start()
if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_start)  # a child has none of its parent's threads but the one that forked
