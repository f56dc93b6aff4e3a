"""The journal of a run, events.jsonl: one event a line, only ever appended to, and what it says so far.

Several processes may append and read at any time; a line torn by a kill or a full disk is left out and
cut off by whoever writes next. Knows events as dicts; no process and no training.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from kochat.files import signature

log = logging.getLogger(__name__)
MAX_POINTS = 100  # of the running loss of a whole run
MIN_SMOOTHED = 8  # steps
FINAL = ("finished", "stopped", "failed", "cancelled")
NUMBER = (int, float)
# What an event of a type must have to be understood; everything that looks at runs would fail without it.
NEEDED = {
    "queued": {"at": NUMBER, "pairs": int, "finish": bool},
    "launched": {"pid": int, "created": NUMBER, "at": NUMBER},
    "preparing": {"what": str},
    "started": {"steps": int, "epochs": int},
    "step": {"step": int, "steps": int, "loss": NUMBER, "seconds": NUMBER},
    "epoch": {"epoch": int, "epochs": int, "loss": NUMBER, "seconds": NUMBER},
    "failed": {"key": str, "values": dict},
}


@dataclass(frozen=True)
class Record:
    """What a journal says. Steps that were done again after a kill count once, as they were done last."""

    state: str = "running"  # queued, running, or one of FINAL; whether its process lives is not known here
    queued_at: float = 0.0  # seconds since 1970; the last time, where it was resumed
    begun_at: float = 0.0  # queued for the first time
    pairs: int = 0  # rows of the data, as counted when it was queued
    finishing: bool = False  # queued only to make a checkpoint of what is saved
    process: dict[str, Any] | None = None  # pid and its creation time
    stopping: bool = False
    started: dict[str, Any] | None = None
    steps: dict[int, dict[str, Any]] = field(default_factory=dict)
    epochs: dict[int, dict[str, Any]] = field(default_factory=dict)
    running_loss: dict[int, float] = field(default_factory=dict)  # by step, smoothed, see _smooth; at most MAX_POINTS
    preparing: str = ""  # what is done before the first step, as events.Preparing has it
    launched_at: float = 0.0
    final: dict[str, Any] = field(default_factory=dict)  # the event that it ended with

    def with_events(self, events: list[dict[str, Any]]) -> Record:
        """This and what comes after it."""
        now: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        now |= {name: dict(now[name]) for name in ("steps", "epochs", "running_loss")}
        for event in events:
            _fold(now, event)
        return replace(self, **now)

    def last_step(self) -> dict[str, Any] | None:
        """The event of the newest step."""
        return self.steps[max(self.steps)] if self.steps else None

    def seconds(self) -> float:
        """Of training so far."""
        newest = self.final if "seconds" in self.final else self.last_step() or {}
        return newest.get("seconds", 0.0)


def _fold(now: dict[str, Any], event: dict[str, Any]) -> None:
    match event["type"]:
        case "queued":
            now |= {"state": "queued", "queued_at": event["at"], "pairs": event["pairs"], "finishing": event["finish"]}
            now |= {"final": {}, "process": None, "stopping": False, "begun_at": now["begun_at"] or event["at"]}
        case "launched":
            process = {name: event[name] for name in ("pid", "created", "at", "spare") if name in event}
            now |= {"state": "running", "process": process, "launched_at": event["at"], "preparing": ""}
        case "brought":  # from another machine
            now["process"] = None
        case "stopping":
            now["stopping"] = True
        case "preparing":
            now["preparing"] = event["what"]
        case "started":
            at, an_epoch = event.get("at_step", 0), event["steps"] / event["epochs"]
            now |= {"started": event, "preparing": ""}
            now["steps"] = {step: one for step, one in now["steps"].items() if step <= at}
            now["epochs"] = {epoch: one for epoch, one in now["epochs"].items() if epoch * an_epoch <= at}
            now["running_loss"] = {step: loss for step, loss in now["running_loss"].items() if step <= at}
        case "step":
            now["steps"][event["step"]] = event
            _smooth(now["steps"], now["running_loss"], event)
        case "epoch":
            now["epochs"][event["epoch"]] = event
        case kind if kind in FINAL:
            now |= {"state": kind, "final": event}


def _smooth(steps: dict[int, dict[str, Any]], running_loss: dict[int, float], event: dict[str, Any]) -> None:
    """Add a point to the running loss, where it is time for one: of a long run not every step has one.

    The exponential moving average of the steps' losses, bias-corrected (Kingma and Ba 2015, "Adam", section 3), over
    about as many steps as lie between two points, and at least MIN_SMOOTHED.
    """
    step, apart = event["step"], -(-event["steps"] // MAX_POINTS)
    if step % apart:
        return
    keep = 1 - 1 / max(MIN_SMOOTHED, apart)
    # What is further back counts for less than a hundredth.
    recent = [steps[n]["loss"] for n in range(step, max(0, step - 5 * max(MIN_SMOOTHED, apart)), -1) if n in steps]
    shares = [keep**i for i in range(len(recent))]
    running_loss[step] = sum(share * loss for share, loss in zip(shares, recent, strict=True)) / sum(shares)


def append(journal: Path, event: dict[str, Any]) -> None:
    """Write one event. Raises OSError (ENOSPC) where the disk is full; then nothing of it stays."""
    line = (json.dumps(event, ensure_ascii=False) + "\n").encode()
    with FileLock(journal.with_name(".journal")):  # or a line that another process is writing would look torn
        _append(journal, line)


def _append(journal: Path, line: bytes) -> None:
    descriptor = os.open(journal, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    try:
        _cut_torn_line(descriptor)
        before = os.fstat(descriptor).st_size
        if os.write(descriptor, line) < len(line):
            os.ftruncate(descriptor, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(journal))
    finally:
        os.close(descriptor)


def _cut_torn_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    end = size
    while end:
        start = max(0, end - 4096)
        os.lseek(descriptor, start, os.SEEK_SET)
        newline = os.read(descriptor, end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)


@dataclass
class _Read:
    file: tuple[int, int, bytes]  # a journal of the same name, and even of the same inode, may be another one
    size: int = 0
    seen: tuple[int, ...] = ()  # its signature when it was read; while that stays, it is not opened again
    events: list[dict[str, Any]] = field(default_factory=list)
    record: Record = field(default_factory=Record)


_reads: dict[str, _Read] = {}  # by the journal's path: unlike a Path, a string is hashed in no time
_reading = threading.Lock()


def _renew_lock() -> None:
    """In a process that was forked while another thread was reading: nobody there would ever release the lock."""
    global _reading
    _reading = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def forget(journal: Path) -> None:
    """Keep nothing of a journal that is gone."""
    with _reading:
        _reads.pop(str(journal), None)


def read(journal: Path) -> tuple[list[dict[str, Any]], Record]:
    """All events so far and what they say; only what is new since the last time is read."""
    path = str(journal)
    with _reading:
        try:
            seen, known = signature(path), _reads.get(path)
            if known and known.seen == seen:
                return known.events, known.record
            with journal.open("rb") as file:
                status = os.fstat(file.fileno())
                same = (status.st_dev, status.st_ino, file.readline())
                if known is None or known.file != same or status.st_size < known.size:
                    known = _reads[path] = _Read(same)
                file.seek(known.size)
                new = file.read()
        except FileNotFoundError:
            _reads.pop(path, None)
            return [], Record()
        whole = new[: new.rfind(b"\n") + 1]
        if whole:
            events = [event for line in whole.splitlines() if (event := _parse(line, journal))]
            known.events = known.events + events
            known.record = known.record.with_events(events)
            known.size += len(whole)
        known.seen = seen  # from before it was read: what came meanwhile is read next time
        return known.events, known.record


def _parse(line: bytes, journal: Path) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError, RecursionError):
        if _is_event(event := json.loads(line)):
            return event
    log.warning("%s has a line that cannot be read: %r", journal, line[:80])
    return None


def _is_event(found: Any) -> bool:
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        return False
    for name, kind in NEEDED.get(found["type"], {}).items():
        value = found.get(name)
        if not isinstance(value, kind) or (name in ("steps", "epochs") and value < 1):
            return False
    return True
