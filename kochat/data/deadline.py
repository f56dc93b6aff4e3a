"""A time limit for reading a file: whoever reads for strangers sets one, and every loop over a file keeps it.

A thread cannot be ended from outside, so whatever reads rows or bytes asks now and then whether there is time left.
Knows the clock; no file.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from contextvars import ContextVar

from kochat.errors import DataError

_limit: ContextVar[tuple[float, float]] = ContextVar("time limit", default=(math.inf, math.inf))


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """What is read inside, in this thread, raises DataError after so many seconds."""
    before = _limit.set((time.monotonic() + seconds, seconds))
    try:
        yield
    finally:
        _limit.reset(before)


def check_time() -> None:
    """Raise DataError where the time limit around is over."""
    end, seconds = _limit.get()
    if time.monotonic() > end:
        raise DataError("took_too_long", seconds=f"{seconds:g}")
