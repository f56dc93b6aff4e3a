"""A file becomes a table of texts: CSV, Excel's XLSX, JSON or Parquet, told by its content and not by its name.

Knows formats and encodings, and where the header is; not what the columns mean. Every refusal is a DataError with a
sentence of its own, and what was done without being asked for is in the remarks.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from kochat.data import delimited, records, workbooks
from kochat.data.columns import SHEET, TITLE_ROWS, distinct, find_header, have_columns, looks_like_data, numbered
from kochat.data.delimited import DELIMITERS as DELIMITERS
from kochat.data.encodings import encoding_of
from kochat.data.remarks import MAX_LISTED as ROWS_NAMED
from kochat.data.remarks import Remark, listed
from kochat.errors import DataError

SAMPLE = 2**16  # bytes that tell what a file is, and characters that tell its delimiter
MAX_COLUMNS, MAX_CELLS = 1000, 500_000  # of a table; of a chunk: short rows of a small file are filled up
SHEET_STEP = 1000  # the rows of a second sheet are numbered from the next such number on
PICTURE = re.compile(rb"(?s)\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP|BM.{4}\0{4}|.{4}ftyp(hei[cx]|mif1|avif)")
WEB_PAGE = re.compile(rb"\s*<(!doctype|html|head|meta|table|\?xml)", re.IGNORECASE)

# (row number, cells) or, in JSON and Parquet, (row number, object), one a row.
Rows = Iterator[tuple[int, Any]]


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table: `frame` has str cells (object), the table's columns, and row numbers as index.

    Rows are numbered as a spreadsheet counts, the first being row 1; in JSON Lines by line, in a JSON array and in
    Parquet by place. `done` is the share of the file that is read, from 0 to 1.
    """

    frame: pd.DataFrame
    done: float


@dataclass(frozen=True)
class Sheet:
    """A sheet that is read: its header's row (0: it has none), its columns, and what is added to its row numbers."""

    name: str
    header: int
    columns: list[str]
    offset: int = 0


@dataclass(frozen=True)
class Table:
    """A file that holds a table.

    `format` is "csv", "xlsx", "jsonl" or "parquet"; `encoding` and `delimiter` may be "". `header` is the row with
    the names of the columns, 0 where there is none; `quotes` is whether they enclose cells, or are text. `sheets`
    are those of a workbook that are read, `all_sheets` those that there are.
    """

    path: Path
    name: str
    format: str
    encoding: str = ""
    delimiter: str = ""
    columns: tuple[str, ...] | list[str] = ()
    header: int = 0
    quotes: bool = True
    sheets: tuple[Sheet, ...] = ()
    all_sheets: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()

    def chunks(self, rows: int = 20_000) -> Iterator[Chunk]:
        """All rows with something in them, `rows` at a time. Raises DataError where the file goes wrong."""
        with _reading(self) as (read, done):
            records, rows = self._records(read), max(1, min(rows, MAX_CELLS // len(self.columns)))
            while part := list(itertools.islice(records, rows)):
                numbers, cells = zip(*part, strict=True)
                yield Chunk(pd.DataFrame(list(cells), columns=self.columns, index=list(numbers), dtype=object), done())

    @property
    def seems_without_header(self) -> bool:
        """Whether its header looks like a row of data."""
        return (
            self.header > 0
            and len(self.columns) > 1
            and not have_columns(self.columns)
            and looks_like_data(self.columns)
        )

    def _records(self, read: Rows) -> Rows:
        if self.format in ("jsonl", "parquet"):
            read, columns = records.numbered_pairs(read, Counter()), self.columns
            return _filled((row, [records.as_text(record.get(one)) for one in columns]) for row, record in read)
        if self.format == "xlsx":
            return read
        width, filled = len(self.columns), ((row, cells) for row, cells in _filled(read) if row > self.header)
        return ((row, cells[:width] + [""] * (width - len(cells))) for row, cells in self._of_width(filled, width))

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


def open_table(
    path: str | os.PathLike, name: str | None = None, sheet: str | None = None, header: int | None = None
) -> Table:
    """The table in a file, known by `name` in sentences (by default its own).

    Of a workbook all visible sheets with the columns of the first one that has a question and an answer are read, or
    the one that is called `sheet`. `header` is the row of the header, 0 where there is none; not given, it is found.
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
        return _open_workbook(Table(path, name, "xlsx"), sheet, header)
    if sheet:
        raise DataError("no_sheets", name=name, sheet=sheet)
    if head.startswith(records.PARQUET):
        return _open_records(Table(path, name, "parquet"))
    encoding = encoding_of(path, name, head)
    with path.open(encoding=encoding, newline="") as text:
        sample = text.read(SAMPLE)
    if not sample.strip("\ufeff \t\r\n"):
        raise DataError("empty_file", name=name)
    if records.START.match(sample):
        return _open_records(Table(path, name, "jsonl", encoding))
    return _open_text(Table(path, name, "csv", encoding, delimited.delimiter_of(sample)), header)


def _refuse_others(head: bytes, name: str) -> None:
    if PICTURE.match(head):
        raise DataError("is_picture", name=name)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise DataError("old_excel", name=name)
    if WEB_PAGE.match(head.removeprefix(codecs.BOM_UTF8)):
        raise DataError("is_web_page", name=name)


@contextlib.contextmanager
def _reading(table: Table) -> Iterator[tuple[Rows, Callable[[], float]]]:
    """All rows of a file, header and blank ones too, and how much of it is read; of a workbook those of the table."""
    if table.format == "xlsx":
        with workbooks.reading(table.path, table.name) as book:
            titles = tuple(sheet.name for sheet in table.sheets)
            yield _rows_of_sheets(table, book), lambda: book.done(titles)
    elif table.format == "parquet":
        yield records.from_parquet(table.path, table.name), lambda: 1.0
    else:
        with table.path.open("rb") as file, io.TextIOWrapper(file, table.encoding, newline="") as text:
            if table.format == "jsonl":
                rows = records.from_json(text, table.name)
            else:
                rows = delimited.rows(text, table.delimiter, table.name, table.quotes, len(table.columns))
            yield rows, lambda: file.tell() / table.path.stat().st_size


# Text.


def _open_text(table: Table, header: int | None) -> Table:
    """The table of a CSV. Raises DataError where it has no row below its header."""
    try:
        return _with_header(table, header)
    except DataError as error:
        if table.delimiter != "\t" or error.key != "bad_quote":
            raise
        # Whoever writes cells with tabs between them seldom knows that quotes could enclose them.
        return _with_header(replace(table, quotes=False), header)


def _with_header(table: Table, header: int | None) -> Table:
    with _reading(table) as (rows, _):
        first, begin = _first_rows(rows, table.name, header)
    table = replace(table, columns=_names(begin[1], header, table.name), header=0 if header == 0 else begin[0])
    if table.delimiter == "\t" and table.quotes and not _quotes_match(table):
        return _with_header(replace(table, quotes=False), header)
    remarks = [Remark("said_quotes_are_text")] if not table.quotes else []
    return replace(table, remarks=(*remarks, *_said_of_header(first, table.header)))


def _quotes_match(table: Table) -> bool:
    with table.path.open(encoding=table.encoding, newline="") as text:
        if not any('"' in line for line in text):
            return True
        text.seek(0)
        return delimited.quotes_match(text, table.delimiter, len(table.columns))


def _first_rows(rows: Rows, name: str, header: int | None) -> tuple[list, tuple[int, list[str]]]:
    """The first rows with something in them, up to the one below the header, and the header (0: the first row).

    Raises DataError where there are none, or none below the header.
    """
    filled = _filled(rows)
    first = list(itertools.islice(filled, TITLE_ROWS + 1))
    if not first:
        raise DataError("empty_file", name=name)
    place = header or (first[0][0] if header == 0 else find_header(first))
    while first[-1][0] < place and (more := next(filled, None)):
        first.append(more)
    begin = next((one for one in first if one[0] == place), None)
    if begin is None:
        raise DataError("no_header_there", name=name, row=place)
    if header != 0 and first[-1][0] <= place and next(filled, None) is None:
        raise DataError("no_rows", name=name)
    return [one for one in first if one[0] < place], begin


def _names(cells: list[str], header: int | None, name: str) -> list[str]:
    if len(cells) > MAX_COLUMNS:
        raise DataError("many_columns", name=name, most=MAX_COLUMNS)
    return numbered(len(cells)) if header == 0 else distinct(cells)


def _said_of_header(above: list[tuple[int, list[str]]], header: int, sheet: str = "") -> list[Remark]:
    if not header:
        return [Remark("said_no_header")]
    if not above:
        return []
    texts = [" ".join(filter(None, map(str.strip, cells))) for _, cells in above]
    place = f"{sheet} " if sheet else ""
    return [Remark("said_above_header", rows=place + listed(row for row, _ in above), texts=listed(texts))]


# Workbooks.


def _open_workbook(table: Table, sheet: str | None, header: int | None) -> Table:
    """The table of a workbook. Raises DataError where no sheet has one, or not the one that is asked for."""
    with workbooks.reading(table.path, table.name) as book:
        table = replace(table, all_sheets=tuple(book.sheets))
        if sheet and sheet not in book.sheets:
            raise DataError("no_sheet", name=table.name, sheet=sheet, found=listed(book.sheets))
        seen = {title: list(itertools.islice(_filled(book.rows(title)), TITLE_ROWS + 2)) for title in book.sheets}
        chosen = [sheet] if sheet else _chosen_sheets(book.sheets, seen)
        if not chosen:  # only charts
            raise DataError("empty_file", name=table.name)
        sheets, remarks, offset, errors = [], [], 0, []
        for title in chosen:
            try:
                above, begin = _first_rows(_filled(book.rows(title)), table.name, header)
            except DataError as error:  # an empty one, beside others that are not
                errors.append(error)
                continue
            names, row = _names(begin[1], header, table.name), 0 if header == 0 else begin[0]
            if sheets and set(names) != set(sheets[0].columns):
                continue
            sheets.append(Sheet(title, row, names, offset))
            remarks += _said_of_header(above, row, title)
            if merged := book.merged(title):
                rows = listed(f"{offset + first}–{offset + last}" for first, last in merged)
                remarks.append(Remark("said_merged", rows=rows))
            if len(chosen) > 1:
                last = max((number for number, _ in book.rows(title)), default=0)
                offset += SHEET_STEP * (1 + last // SHEET_STEP)
    if not sheets:
        raise errors[0]
    names = sheets[0].columns
    columns = distinct([*names, SHEET]) if len(sheets) > 1 else names
    read = {one.name for one in sheets}
    left = [title for title, rows in seen.items() if rows and title not in read]
    said = _said_of_sheets(sheets, left)
    return replace(table, columns=columns, header=sheets[0].header, sheets=tuple(sheets), remarks=(*said, *remarks))


def _chosen_sheets(sheets: dict[str, bool], seen: dict[str, list]) -> list[str]:
    """The sheets to read: visible ones before hidden ones, the first with known columns and all that have the same."""
    names = {title: set(distinct(dict(rows)[find_header(rows)])) for title, rows in seen.items() if rows}
    for visible in (True, False):
        with_pairs = [title for title in names if sheets[title] is visible and have_columns(list(names[title]))]
        if with_pairs:
            return [title for title in with_pairs if names[title] == names[with_pairs[0]]]
    # The caller says which columns are missing; a sheet that people see is more likely meant.
    return sorted(names, key=lambda title: not sheets[title])[:1] or list(sheets)[:1]


def _said_of_sheets(sheets: list[Sheet], left: list[str]) -> list[Remark]:
    said = []
    if len(sheets) > 1:
        numbers = listed(f"{one.name}: {one.offset + 1}–" for one in sheets)
        said.append(Remark("said_sheets", sheets=listed(one.name for one in sheets), numbers=numbers))
    if left:
        said.append(Remark("said_sheets_left", sheets=listed(left), read=listed(one.name for one in sheets)))
    return said


def _rows_of_sheets(table: Table, book: workbooks.Book) -> Rows:
    """The rows below the headers, numbered through, with the columns of the first sheet."""
    for sheet in table.sheets:
        places = [sheet.columns.index(name) for name in table.sheets[0].columns]
        name = [sheet.name] if len(table.sheets) > 1 else []
        for row, cells in _filled(book.rows(sheet.name)):
            if row > sheet.header:
                # Right beside the others it is a column; further out a note to oneself.
                if "".join(cells[len(sheet.columns) : len(sheet.columns) + 1]).strip():
                    raise DataError("cells_beyond", name=table.name, row=row, sheet=sheet.name)
                yield sheet.offset + row, [cells[one] if one < len(cells) else "" for one in places] + name


# JSON and Parquet.


def _open_records(table: Table) -> Table:
    """The table of records; its columns are every key that has ever more than a list or an object."""
    has_text: dict[str, bool] = {}
    unused: Counter[str] = Counter()  # turns of chats
    lists: dict[str, None] = {}
    with _reading(table) as (rows, _):
        for _, record in records.numbered_pairs(rows, unused):
            lists |= {key: None for key, value in record.items() if isinstance(value, (list, dict))}
            for key, value in record.items():
                if key and not isinstance(value, (list, dict)):
                    has_text[key] = has_text.get(key, False) or bool(records.as_text(value).strip())
            if len(has_text) > MAX_COLUMNS:
                raise DataError("many_columns", name=table.name, most=MAX_COLUMNS)
    if not any(has_text.values()):
        raise DataError("no_rows", name=table.name)
    turns = listed(f"{role} {count}" for role, count in unused.most_common())
    remarks = [Remark("said_unused_turns", turns=turns)] if unused else []
    nested = [key for key in lists if key not in has_text]
    remarks += [Remark("said_nested", columns=listed(nested))] if nested else []
    return replace(table, columns=list(has_text), remarks=tuple(remarks))


def _filled(rows: Rows) -> Rows:
    return ((row, cells) for row, cells in rows if any(map(str.strip, cells)))
