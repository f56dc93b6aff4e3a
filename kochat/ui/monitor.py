"""The running server in numbers: who is there, how long replies take, what is left of the machine, what went wrong.

Knows runs, memory, disk and the log; nothing of how a page shows it. The three at the end are of this process.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, TypeVar

import psutil

from kochat.config import home
from kochat.runs.watcher import Watcher
from kochat.ui import models

T = TypeVar("T")
MAX_REPLIES, MAX_ERRORS = 10_000, 20
MAX_ERROR_LENGTH = 300  # characters


class Replies:
    """The newest replies: when each was whole, and how long it took."""

    def __init__(self):
        self._newest: deque[tuple[float, float]] = deque(maxlen=MAX_REPLIES)  # seconds: monotonic, and of the reply

    def add(self, seconds: float) -> None:
        """Count a reply."""
        self._newest.append((time.monotonic(), seconds))

    def timed(self, steps: Iterator[T]) -> Iterator[T]:
        """The steps in which a reply comes; it counts where it comes to its end."""
        start = time.monotonic()
        yield from steps
        self.add(time.monotonic() - start)

    def in_last_minute(self) -> int:
        """How many there were."""
        since = time.monotonic() - 60
        return sum(at > since for at, _ in list(self._newest))

    def percentile(self, share: float) -> float | None:
        """The seconds that `share` of the newest replies did not take longer than; None before the first."""
        took = sorted(seconds for _, seconds in list(self._newest))
        return took[min(len(took) - 1, int(share * len(took)))] if took else None


class RecentErrors(logging.Handler):
    """The last errors of the log: when (seconds since 1970), and the first line of what."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self._newest: deque[tuple[float, str]] = deque(maxlen=MAX_ERRORS)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        try:
            told = record.getMessage()
            if record.exc_info and record.exc_info[1]:
                told += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
            first, *_ = told.splitlines() or [""]
            self._newest.append((record.created, first[:MAX_ERROR_LENGTH]))
        except Exception:  # whoever logs must not be stopped by what they log
            self.handleError(record)

    def newest(self) -> list[tuple[float, str]]:
        """The newest first."""
        return list(self._newest)[::-1]


watcher, replies, errors = Watcher(), Replies(), RecentErrors()


def numbers() -> dict[str, Any]:
    """All of it: times in seconds, sizes in bytes; runs by state as of the watcher's last look."""
    process = psutil.Process()
    return {
        "pages": watcher.num_waiting,
        "replies_a_minute": replies.in_last_minute(),
        "p50": replies.percentile(0.5),
        "p95": replies.percentile(0.95),
        "memory": process.memory_info().rss,
        "memory_free": psutil.virtual_memory().available,
        "disk_free": shutil.disk_usage(home()).free,
        "checkpoints": models.loaded(),
        "runs": dict(watcher.states),
        "errors": errors.newest(),
    }
