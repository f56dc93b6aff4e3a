"""What people teach in the chat: replies that they liked or corrected, as rows of the dataset `가르친-답`.

Each folder of datasets, the owner's and every visitor's, has its own. Knows datasets; no page, no training.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from kochat.data import datasets
from kochat.data.checks import Problem, TooLong, clean, clean_label, problems_of
from kochat.data.datasets import Dataset
from kochat.data.pairs import COLUMNS
from kochat.data.rows import Row
from kochat.data.store import SUFFIX
from kochat.errors import CheckpointError, DataError

NAME = "가르친-답"
MAX_SHOWN = 200  # rows, the last ones
MAX_ROWS = 2_000  # of one person
MAX_LENGTH = 2_000  # characters of question and answer


@dataclass(frozen=True)
class Origin:
    """Where a taught row comes from: the reply that it keeps or replaces."""

    how: str  # liked, disliked or corrected; added where a visitor did not teach it in the chat
    reply: str
    label: str
    checkpoint: str
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    by: str = ""  # the visitor whose row the owner has accepted


def path_of(folder: Path) -> Path:
    """Where the taught rows of a folder of datasets are."""
    return folder / (NAME + SUFFIX)


def open_taught(folder: Path, too_long: TooLong | None = None) -> Dataset:
    """The taught rows of a folder of datasets; made where there are none yet. Raises DataError.

    `too_long` says which pairs the checkpoint that is taught cannot learn whole.
    """
    path = path_of(folder)
    if not path.is_file():
        with contextlib.suppress(CheckpointError):  # two clicks at once
            datasets.empty(folder, NAME)
    return Dataset(path, too_long)


def teach(taught: Dataset, question: str, answer: str, label: str, origin: Origin, max_rows: int = MAX_ROWS) -> None:
    """Keep that `answer` is the one to this question under this label; the last word counts.

    An empty answer says that the reply was no good: the row waits for a better one, unless it has one already.
    Raises DataError for what cannot be learned, and where there are `max_rows` already.
    """
    label = clean_label(label)
    _check(taught, question, answer, label)
    rows = taught.find(question)
    same = next((row for row in rows if row.label == label), None)
    open_one = next((row for row in rows if not row.A and row.label == origin.label), None)
    if not answer and same and same.A not in ("", origin.reply):
        return
    if same or open_one:
        taught.edit((same or open_one).id, question, answer, label, asdict(origin))
    elif taught.counts().rows >= max_rows:
        raise DataError("too_many_lessons", most=max_rows)
    else:
        taught.add(question, answer, label, asdict(origin))
    if same and open_one and same.id != open_one.id:
        taught.delete([open_one.id])


def _check(taught: Dataset, question: str, answer: str, label: str) -> None:
    # What waits for an answer may lack one, and nothing else.
    wrong = [Problem(0, *one) for one in problems_of(clean(question), clean(answer) or "?", clean_label(label))]
    if wrong:
        raise DataError("bad_lesson", reason=wrong[0].text_in_row("en"), reason_ko=wrong[0].text_in_row("ko"))
    if len(question) + len(answer) > MAX_LENGTH or (
        taught.too_long and taught.too_long([(question, answer, label)])[0]
    ):
        raise DataError("long_lesson")


def forget(taught: Dataset, question: str, label: str) -> None:
    """Take back what was said of a reply by a thumb."""
    found = [row.id for row in taught.find(question) if row.label == label and how(row) in ("liked", "disliked")]
    if found:
        taught.delete(found)


def undo(taught: Dataset) -> None:
    """Take the last change back; once more, the one before it."""
    done: list[int] = []
    for change in reversed(taught.changes()):
        if change.what != "undo":  # going back to an earlier state, under “Data”, is a change like any other
            done.append(change.id)
        elif done:
            done.pop()
    if done:
        taught.go_back(done[-1], "undo")


def how(row: Row) -> str:
    """liked, disliked or corrected; empty for a row that was not taught in the chat."""
    return (row.origin or {}).get("how", "")


def taught_to(row: Row) -> str | None:
    """The checkpoint whose reply a row keeps or replaces; None where it was not taught in the chat."""
    return (row.origin or {}).get("checkpoint")


def learnable(folder: Path, but: Collection[str] = ()) -> pd.DataFrame:
    """The good rows taught in a folder of datasets, each question under each label once: as it was taught last.

    Those that were taught to one of the checkpoints `but` are left out. Raises DataError.
    """
    path = path_of(folder)
    every = Dataset(path).page(0, MAX_ROWS)[0] if path.is_file() else []
    rows = [row for row in every if not row.is_bad and taught_to(row) not in but]
    rows.sort(key=lambda row: (row.origin or {}).get("time", ""))
    table = pd.DataFrame([(row.Q, row.A, row.label) for row in rows], columns=COLUMNS, dtype="str")
    return table.drop_duplicates(["Q", "label"], keep="last", ignore_index=True)
