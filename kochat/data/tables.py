"""A file becomes a table of texts: CSV, Excel's XLSX or JSON Lines, told by its content and not by its name.

Knows formats and encodings; not what the columns mean. Every refusal is a DataError with a sentence of its own.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from kochat.data import workbooks
from kochat.data.encodings import encoding_of, storable
from kochat.errors import DataError

SAMPLE, SAMPLE_ROWS = 2**16, 100  # bytes that tell what a file is; characters and rows that tell its delimiter
DELIMITERS = (",", "\t", ";")
ROWS_NAMED = 8  # that one sentence lists
MAX_COLUMNS, MAX_CELLS = 1000, 500_000  # of a table; of a chunk: short rows of a small file are filled up
PICTURE = re.compile(rb"(?s)\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP|BM.{4}\0{4}|.{4}ftyp(hei[cx]|mif1|avif)")
WEB_PAGE = re.compile(rb"\s*<(!doctype|html|head|meta|table|\?xml)", re.IGNORECASE)
JSON = re.compile(r"\s*(\{|\[\s*[\[{\"\]])")

# How long a cell may be is for others to say. The limit is of the whole process; more is no long on Windows.
csv.field_size_limit(2**31 - 1)

# (row number, cells) or, in JSON Lines, (row number, object), one a row.
Rows = Iterator[tuple[int, Any]]


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table: `frame` has str cells (object), the table's columns, and row numbers as index.

    Rows are numbered as a spreadsheet counts, the header being row 1; in JSON Lines by line. `done` is the
    share of the file that is read, from 0 to 1.
    """

    frame: pd.DataFrame
    done: float


@dataclass(frozen=True)
class Table:
    """A file that holds a table. `format` is "csv", "xlsx" or "jsonl"; `encoding` and `delimiter` may be ""."""

    path: Path
    name: str
    format: str
    encoding: str
    delimiter: str
    columns: list[str]

    def chunks(self, rows: int = 20_000) -> Iterator[Chunk]:
        """All rows with something in them, `rows` at a time. Raises DataError where the file goes wrong."""
        with _reading(self) as (read, done):
            records, rows = self._records(read), max(1, min(rows, MAX_CELLS // len(self.columns)))
            while part := list(itertools.islice(records, rows)):
                numbers, cells = zip(*part, strict=True)
                yield Chunk(pd.DataFrame(list(cells), columns=self.columns, index=list(numbers), dtype=object), done())

    def _records(self, read: Rows) -> Rows:
        if self.format == "jsonl":
            read = ((row, [_json_text(record.get(one)) for one in self.columns]) for row, record in read)
        filled = _filled(read)
        if self.format != "jsonl":
            next(filled)  # the header
        width = len(self.columns)
        if self.format == "csv":
            filled = self._of_width(filled, width)
        return ((row, cells[:width] + [""] * (width - len(cells))) for row, cells in filled)

    def _of_width(self, filled: Rows, width: int) -> Rows:
        """The same rows. Raises DataError for those with more cells than the header.

        Some programs write a delimiter at the end of every row, and none in the header. At the end of a single row
        it may as well belong to a sentence with a comma, before an empty cell.
        """
        first = next(filled, None)
        ends = first is not None and len(first[1]) > width

        def is_wrong(cells: list[str]) -> bool:
            return len(cells) > width and (not ends or any(map(str.strip, cells[width:])))

        for row, cells in itertools.chain([first] if first else [], filled):
            if is_wrong(cells):
                raise self._too_wide([row, *(row for row, cells in filled if is_wrong(cells))])
            if ends and len(cells) == width:
                raise self._too_wide([first[0]])
            yield row, cells

    def _too_wide(self, rows: list[int]) -> DataError:
        # Never shifted, never cut: nobody can tell which of the cells belong together.
        listed = ", ".join(map(str, rows[:ROWS_NAMED])) + (" …" if len(rows) > ROWS_NAMED else "")
        return DataError("extra_cells", name=self.name, count=len(rows), rows=listed, columns=len(self.columns))


def open_table(path: str | os.PathLike, name: str | None = None) -> Table:
    """The table in a file, known by `name` in sentences (by default its own).

    The whole text is decoded once, so that its encoding is sure. Raises DataError for what is no table.
    """
    if not str(path):  # a Path makes the folder it is in of it
        raise DataError("no_file", path='""')
    path = Path(path)
    if path.is_dir():
        raise DataError("is_folder", path=path)
    if not path.is_file():
        raise DataError("no_file", path=path)
    name = name or path.name
    with path.open("rb") as file:
        head = file.read(SAMPLE)
    _refuse_others(head, name)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        workbooks.check(path, name)
        table = Table(path, name, "xlsx", "", "", [])
    else:
        encoding = encoding_of(path, name, head)
        with path.open(encoding=encoding, newline="") as text:
            sample = text.read(SAMPLE)
        if not sample.strip("\ufeff \t\r\n"):
            raise DataError("empty_file", name=name)
        if JSON.match(sample):
            table = Table(path, name, "jsonl", encoding, "", [])
        else:
            table = Table(path, name, "csv", encoding, _delimiter(sample), [])
    return replace(table, columns=_columns(table))


def _refuse_others(head: bytes, name: str) -> None:
    if PICTURE.match(head):
        raise DataError("is_picture", name=name)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise DataError("old_excel", name=name)
    if WEB_PAGE.match(head.removeprefix(codecs.BOM_UTF8)):
        raise DataError("is_web_page", name=name)


# Text.


def _delimiter(sample: str) -> str:
    """What separates the cells of a CSV.

    Excel's first line `sep=;` says it. Else it stands in the header, the one row that holds names and no
    sentences (csv.Sniffer counts characters anywhere, and sentences are full of commas). Where the header has
    several, it is the one that gives most rows as many cells as the header, then the one that gives more.
    """
    if said := _said_delimiter(sample):
        return said
    best, delimiter = (0.0, 1), ","
    for candidate in DELIMITERS:
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=candidate)
        rows = [cells for cells in itertools.islice(reader, SAMPLE_ROWS) if any(map(str.strip, cells))]
        width = len(rows[0]) if rows else 1
        score = sum(len(cells) == width for cells in rows) / max(1, len(rows)), width
        if width > 1 and score > best:
            best, delimiter = score, candidate
    return delimiter


def _said_delimiter(text: str) -> str | None:
    said = re.match(r'"?sep=([^"\r\n])"?(?:[\r\n]|$)', text, re.IGNORECASE)
    return said and said[1]


@contextlib.contextmanager
def _reading(table: Table) -> Iterator[tuple[Rows, Callable[[], float]]]:
    """All rows of a file, header and blank ones too, and how much of it is read."""
    if table.format == "xlsx":
        with workbooks.reading(table.path, table.name) as reading:
            yield reading
        return
    with table.path.open("rb") as file, io.TextIOWrapper(file, table.encoding, newline="") as text:
        rows = _json_rows(table, text) if table.format == "jsonl" else _csv_rows(table, text)
        yield rows, lambda: file.tell() / table.path.stat().st_size


def _csv_rows(table: Table, text: Iterable[str]) -> Rows:
    lines = iter(text)
    first = next(lines, "")
    if not _said_delimiter(first):  # Excel hides that line, and does not count it
        lines = itertools.chain([first], lines)
    # Strict: a quote in the wrong place would swallow rows up to the next quote, or be lost.
    reader = csv.reader(lines, delimiter=table.delimiter, strict=True)
    for row in itertools.count(1):
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError("bad_quote", name=table.name, row=row) from error
        yield row, cells


def _json_rows(table: Table, text: Iterable[str]) -> Rows:
    """Numbers stay as they are written."""
    for row, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            record = dict.items(json.loads(line, parse_int=str, parse_float=str, parse_constant=str))
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError("bad_json", name=table.name, line=row) from error
        yield row, {storable(key.strip()): value for key, value in record}


def _json_text(value: Any) -> str:
    """Lists and objects are no text: where one should be, the cell is empty, and whoever needs it says so."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return storable(value) if isinstance(value, str) else ""


# Columns.


def _filled(rows: Rows) -> Rows:
    return ((row, cells) for row, cells in rows if any(map(str.strip, cells)))


def _columns(table: Table) -> list[str]:
    """The names of the columns. Raises DataError where there are none, or no row below them."""
    with _reading(table) as (rows, _):
        if table.format == "jsonl":
            has_text: dict[str, bool] = {}  # every key that has ever more than a list or an object
            for _, record in rows:
                for key, value in record.items():
                    if key and not isinstance(value, (list, dict)):
                        has_text[key] = has_text.get(key, False) or bool(_json_text(value).strip())
                if len(has_text) > MAX_COLUMNS:
                    raise DataError("many_columns", name=table.name, most=MAX_COLUMNS)
            if not any(has_text.values()):
                raise DataError("no_rows", name=table.name)
            return list(has_text)
        filled = _filled(rows)
        _, header = next(filled, (0, []))
        if not header:
            raise DataError("empty_file", name=table.name)
        if len(header) > MAX_COLUMNS:
            raise DataError("many_columns", name=table.name, most=MAX_COLUMNS)
        if next(filled, None) is None:
            raise DataError("no_rows", name=table.name)
    return _distinct(header)


def _distinct(header: list[str]) -> list[str]:
    """Every column by a name of its own: a second Q is "Q (2)", the third column without a name "#3"."""
    names: dict[str, int] = {}  # and the number that the next one of this name gets
    for place, cell in enumerate(header, 1):
        name = first = cell.strip() or f"#{place}"
        while name in names:
            name = f"{first} ({names[first]})"
            names[first] += 1
        names[name] = 2
    return list(names)
