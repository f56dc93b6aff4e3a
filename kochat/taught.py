"""What people teach in the chat: replies that they liked or corrected, as rows of the dataset `가르친-답`.

Each folder of datasets, the owner's and every visitor's, has its own. Knows datasets; no page, no training.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from . import datasets
from .checks import TooLong
from .datasets import Dataset
from .errors import CheckpointError
from .pairs import COLUMNS, Pair
from .rows import Row
from .store import SUFFIX

NAME = "가르친-답"
MOST_SHOWN = 200  # rows, the last ones


@dataclass(frozen=True)
class Origin:
    """Where a taught row comes from: the reply that it keeps or replaces."""

    how: str  # liked, disliked or corrected
    reply: str
    label: str
    checkpoint: str
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


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


def teach(taught: Dataset, question: str, answer: str, label: str, origin: Origin) -> None:
    """Keep that `answer` is the one to this question under this label; the last word counts.

    An empty answer says that the reply was no good: the row waits for a better one.
    """
    for row in about(taught, question):
        if row.label == label or not row.A:
            taught.edit(row.id, question, answer, label, asdict(origin))
            return
    taught.add(question, answer, label, asdict(origin))


def forget(taught: Dataset, question: str, label: str) -> None:
    """Take back what was said of a reply by a thumb."""
    found = [row.id for row in about(taught, question) if row.label == label and row.origin["how"] != "corrected"]
    if found:
        taught.delete(found)


def about(taught: Dataset, question: str) -> list[Row]:
    """The rows taught for this question."""
    return [row for row in taught.page(0, MOST_SHOWN, search=question)[0] if question.strip() == row.Q]


def everything(folders: Iterable[Path]) -> pd.DataFrame:
    """The good rows taught in several folders, each question under each label once: as it was taught last."""
    tables = [Dataset(path).pairs() for folder in folders if (path := path_of(folder)).is_file()]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS, dtype="str")
    return table.drop_duplicates(["Q", "label"], keep="last", ignore_index=True)


def not_learned(table: pd.DataFrame, known: Iterable[Pair]) -> int:
    """How many of the pairs are not among those that a checkpoint was trained on."""
    known = set(known)
    return sum(pair not in known for pair in table[COLUMNS].itertuples(index=False, name=None))
