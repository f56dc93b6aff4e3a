"""Datasets: named pairs to look at, mend and undo; rows with problems are in them, and are left out of `pairs`.

Knows rows, problems and changes; how they lie in the file is `store.py`'s business.
"""

from __future__ import annotations

import contextlib
import csv
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kochat.data import store
from kochat.data.checks import NOTES, Problem, TooLong, clean, clean_label
from kochat.data.encodings import storable
from kochat.data.pairs import COLUMNS
from kochat.data.rows import Row, as_cells, histogram, problem_texts, row_of
from kochat.errors import CheckpointError, DataError
from kochat.files import move_without_replacing

FIELDS = "id, Q, A, label, own, repeats, differs, origin"
REMEMBER = "INSERT INTO before SELECT :change, id, Q, A, label, own, origin FROM rows WHERE "


@dataclass(frozen=True)
class Counts:
    """good + bad = rows; those with a note are good. `labels` are of all rows, both tallies most frequent first."""

    rows: int
    good: int
    bad: int
    notes: int
    labels: dict[str, int]
    reasons: dict[str, int]


@dataclass(frozen=True)
class Change:
    """What was done to how many rows; `what` is import, edit, add, delete, leave_out, go_back or undo."""

    id: int
    time: str
    what: str
    rows: int


class Dataset:
    """The dataset in one file. Several threads, pages and processes may use it at once.

    `too_long` says of rows that are added or edited whether they are over the model's length. Everything
    raises DataError where the file is missing or damaged, the disk is full, or others hold it for too long.
    """

    def __init__(self, path: Path, too_long: TooLong | None = None):
        self.path, self.too_long = Path(path), too_long

    @property
    def name(self) -> str:
        """As people know it."""
        return self.path.stem

    # To look at.

    def label_column(self) -> str | None:
        """What the data that it was made of call their labels; None where that is not known."""
        with store.transaction(self.path) as db:
            return self._label_column(db)

    def _label_column(self, db) -> str | None:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone():
            return None
        return (db.execute("SELECT value FROM facts WHERE name = 'label_column'").fetchone() or (None,))[0]

    def counts(self) -> Counts:
        """How many rows there are, of every label and with every problem."""
        labels: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        rows = bad = notes = 0
        with store.transaction(self.path) as db:
            for label, state, count in db.execute("SELECT label, state, rows FROM tally WHERE rows > 0"):
                rows += count
                labels[label] += count
                found = {one.split(":")[1] for one in state.split()}
                if found - set(NOTES):
                    bad += count
                elif found:
                    notes += count
                for reason in found:
                    reasons[reason] += count
        return Counts(rows, rows - bad, bad, notes, dict(labels.most_common()), dict(reasons.most_common()))

    def page(
        self, offset: int, limit: int, search: str = "", label: str | None = None, only: str = "all"
    ) -> tuple[list[Row], int]:
        """`limit` rows from the `offset`th of those that match, in order, and how many match.

        `search` stands in the question or the answer (A to Z in either case); `only` is "all", "bad" or "notes".
        """
        where, values = store.matching(storable(search), label, only)
        values |= {"limit": limit, "offset": offset}
        with store.transaction(self.path) as db:
            query = f"SELECT {FIELDS} FROM rows WHERE {where} ORDER BY id LIMIT :limit OFFSET :offset"
            rows = [row_of(*cells) for cells in db.execute(query, values)]
            if not search:
                of_label = "label = :label" if label is not None else "1"
                total = f"SELECT coalesce(sum(rows), 0) FROM tally WHERE {of_label} AND {store.ONLY[only]}"
                return rows, db.execute(total, values).fetchone()[0]
            # What was read for this page is not searched again.
            total = offset + len(rows) if rows else 0
            if len(rows) == limit or (offset and not rows):
                values["last"] = rows[-1].id if rows else 0
                total += db.execute(f"SELECT count(*) FROM rows WHERE {where} AND id > :last", values).fetchone()[0]
            return rows, total

    def find(self, question: str) -> list[Row]:
        """The rows with this question."""
        with store.transaction(self.path) as db:
            query = f"SELECT {FIELDS} FROM rows WHERE Q = ? ORDER BY id"
            return [row_of(*cells) for cells in db.execute(query, (storable(clean(question)),))]

    def row(self, id: int) -> Row:
        """One row. Raises DataError where there is none of this number."""
        with store.transaction(self.path) as db:
            return self._row(db, id)

    def _row(self, db, id: int) -> Row:
        cells = db.execute(f"SELECT {FIELDS} FROM rows WHERE id = ?", (id,)).fetchone()
        if cells is None:
            raise DataError("no_row", name=self.name, row=id)
        return row_of(*cells)

    def problems(self, limit: int) -> Iterator[Problem]:
        """The first problems and notes, in the order of the rows."""
        with store.transaction(self.path) as db:
            query = f"SELECT {FIELDS} FROM rows WHERE kind IS NOT NULL ORDER BY id LIMIT ?"
            rows = [row_of(*cells) for cells in db.execute(query, (limit,))]
        return iter([problem for row in rows for problem in row.problems][:limit])

    def lengths(self) -> dict[str, list[tuple[int, int, int]]]:
        """How long the questions and the answers are: (shortest, longest, rows) of each bin, in characters.

        The bins are of one round width, except that the last one takes the longest percent where they need it.
        """
        with store.transaction(self.path) as db:
            return {
                name: histogram(dict(db.execute(f"SELECT length({column}), count(*) FROM rows GROUP BY 1")))
                for name, column in (("question", "Q"), ("answer", "A"))
            }

    def pairs(self) -> pd.DataFrame:
        """The good rows as columns Q, A, label, as `read_pairs` gives them."""
        with store.transaction(self.path) as db:
            rows = db.execute("SELECT Q, A, label FROM rows WHERE kind IS NOT 'bad' ORDER BY id").fetchall()
            label_column = self._label_column(db)
        frame = pd.DataFrame(rows, columns=COLUMNS, dtype="str")
        frame.attrs["label_column"] = label_column
        return frame

    def write_csv(self, path: Path) -> None:
        """All rows as a CSV that Excel opens with its Korean right, and without taking a cell for a formula."""
        path = Path(path)
        with store.explained(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
            part = Path(folder) / path.name
            with part.open("w", encoding="utf-8", newline="") as file, store.transaction(self.path) as db:
                file.write("\ufeff")  # the encoding utf-8-sig does the same, slowly
                writer = csv.writer(file)
                writer.writerow(COLUMNS)
                writer.writerows(map(as_cells, db.execute("SELECT Q, A, label FROM rows ORDER BY id")))
            part.replace(path)

    # To change. All of it can be undone.

    def edit(self, id: int, Q: str, A: str, label: str, origin: dict[str, Any] | None = None) -> None:
        """Give a row another content, and another origin where one is given. Raises DataError where it is gone."""
        pair = clean(Q), clean(A), clean_label(label)
        own = problem_texts([pair], self.too_long)[0]
        with self._change("edit") as (db, change):
            old = self._row(db, id)
            if pair == (old.Q, old.A, old.label) and origin is None:
                return
            db.execute(REMEMBER + "id = :id", {"change": change, "id": id})
            changed = "Q = ?, A = ?, label = ?, own = ?, origin = ?, repeats = NULL, differs = NULL"
            kept = json.dumps(origin or old.origin) if origin or old.origin else None
            db.execute(f"UPDATE rows SET {changed} WHERE id = ?", (*map(storable, pair), own, kept, id))

    def add(self, Q: str, A: str, label: str, origin: dict[str, Any] | None = None) -> int:
        """Add a row in the end; its number is given back. `origin` must fit into JSON."""
        pair = clean(Q), clean(A), clean_label(label)
        own = problem_texts([pair], self.too_long)[0]
        with self._change("add") as (db, change):
            cells = (*map(storable, pair), own, json.dumps(origin) if origin is not None else None)
            id = db.execute("INSERT INTO rows (Q, A, label, own, origin) VALUES (?, ?, ?, ?, ?)", cells).lastrowid
            db.execute("INSERT INTO before (change, id) VALUES (?, ?)", (change, id))
        return id

    def delete(self, ids: Iterable[int]) -> int:
        """Remove rows; how many of them were there is given back."""
        with self._change("delete") as (db, change):
            which = "id IN (SELECT value FROM json_each(:ids))"
            return self._remove(db, change, which, ids=json.dumps(list(ids)))

    def leave_out_bad(self) -> int:
        """Remove every bad row; how many there were is given back."""
        with self._change("leave_out") as (db, change):
            return self._remove(db, change, "kind = 'bad'")

    def _remove(self, db, change: int, which: str, **values: str) -> int:
        db.execute(REMEMBER + which, {"change": change, **values})
        return db.execute("DELETE FROM rows WHERE id IN (SELECT id FROM before WHERE change = ?)", (change,)).rowcount

    def changes(self) -> list[Change]:
        """What was done to the dataset, newest first."""
        with store.transaction(self.path) as db:
            return [Change(*cells) for cells in db.execute("SELECT id, time, what, rows FROM changes ORDER BY id DESC")]

    def go_back(self, change_id: int, what: str = "go_back") -> None:
        """Make every row what it was just before that change; this can be undone like any other change.

        `what` it is called among the changes: "go_back", or "undo" where it only takes the last one back.

        Raises DataError for a change that is not there, and for the import, before which there was nothing.
        """
        with self._change(what) as (db, change):
            values = {"change": change, "since": change_id}
            known = "SELECT 1 FROM changes WHERE id = :since AND id < :change AND what <> 'import'"
            if db.execute(known, values).fetchone() is None:
                raise DataError("no_change", name=self.name)
            touched = "SELECT DISTINCT id FROM before WHERE change >= :since"
            now = "rows.Q, rows.A, rows.label, rows.own, rows.origin"
            db.execute(
                f"INSERT INTO before SELECT :change, id, {now} FROM ({touched}) LEFT JOIN rows USING (id)", values
            )
            db.execute("DELETE FROM rows WHERE id IN (SELECT id FROM before WHERE change = :change)", values)
            # SQLite takes the other columns from the row with the smallest change.
            first = "SELECT id, Q, A, label, own, origin, min(change) FROM before WHERE change >= :since GROUP BY id"
            columns = "id, Q, A, label, own, origin"
            db.execute(f"INSERT INTO rows ({columns}) SELECT {columns} FROM ({first}) WHERE Q IS NOT NULL", values)

    @contextlib.contextmanager
    def _change(self, what: str) -> Iterator[tuple[Any, int]]:
        """A transaction with a new change; what is in `before` in the end is what it did. Nothing is no change."""
        with store.transaction(self.path, write=True) as db:
            change = store.begin_change(db, what)
            yield db, change
            store.mark_changed(db, change)
            count = "SELECT count(*) FROM before WHERE change = changes.id"
            db.execute(f"UPDATE changes SET rows = ({count}) WHERE id = ?", (change,))
            db.execute("DELETE FROM changes WHERE id = ? AND rows = 0", (change,))


def empty(folder: Path, name: str) -> Dataset:
    """A new dataset without rows. Raises CheckpointError for a name that is unsafe or taken."""
    path = store.path_of(folder, name)
    with store.new_file(path, store.SMALL_PAGE) as db:
        db.execute("INSERT INTO sqlite_sequence VALUES ('rows', 1)")  # row 1 is the header
    return Dataset(path)


def list_datasets(folder: Path) -> dict[str, Path]:
    """The datasets in a folder by name; they are not opened, so a damaged one is listed too."""
    found = sorted(folder.glob(f"*{store.SUFFIX}")) if folder.is_dir() else []
    return {path.stem: path for path in found if path.is_file() and not path.name.startswith(".")}


def rename(path: Path, new_name: str) -> Path:
    """Give a dataset another name. Raises CheckpointError for one that is unsafe or taken."""
    output = store.path_of(path.parent, new_name)
    # What a killed process left halfway is taken back now: it lies beside the file, under its old name.
    with store.transaction(path, write=True):
        pass
    try:
        with store.explained(path):
            move_without_replacing(path, output)
    except FileExistsError as error:
        raise CheckpointError("name_taken", name=output.stem) from error
    return output


def delete(path: Path) -> None:
    """Remove a dataset from disk, a damaged one too."""
    try:
        with store.transaction(path, write=True):
            pass  # others end their change first
    except DataError as error:
        if error.key != "damaged_dataset":
            raise
    with store.explained(path):
        path.unlink()
        path.with_name(path.name + "-journal").unlink(missing_ok=True)
