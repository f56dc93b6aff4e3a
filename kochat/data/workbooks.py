"""Excel's workbooks (XLSX): the rows of the first sheet with something in it, as texts.

Knows openpyxl; not what the cells mean. Raises DataError.
"""

from __future__ import annotations

import contextlib
import datetime
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kochat.data.encodings import storable
from kochat.errors import DataError

MAX_UNPACKED_MB = 1024  # MB; a small zip can unpack to more than a machine holds
MAX_PART_MB = 100  # MB of a part that is no sheet, such as the texts of all cells: it is held in memory
SHEETS = "xl/worksheets/"
MAX_ROWS, MAX_COLUMNS = 1_048_576, 16_384  # of a sheet, as Excel has it
COLUMNS_READ = 1001  # more than any table may have


def check(path: Path, name: str) -> None:
    """Raise DataError where the zip at `path` is no workbook, or one that nobody could open."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
    except zipfile.BadZipFile as error:
        raise DataError("bad_workbook", name=name) from error
    if "xl/workbook.xml" not in sizes:
        raise DataError("is_zip", name=name)
    if sum(sizes.values()) > MAX_UNPACKED_MB * 2**20:
        raise DataError("file_too_large", name=name, most=MAX_UNPACKED_MB)
    held = max(size for part, size in sizes.items() if not part.startswith(SHEETS))
    # The list of parts is itself one that is held; it says which one has the texts, wherever that lies.
    if held > MAX_PART_MB * 2**20 or sizes.get(_texts(path, name), 0) > MAX_PART_MB * 2**20:
        raise DataError("file_too_large", name=name, most=MAX_PART_MB)


def _texts(path: Path, name: str) -> str:
    """The part of a workbook with the texts of all its cells; "" where it has none."""
    from openpyxl.packaging.manifest import Manifest
    from openpyxl.xml.constants import SHARED_STRINGS
    from openpyxl.xml.functions import fromstring

    with _damage_named(name), zipfile.ZipFile(path) as archive:
        part = Manifest.from_tree(fromstring(archive.read("[Content_Types].xml"))).find(SHARED_STRINGS)
        return part.PartName[1:] if part else ""


@contextlib.contextmanager
def reading(path: Path, name: str) -> Iterator[tuple[Iterator[tuple[int, list[str]]], Callable[[], float]]]:
    """Number and cells of each row that is written down, and the share of the rows that is read so far."""
    import openpyxl

    with path.open("rb") as file:  # openpyxl would judge a path by its ending
        # A formula is its last result, as the sheet shows it.
        with _damage_named(name):
            book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            sheets = [(sheet, sheet.max_row or 1) for sheet in book.worksheets]
        filled = (one for one in sheets if any(any(cells) for _, cells in _rows(one[0], name)))
        sheet, expected = next(filled, (None, 1))
        read = 0

        def rows() -> Iterator[tuple[int, list[str]]]:
            nonlocal read
            for number, cells in _rows(sheet, name) if sheet else ():
                read = number
                yield number, cells

        yield rows(), lambda: min(1.0, read / expected)


def _rows(sheet: Any, name: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are written down, each with its first cells, up to the last one with something in it.

    Not `sheet.iter_rows`, which fills every gap: a few bytes can name a row or a column so far out that this takes
    hours. Raises DataError for what lies beyond Excel's own limits, or is not in order.
    """
    from openpyxl.worksheet._reader import WorkSheetParser

    book, last = sheet.parent, 0
    known = {"epoch": book.epoch, "date_formats": book._date_formats, "timedelta_formats": book._timedelta_formats}
    with _damage_named(name), sheet._get_source() as source:
        parser = WorkSheetParser(source, sheet._shared_strings, data_only=True, **known)
        for number, found in parser.parse():
            texts = {cell["column"]: text for cell in found if (text := _text(cell["value"]))}
            width = max(texts, default=0)
            if not last < number <= MAX_ROWS or width > MAX_COLUMNS:
                raise DataError("bad_workbook", name=name)
            yield number, [texts.get(column, "") for column in range(1, min(width, COLUMNS_READ) + 1)]
            last = number


@contextlib.contextmanager
def _damage_named(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # openpyxl says in many ways that a workbook is broken
        raise DataError("bad_workbook", name=name) from error


def _text(value: Any) -> str:
    """A cell as Excel shows it, without the cell's own number format."""
    from openpyxl.utils.escape import unescape

    if value is None:
        return ""
    if isinstance(value, str):
        return storable(unescape(value)) if "_x" in value else value  # _x000D_ is how Excel writes a \r
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return f"{value:.15g}"  # 1.0 is 1, and 0.1 + 0.2 is 0.3
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ").removesuffix(" 00:00:00")
    return str(value)
