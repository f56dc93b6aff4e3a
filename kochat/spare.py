"""A process with everything imported that a training needs, waiting for the run that it is to be.

Importing torch, transformers and accelerate takes longer than reading five pairs: whoever presses a button should not
wait for it. Holds some 400 MB while it waits, so there is at most one, for a while. Knows processes; no run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS_KEPT = 600.0
ANY_RUN = "-"  # instead of a run's name: that of the run comes on the standard input


@dataclass
class _Spare:
    process: subprocess.Popen
    environment: dict[str, str]
    since: float


class Spares:
    """At most one waiting process, started as `spawn` does, which gets the environment. Safe for several threads."""

    def __init__(self, spawn: Callable[[dict[str, str]], subprocess.Popen]):
        self._spawn, self._lock = spawn, threading.Lock()
        self._spare: _Spare | None = None

    def warm_up(self, environment: dict[str, str]) -> None:
        """Have a process wait, for SECONDS_KEPT from now."""
        with self._lock:
            if self._fits(environment):
                self._spare.since = time.monotonic()
                return
            self._end()
            self._spare = _Spare(self._spawn(environment), environment, time.monotonic())

    def take(self, environment: dict[str, str], name: str, log: Path) -> subprocess.Popen | None:
        """The waiting process, told to be the run `name` that prints to `log`; None where there is none that fits."""
        with self._lock:
            if not self._fits(environment):
                return None
            process, self._spare = self._spare.process, None
        try:
            with process.stdin as pipe:
                pipe.write(json.dumps({"run": name, "log": str(log)}).encode() + b"\n")
        except OSError:  # it was killed meanwhile
            _end(process)
            return None
        return process

    def expire(self) -> None:
        """End the one that waits where it has waited long."""
        with self._lock:
            if self._spare and time.monotonic() - self._spare.since > SECONDS_KEPT:
                self._end()

    def _fits(self, environment: dict[str, str]) -> bool:
        spare = self._spare
        return spare is not None and spare.environment == environment and spare.process.poll() is None

    def _end(self) -> None:
        if self._spare:
            _end(self._spare.process)
            self._spare = None


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdin.close()


def wait_for_run() -> str:
    """Be the process that waits: the name of the run that it is to be.

    Empty where whoever started it is gone. From then on what it prints goes to the log of the run.
    """
    from . import training  # noqa: F401, what takes long

    line = sys.stdin.readline()
    if not line:
        return ""
    told = json.loads(line)
    log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(log, stream.fileno())
    os.close(log)
    return told["run"]
