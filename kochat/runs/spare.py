"""A process that waits for a run with all that a training needs imported already, which takes most of getting ready.

It belongs to the process that started it, reads the name of one run from its input, and ends with that run; where
its input is closed instead, it ends at once. Knows processes only.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable

SECONDS = 600  # that it waits: it holds some 300 MB
FROM_INPUT = "-"  # instead of the name of a run


class Spare:
    """At most one waiting process. Safe to use from several threads."""

    def __init__(self):
        self._process: subprocess.Popen | None = None
        self._place = ""
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def warm_up(self, place: str, start: Callable[[], subprocess.Popen]) -> None:
        """Have one wait, for a run in the folder `place`; `start` starts it, with a pipe as its input."""
        with self._lock:
            if self._process and (self._process.poll() is not None or self._place != place):
                self._dismiss()
            if not self._process:
                self._process, self._place = start(), place
            if self._timer:
                self._timer.cancel()
            self._timer = threading.Timer(SECONDS, self.dismiss)
            self._timer.daemon = True
            self._timer.start()

    def take(self, place: str, name: str) -> subprocess.Popen | None:
        """Give the run `name` to the process that waits, and return it; None where none waits for a run there."""
        with self._lock:
            process = self._process
            if not process or process.poll() is not None or self._place != place:
                return None
            self._process = None
            try:
                process.stdin.write(f"{name}\n".encode())
                process.stdin.close()
            except OSError:  # it has ended meanwhile
                return None
            return process

    def dismiss(self) -> None:
        """Let the one that waits end."""
        with self._lock:
            self._dismiss()

    def _dismiss(self) -> None:
        if self._process:
            self._process.stdin.close()
            self._process = None
