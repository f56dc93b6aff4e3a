"""What visitors taught waits until the owner decides on it; only what was accepted is ever learned.

An accepted answer becomes a row of the owner's own taught rows, which says from whom it is. A decision is about a
question, an answer and a label: what a visitor changes afterwards waits again. Knows folders of datasets, one for each
visitor; no page and no request.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kochat.data import taught
from kochat.data.datasets import Dataset
from kochat.data.rows import Row
from kochat.errors import DataError
from kochat.files import signature, write_atomically

DECISIONS = "decisions.json"  # in a visitor's folder, where the visitor has no way to it
MAX_ROWS = 200  # taught by a visitor
MAX_BYTES = 2**20  # of a visitor's rows; every change is kept, so that it can be undone
MAX_FOLDERS = 1_000  # of visitors
KEPT = 30 * 24 * 3600  # seconds, of a folder in which nothing waits
Decision = Literal["accepted", "refused"]
_deciding = threading.Lock()
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lesson:
    """A row that a visitor taught, and the answer that the owner has taught for its question and label, if any."""

    visitor: str
    row: Row
    owners: str | None

    @property
    def time(self) -> str:
        """When it was taught, in ISO 8601; empty where that is not known."""
        return (self.row.origin or {}).get("time", "")

    @property
    def replaces(self) -> str:
        """The reply that the visitor found wanting, or liked; empty for a row that was not taught in the chat."""
        return (self.row.origin or {}).get("reply", "")


def waiting(owner: Path, visitors: Path) -> list[Lesson]:
    """What nobody has decided on, the newest first. `owner` is the folder of the owner's datasets.

    A visitor's file that cannot be read is left out and logged.
    """
    own = _owners_answers(owner)
    lessons = [
        Lesson(folder.name, row, own.get((row.Q, row.label)))
        for folder in _folders(visitors)
        for row in _undecided(folder)
    ]
    return sorted(lessons, key=lambda lesson: lesson.time, reverse=True)


def accept(lesson: Lesson, answer: str, owner: Dataset, visitors: Path) -> bool:
    """Make `answer`, the visitor's or a better one, a row of the owner's. False, and nothing is done, where it is
    the owner who has taught another answer. Raises DataError for what cannot be learned.
    """
    if not answer:
        raise DataError("empty_correction")
    row, origin = lesson.row, lesson.row.origin or {}
    if any(is_owners(mine) and mine.A not in ("", answer) for mine in _same(owner, row)):
        return False
    taught.teach(
        owner,
        row.Q,
        answer,
        row.label,
        taught.Origin(
            origin.get("how", "added"),
            lesson.replaces,
            origin.get("label", row.label),
            origin.get("checkpoint", ""),
            by=lesson.visitor,
        ),
    )
    _decide(lesson, "accepted", visitors)
    return True


def refuse(lesson: Lesson, visitors: Path) -> None:
    """Leave it out, for good."""
    _decide(lesson, "refused", visitors)


def is_owners(row: Row) -> bool:
    """Whether a row among the owner's was not taught by a visitor."""
    return not (row.origin or {}).get("by")


def decisions(folder: Path) -> dict[str, Decision]:
    """What was decided on a visitor's rows, by `_key`."""
    try:
        return json.loads((folder / DECISIONS).read_text("utf-8"))
    except FileNotFoundError:
        return {}


def decided(folder: Path, rows: Iterable[Row]) -> dict[int, Decision]:
    """What was decided on a visitor's rows, by their numbers; those that wait are not in it."""
    known = decisions(folder)
    return {row.id: known[key] for row in rows if (key := _key(row)) in known}


def forget(visitors: Path) -> None:
    """Remove the folders of visitors in which nothing waits and nothing was changed for KEPT seconds."""
    for folder in _folders(visitors):
        changed = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
        if changed < time.time() - KEPT and not _undecided(folder):
            shutil.rmtree(folder)


def _decide(lesson: Lesson, what: Decision, visitors: Path) -> None:
    folder = visitors / lesson.visitor
    with _deciding, contextlib.suppress(FileNotFoundError):  # a folder that is gone: nothing waits there
        write_atomically(folder / DECISIONS, json.dumps(decisions(folder) | {_key(lesson.row): what}))


def _key(row: Row) -> str:
    return hashlib.sha256(json.dumps([row.Q, row.A, row.label]).encode()).hexdigest()[:32]


def _folders(visitors: Path) -> list[Path]:
    return sorted(folder for folder in visitors.iterdir() if folder.is_dir()) if visitors.is_dir() else []


def _undecided(folder: Path) -> tuple[Row, ...]:
    """The good rows of a visitor's that nobody has decided on; none where they cannot be read."""
    path, decided = taught.path_of(folder), folder / DECISIONS
    try:
        if not path.is_file():
            return ()
        return _undecided_of(folder, signature(path), signature(decided) if decided.is_file() else None)
    except (DataError, OSError):
        log.exception("what was taught in %s is left out", path)
        return ()


@functools.lru_cache(maxsize=MAX_FOLDERS)  # it is asked for after every reply of the owner's
def _undecided_of(folder: Path, changed: tuple, decided: tuple | None) -> tuple[Row, ...]:
    known, rows = decisions(folder), Dataset(taught.path_of(folder)).page(0, taught.MAX_ROWS)[0]
    return tuple(row for row in rows if not row.is_bad and _key(row) not in known)


def _owners_answers(owner: Path) -> dict[tuple[str, str], str]:
    path = taught.path_of(owner)
    rows = Dataset(path).page(0, taught.MAX_ROWS)[0] if path.is_file() else []
    return {(row.Q, row.label): row.A for row in rows if row.A}


def _same(owner: Dataset, row: Row) -> list[Row]:
    return [mine for mine in owner.find(row.Q) if mine.label == row.label]
