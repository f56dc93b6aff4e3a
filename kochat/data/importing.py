"""A table becomes a dataset, a chunk at a time, so that a million rows stop nobody else and fill no memory.

Knows tables and the file of a dataset; no page and no progress bar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kochat.data import store
from kochat.data.checks import TooLong, clean
from kochat.data.encodings import storable
from kochat.data.pairs import Columns, find_columns
from kochat.data.rows import problem_texts
from kochat.data.tables import Chunk, Table
from kochat.errors import DataError

CHUNK = 5_000  # rows; with more, collecting the garbage stops other threads for a tenth of a second
READING = 0.8  # of the time; the rest is for what repeats, and the indexes
INSERT = "INSERT INTO rows (id, Q, A, label, own) VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class Imported:
    """How far an import is: rows taken in so far, and the share of the work that is done, from 0 to 1."""

    rows: int
    done: float


def create(
    folder: Path, name: str, table: Table, columns: Columns, too_long: TooLong | None = None
) -> Iterator[Imported]:
    """Make the dataset `name` of a table; it is there when the last step, which is 1.0 done, was given.

    A row keeps its number; empty lines are no rows. Whoever stops before the end leaves nothing behind. Raises
    CheckpointError for a name that is unsafe or taken, DataError for a table that goes wrong, where it lacks a
    column, and when the disk is full.
    """
    path = store.path_of(folder, name)
    find_columns(table.columns, columns.question, columns.answer, columns.label)
    count = 0
    with store.new_file(path) as db:
        for chunk in table.chunks(CHUNK):
            numbers, pairs = _pairs(chunk, columns)
            own = problem_texts(pairs, too_long)
            cells = zip(numbers, pairs, own, strict=True)
            db.executemany(INSERT, ((number, *pair, text) for number, pair, text in cells))
            count += len(pairs)
            yield Imported(count, READING * chunk.done)
        if not count:
            raise DataError("no_rows", name=table.name)
        store.begin_change(db, "import", count)
    yield Imported(count, 1.0)


def _pairs(chunk: Chunk, columns: Columns) -> tuple[list[int], list[tuple[str, str, str]]]:
    frame = chunk.frame
    labels = frame[columns.label] if columns.label else [storable(columns.one_label)] * len(frame)
    pairs = [
        tuple(map(clean, cells)) for cells in zip(frame[columns.question], frame[columns.answer], labels, strict=True)
    ]
    filled = [bool(Q or A or (columns.label and label)) for Q, A, label in pairs]
    numbers = [number for number, is_row in zip(frame.index.tolist(), filled, strict=True) if is_row]
    return numbers, [pair for pair, is_row in zip(pairs, filled, strict=True) if is_row]
