"""The file of a dataset: one SQLite database, NAME.pairs; there whole or not at all.

Knows its tables, how rows with the same question are marked, and what SQLite's errors mean for people.
Every call opens the file anew, so threads and processes share it as they like.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kochat.data.checks import fold
from kochat.errors import CheckpointError, DataError
from kochat.files import is_disk_full, move_without_replacing, safe_name

SUFFIX = ".pairs"
APPLICATION = 0x6B6F6368  # "koch", in the header of the file
WAIT = 30.0  # seconds for another one to finish its change
LEFT_AFTER = 3600  # seconds without a write, and a hidden file belongs to nobody any more
SMALL_PAGE = 4096  # bytes; a dataset begins with ten pages, and every visitor may have one
FULL_SCAN_PAGE = 32_768  # of a large one: a search reads everything, and larger pieces are quicker to read

TABLES = """
CREATE TABLE rows (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, so a row that was deleted can come back
    Q TEXT NOT NULL, A TEXT NOT NULL, label TEXT NOT NULL,
    own TEXT NOT NULL,   -- what is wrong with the row alone: "column:reason column:reason"
    repeats INTEGER,     -- the first row with this question, label and answer
    differs INTEGER,     -- the first row with this question and label, where its answer is another one
    origin TEXT,         -- JSON
    state TEXT AS (CASE WHEN own <> '' THEN own WHEN repeats THEN ':duplicate'
                        WHEN differs THEN ':other_answer' ELSE '' END),
    kind TEXT AS (CASE WHEN own <> '' OR repeats THEN 'bad' WHEN differs THEN 'notes' END)
);
CREATE TABLE changes (id INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, what TEXT NOT NULL, rows INTEGER);
-- Rows as they were before a change; without a question where the row was not there yet.
CREATE TABLE before (
    change INTEGER, id INTEGER, Q TEXT, A TEXT, label TEXT, own TEXT, origin TEXT, PRIMARY KEY (change, id)
);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);  -- label_column; files of earlier versions lack it
-- How many rows there are of a label and a state: counting a million takes too long for every look.
CREATE TABLE tally (label TEXT, state TEXT, rows INTEGER, PRIMARY KEY (label, state)) WITHOUT ROWID;
"""
# Made when the first rows are in, which is quicker than keeping them up row by row.
SAME = "INDEX folded_same ON rows (own, folded(Q), label, folded(A))"  # labels are kept folded
INDEXES = f"""
CREATE {SAME};
CREATE INDEX of_label ON rows (label);
CREATE INDEX of_kind ON rows (kind) WHERE kind IS NOT NULL;
"""
COUNT_ALL = "INSERT INTO tally SELECT label, state, count(*) FROM rows GROUP BY label, state"
KEEP_COUNTING = """
CREATE TRIGGER count_new AFTER INSERT ON rows BEGIN
    INSERT INTO tally VALUES (new.label, new.state, 1) ON CONFLICT DO UPDATE SET rows = rows + 1;
END;
CREATE TRIGGER count_old AFTER DELETE ON rows BEGIN
    UPDATE tally SET rows = rows - 1 WHERE label = old.label AND state = old.state;
END;
CREATE TRIGGER count_changed AFTER UPDATE ON rows BEGIN
    UPDATE tally SET rows = rows - 1 WHERE label = old.label AND state = old.state;
    INSERT INTO tally VALUES (new.label, new.state, 1) ON CONFLICT DO UPDATE SET rows = rows + 1;
END;
"""
# A row that is bad in itself is compared with none. What comes first of the same stays as it is.
MARK = """
WITH groups AS ({groups}),
firsts AS (
    SELECT id, min(id) OVER (PARTITION BY folded(Q), rows.label, folded(A)) AS same,
        min(id) OVER (PARTITION BY folded(Q), rows.label) AS first
    FROM groups CROSS JOIN rows ON folded(Q) = question AND rows.label = groups.label WHERE own = ''
),
marks AS (
    SELECT id, nullif(same, id) AS repeats, CASE WHEN same = id THEN nullif(first, id) END AS differs FROM firsts
)
UPDATE rows SET repeats = marks.repeats, differs = marks.differs FROM marks
WHERE rows.id = marks.id AND (rows.repeats IS NOT marks.repeats OR rows.differs IS NOT marks.differs)
"""
ASKED_TWICE = """
SELECT folded(Q) AS question, label FROM rows WHERE own = '' GROUP BY folded(Q), label HAVING count(*) > 1
"""
TOUCHED = """
SELECT folded(Q) AS question, label FROM before WHERE change = :change AND Q IS NOT NULL
UNION SELECT folded(rows.Q), rows.label FROM before JOIN rows USING (id) WHERE change = :change
"""

# What one may look at, as a condition on `tally`.
ONLY = {"all": "1", "bad": "state NOT IN ('', ':other_answer')", "notes": "state = ':other_answer'"}
IN_EITHER_CASE = r"(Q LIKE :search ESCAPE '\' OR A LIKE :search ESCAPE '\')"
AS_IT_IS = "(instr(Q, :search) OR instr(A, :search))"  # quicker, and the same where letters have no case
MAX_PATTERN_LENGTH = 5_000  # characters; SQLite takes 50,000 bytes


def mark_all(db: sqlite3.Connection) -> None:
    """Find every pair that is there twice, and every question with two answers, in rows not marked yet."""
    db.execute(MARK.format(groups=ASKED_TWICE))


def mark_changed(db: sqlite3.Connection, change: int) -> None:
    """The same among the rows with a question and label that this change took away or brought."""
    db.execute(MARK.format(groups=TOUCHED), {"change": change})


def begin_change(db: sqlite3.Connection, what: str, rows: int = 0) -> int:
    """Note a change in a transaction; its number is given back."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return db.execute("INSERT INTO changes (time, what, rows) VALUES (?, ?, ?)", (now, what, rows)).lastrowid


@contextlib.contextmanager
def transaction(path: Path, write: bool = False) -> Iterator[sqlite3.Connection]:
    """The dataset at `path` as it is at one moment, or to change: all of it is written, or nothing.

    Raises DataError where the file is missing, damaged, held by others for too long, or the disk is full.
    """
    if not path.is_file():
        raise DataError("no_dataset", name=path.stem)
    with explained(path), contextlib.closing(_connect(f"{path.resolve().as_uri()}?mode=rw")) as db:
        if db.execute("PRAGMA application_id").fetchone() != (APPLICATION,):
            raise DataError("damaged_dataset", name=path.stem)
        db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        if write:  # one that was made by an earlier kochat lacks it
            db.execute(f"CREATE {SAME.replace('INDEX', 'INDEX IF NOT EXISTS', 1)}")
        yield db
        db.execute("COMMIT")


def _connect(uri: str) -> sqlite3.Connection:
    # A generator may go on in another thread than it began in; it is never in two at once.
    db = sqlite3.connect(uri, uri=True, timeout=WAIT, isolation_level=None, check_same_thread=False)
    db.create_function("folded", 1, fold, deterministic=True)
    return db


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise DataError for what SQLite or the disk refuses while the dataset at `path` is used."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        known = _known(error, path)
        if known is None:
            raise
        raise known from error


def _known(error: Exception, path: Path) -> DataError | None:
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 255 == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_WRITE or is_disk_full(error):
        return DataError("disk_full")
    if code & 255 == sqlite3.SQLITE_BUSY:
        return DataError("dataset_busy", name=path.stem)
    if code == sqlite3.SQLITE_READONLY_DBMOVED or (code & 255 == sqlite3.SQLITE_CANTOPEN and not path.is_file()):
        return DataError("no_dataset", name=path.stem)
    if code & 255 in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN) or isinstance(error, OSError):
        return DataError("not_writable", path=str(path.parent))
    if code & 255 in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR):
        return DataError("damaged_dataset", name=path.stem)
    return None


def matching(search: str, label: str | None, only: str) -> tuple[str, dict[str, Any]]:
    """A condition on rows, and the values in it."""
    conditions = ["label = :label"] * (label is not None) + ["kind = :only"] * (only != "all")
    has_case = any(letter.isascii() and letter.isalpha() for letter in search)
    if search:
        conditions.append(IN_EITHER_CASE if has_case else AS_IT_IS)
    if has_case:
        search = "%" + re.sub(r"([%_\\])", r"\\\1", search[:MAX_PATTERN_LENGTH]) + "%"
    return " AND ".join(conditions) or "1", {"search": search, "label": label, "only": only}


def path_of(folder: Path, name: str) -> Path:
    """Where a new dataset of this name goes. Raises CheckpointError for a name that is unsafe or taken."""
    path = folder / (safe_name(name) + SUFFIX)
    if path.exists():
        raise CheckpointError("name_taken", name=path.stem)
    return path


@contextlib.contextmanager
def new_file(path: Path, page_size: int = FULL_SCAN_PAGE) -> Iterator[sqlite3.Connection]:
    """A database to fill with rows; in the end it gets its indexes and marks, is synced, and named `path`.

    Raises CheckpointError where the name was taken meanwhile, DataError where the disk is full; then, and
    when it is left halfway, nothing stays.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear(path.parent)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as folder:
            part = Path(folder) / path.name
            with contextlib.closing(_connect(part.resolve().as_uri())) as db:
                # Nobody else sees this file, and a half one is thrown away: neither needs a journal.
                db.executescript(f"PRAGMA page_size = {page_size}; PRAGMA application_id = {APPLICATION};")
                db.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN; {TABLES}")
                yield db
                for statement in INDEXES.split(";"):  # executescript would end the transaction
                    db.execute(statement)
                mark_all(db)
                db.execute(COUNT_ALL)
                db.execute("COMMIT")
                db.executescript(KEEP_COUNTING)
            try:
                path.with_name(path.name + "-journal").unlink(missing_ok=True)  # of one that somebody removed
                move_without_replacing(part, path)
            except FileExistsError as error:
                raise CheckpointError("name_taken", name=path.stem) from error


def _clear(folder: Path) -> None:
    """Remove what a process that was killed had begun."""
    for left in folder.glob(".part-*"):
        with contextlib.suppress(OSError):
            newest = max((file.stat().st_mtime for file in left.iterdir()), default=left.stat().st_mtime)
            if newest < time.time() - LEFT_AFTER:
                shutil.rmtree(left, ignore_errors=True)
