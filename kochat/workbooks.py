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

from .encodings import storable
from .errors import DataError

MOST_UNPACKED = 1024  # MB; a small zip can unpack to more than a machine holds


def check(path: Path, name: str) -> None:
    """Raise DataError where the zip at `path` is no workbook, or one that nobody could open."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
    except zipfile.BadZipFile as error:
        raise DataError("bad_workbook", name=name) from error
    if "xl/workbook.xml" not in sizes:
        raise DataError("is_zip", name=name)
    if sum(sizes.values()) > MOST_UNPACKED * 2**20:
        raise DataError("file_too_large", name=name, most=MOST_UNPACKED)


@contextlib.contextmanager
def reading(path: Path, name: str) -> Iterator[tuple[Iterator[tuple[int, list[str]]], Callable[[], float]]]:
    """Number and cells of each row, blank ones too, as they are read; and the share of the rows that is read."""
    import openpyxl

    with path.open("rb") as file:  # openpyxl would judge a path by its ending
        # A formula is its last result, as the sheet shows it.
        with _damage_named(name):
            book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            sheets = [(sheet, sheet.max_row or 1) for sheet in book.worksheets]
        for sheet, _ in sheets:
            sheet.reset_dimensions()  # some programs write a wrong size, by which rows would be left out
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
    with _damage_named(name):
        for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
            yield number, [_text(value) for value in row]


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
