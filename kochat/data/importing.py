"""A table becomes a dataset, a chunk at a time, so that a million rows stop nobody else and fill no memory.

Knows tables and the file of a dataset; no page and no progress bar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kochat.data import store
from kochat.data.checks import TooLong
from kochat.data.columns import Columns, find_columns, own_label_name
from kochat.data.encodings import storable
from kochat.data.pairs import said_of_labels
from kochat.data.remarks import Remark
from kochat.data.rows import problem_texts
from kochat.data.tables import Table
from kochat.errors import DataError

CHUNK = 5_000  # rows; with more, collecting the garbage stops other threads for a tenth of a second
READING = 0.8  # of the time; the rest is for what repeats, and the indexes
INSERT = "INSERT INTO rows (id, Q, A, label, own) VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class Imported:
    """How far an import is: rows taken in so far, and the share of the work that is done, from 0 to 1.

    `remarks` say in the end what was done with the labels.
    """

    rows: int
    done: float
    remarks: tuple[Remark, ...] = ()


def create(
    folder: Path, name: str, table: Table, columns: Columns, too_long: TooLong | None = None
) -> Iterator[Imported]:
    """Make the dataset `name` of a table; it is there when the last step, which is 1.0 done, was given.

    A row keeps its number; empty lines are no rows. Whoever stops before the end leaves nothing behind. Raises
    CheckpointError for a name that is unsafe or taken, DataError for a table that goes wrong, where it lacks a
    column, and when the disk is full.
    """
    path = store.path_of(folder, name)
    find_columns(table.columns, columns.question, columns.answer, columns.label)  # raises
    count, folded = 0, {}
    with store.new_file(path) as db:
        for chunk in table.chunks(CHUNK):
            numbered = list(columns.pairs(chunk.frame, folded))
            numbers, pairs = [number for number, _ in numbered], [tuple(map(storable, pair)) for _, pair in numbered]
            own = problem_texts(pairs, too_long, columns)
            cells = zip(numbers, pairs, own, strict=True)
            db.executemany(INSERT, ((number, *pair, text) for number, pair, text in cells))
            count += len(pairs)
            yield Imported(count, READING * chunk.done)
        if not count:
            raise DataError("no_rows", name=table.name)
        store.begin_change(db, "import", count)
        db.execute("INSERT INTO facts VALUES ('label_column', ?)", (own_label_name(columns.label),))
    yield Imported(count, 1.0, tuple(said_of_labels(folded)))
