"""A process that waits for runs with all that a training needs imported already, which takes most of getting ready.

It belongs to the process that started it, reads the names of runs from its input, and ends where that is closed. For
each run it forks another one; where the system cannot, it becomes that run itself. Knows processes only.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

SECONDS = 600  # that it waits for another run: it holds some 300 MB
FROM_INPUT = "-"  # instead of the name of a run
# Elsewhere libraries that are loaded by then do not bear it.
CAN_FORK = sys.platform == "linux"


class Spare:
    """At most one waiting process. Safe to use from several threads."""

    def __init__(self):
        self._process: subprocess.Popen | None = None
        self._place = ""
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def warm_up(self, place: str, start: Callable[[], subprocess.Popen]) -> None:
        """Have one wait, for runs in the folder `place`; `start` starts it, with a pipe as its input."""
        with self._lock:
            if self._process and not self._waits_for(place):
                self._dismiss()
            if not self._process:
                self._process, self._place = start(), place
            self._wait_longer()

    def take(self, place: str, name: str) -> subprocess.Popen | None:
        """Tell the one that waits to begin the run `name`, and return it; None where none waits for a run there."""
        with self._lock:
            if not self._waits_for(place):
                return None
            process = self._process
            try:
                process.stdin.write(f"{name}\n".encode())
                process.stdin.flush()
            except OSError:  # it has ended meanwhile
                self._process = None
                return None
            if CAN_FORK:
                self._wait_longer()
            else:
                self._dismiss()
            return process

    def dismiss(self) -> None:
        """Let the one that waits end; the runs that it has begun go on."""
        with self._lock:
            self._dismiss()

    def _waits_for(self, place: str) -> bool:
        return bool(self._process) and self._process.poll() is None and self._place == place

    def _wait_longer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = threading.Timer(SECONDS, self.dismiss)
        self._timer.daemon = True
        self._timer.start()

    def _dismiss(self) -> None:
        if self._process:
            self._process.stdin.close()
            self._process = None
