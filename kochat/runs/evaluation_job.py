"""An evaluation in a process of its own, at lower priority than the chat: one at a time, seen by every page.

Knows processes and what `python -m kochat eval --events` prints; no figure and no model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kochat.config import PROJECT, home
from kochat.errors import KochatError, RunError
from kochat.runs.queue import OF_ITS_OWN

MAX_PAIRS = 1000  # of a table, evenly spread: for more nobody waits
_starting = threading.Lock()


@dataclass
class Job:
    """An evaluation: how far it is, and in the end its figures or its failure."""

    checkpoint: Path
    recorded: bool  # its figures go into the card of the checkpoint
    done: float = 0.0
    figures: dict[str, Any] | None = None
    failure: KochatError | None = None

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.figures is not None or self.failure is not None


_newest: dict[Path, Job] = {}  # the newest of each checkpoint, since the app started


def running() -> Job | None:
    """The evaluation that is on."""
    return next((job for job in list(_newest.values()) if not job.over), None)


def newest(checkpoint: Path) -> Job | None:
    """The newest evaluation of a checkpoint since the app started."""
    return _newest.get(checkpoint)


def start(checkpoint: Path, data: str, held_out: bool, record: bool) -> Job:
    """Evaluate a checkpoint folder on `data`, at most MAX_PAIRS pairs of it. Raises RunError while another is on."""
    words = ["--checkpoint", str(checkpoint), "--data", data, "--spread", str(MAX_PAIRS), "--events"]
    words += ["--held-out"] * held_out + ["--record"] * record
    with _starting:
        if running():
            raise RunError("evaluation_on")
        process = _process(words)
        job = _newest[checkpoint] = Job(checkpoint, record)
    threading.Thread(target=_read, args=(job, process), daemon=True).start()
    return job


def _process(words: list[str]) -> subprocess.Popen:
    """The process of an evaluation."""
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    # One thread: the other processors are the chat's.
    environment = {**os.environ, "PYTHONPATH": path, "KOCHAT_HOME": str(home()), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "kochat", "eval", *words],
        cwd=PROJECT,
        env=environment,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        creationflags=OF_ITS_OWN,
    )


def _read(job: Job, process: subprocess.Popen) -> None:
    """Follow the process to its end, whatever that is."""
    figures, failure, last = None, None, ""
    try:
        with process:
            for line in process.stdout:
                event = _event(line)
                if not event:  # a complaint of Python or of a library
                    last = line.strip() or last
                    continue
                job.done = event.get("done", job.done)
                figures = event.get("figures", figures)
                if "failed" in event:
                    failure = KochatError(event["failed"], **event["values"])
    finally:
        # Set last: who waits looks at these.
        if figures is None:
            job.failure = failure or RunError("evaluation_ended", reason=last[:200] or process.returncode)
        job.figures = figures


def _event(line: str) -> dict[str, Any]:
    try:
        return json.loads(line) if line.startswith("{") else {}
    except ValueError:  # cut off by a kill
        return {}


def forget(checkpoint: Path) -> None:
    """What is known of a checkpoint is of another one soon. Raises RunError while it is evaluated."""
    with _starting:
        job = _newest.get(checkpoint)
        if job and not job.over:
            raise RunError("evaluation_on")
        _newest.pop(checkpoint, None)
