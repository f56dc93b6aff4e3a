"""The one thread in which torch computes, whoever asks.

GNU OpenMP starts a team of threads for every thread that computes, and MKL keeps some 3 MB of buffers for each thread
of a team for ever. The threads of a server come and go, so its memory would grow as long as it answers.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments, Result = ParamSpec("Arguments"), TypeVar("Result")


def computed(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function, run in that thread; it must call no other such function."""

    @functools.wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return _thread.submit(function, *args, **kwargs).result()

    return run


def _start() -> None:
    global _thread
    _thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="computing")


_start()
if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_start)  # a child has none of its parent's threads but the one that forked
