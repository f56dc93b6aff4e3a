"""One look at the disk for all pages: whether runs or checkpoints have changed since somebody asked last.

Knows runs and checkpoints on disk, and who waits for a change; not what anybody shows of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Literal

from kochat.files import signature
from kochat.model import checkpoint
from kochat.runs import journal, registry
from kochat.runs.registry import Run

Subject = Literal["checkpoints", "runs"]


def _glance(run: Run) -> tuple[str, str, int]:
    """Name, state and number of events: one look at the journal, and at the process only where there may be one."""
    events, record = journal.read(run.journal)
    return run.name, run.state() if record.state == "running" else record.state, len(events)


def _card_of(folder: Path) -> tuple[int, ...]:
    with contextlib.suppress(FileNotFoundError):  # deleted since it was listed
        return signature(folder / checkpoint.CARD_FILE)
    return ()


class Watcher:
    """What the last look saw, and the event loops' tasks that wait for another. `look` is called by one thread."""

    def __init__(self):
        # A page that is open since before a restart must not take the numbers of then for those of now.
        self._start = os.urandom(4).hex()
        self._numbers = {"checkpoints": 0, "runs": 0}
        self._seen: dict[str, object] = {}
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._lock = threading.Lock()
        self.states: Counter[str] = Counter()
        self.looked_at = time.monotonic()

    def look(self) -> Counter[str]:
        """Look at the disk once, wake whoever waits for what has changed; how many runs are in each state."""
        runs = sorted(_glance(run) for run in registry.unsorted_runs())
        cards = [(name, _card_of(path)) for name, path in checkpoint.list_checkpoints(for_chat=False).items()]
        self.states = Counter(state for _, state, _ in runs)
        self._compare({"checkpoints": cards, "runs": (runs, cards)})
        self.looked_at = time.monotonic()
        return self.states

    def _compare(self, now: dict[str, object]) -> None:
        with self._lock:
            changed = [subject for subject in now if self._seen.get(subject) != now[subject]]
            for subject in changed:
                self._numbers[subject] += 1
            self._seen = now
            if changed:
                for loop, event in self._waiting:
                    loop.call_soon_threadsafe(event.set)

    def revision(self, subject: Subject) -> str:
        """A word that is another one after each change of the checkpoints, or of the runs and what they make."""
        return f"{self._start}-{self._numbers[subject]}"

    @property
    def num_waiting(self) -> int:
        """How many wait for a change: as many pages are looked at just now."""
        return len(self._waiting)

    async def changed(self, subject: Subject, since: str, seconds: float) -> str:
        """The revision of `subject`, as soon as it is another than `since`, at the latest after so many seconds."""
        event, until = asyncio.Event(), time.monotonic() + seconds
        waiting = (asyncio.get_running_loop(), event)
        with self._lock:
            self._waiting.add(waiting)
        try:
            while self.revision(subject) == since and (left := until - time.monotonic()) > 0:
                try:
                    await asyncio.wait_for(event.wait(), left)
                except TimeoutError:
                    break
                event.clear()
            return self.revision(subject)
        finally:
            with self._lock:
                self._waiting.discard(waiting)
