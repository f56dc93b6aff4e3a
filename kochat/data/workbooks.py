"""Excel's workbooks (XLSX): their sheets, and the rows of each as texts.

Knows openpyxl; not what the cells mean. Raises DataError.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kochat.data.checks import NO_RESULT
from kochat.data.deadline import check_time
from kochat.data.encodings import storable
from kochat.errors import DataError

MAX_UNPACKED_MB = 1024  # MB; a small zip can unpack to more than a machine holds
MAX_PART_MB = 100  # MB of a part that is no sheet, such as the texts of all cells: it is held in memory
SHEETS = "xl/worksheets/"
MAX_ROWS, MAX_COLUMNS = 1_048_576, 16_384  # of a sheet, as Excel has it
COLUMNS_READ = 1001  # more than any table may have
STRICT = b"http://purl.oclc.org/ooxml/"  # the names of XML in “Strict Open XML”, which openpyxl finds no cells in
# What other programs keep a spreadsheet in, as a zip too: LibreOffice, Numbers, Excel's binary form, Hangul's.
OTHERS = ("content.xml", "Index/Document.iwa", "Index.zip", "xl/workbook.bin", "Contents/content.hpf")
MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"')
FIRST_OWN_FORMAT = 164  # the numbers below are Excel's own formats
DIGITS = re.compile(r"[-() ]*0(?:[-() 0]|\\[-() ])*")
MAX_MERGED = 100_000  # ranges of a sheet


def check(path: Path, name: str) -> None:
    """Raise DataError where the zip at `path` is no workbook, or one that nobody could open."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError) as error:  # the latter: a form of zip that Python does not know
        raise DataError("bad_workbook", name=name) from error
    if "xl/workbook.xml" not in sizes:
        if sizes.keys() & set(OTHERS):
            raise DataError("other_spreadsheet", name=name)
        raise DataError("is_zip", name=name)
    if sum(sizes.values()) > MAX_UNPACKED_MB * 2**20:
        raise DataError("file_too_large", name=name, most=MAX_UNPACKED_MB)
    held = max(size for part, size in sizes.items() if not part.startswith(SHEETS))
    # The list of parts is itself one that is held; it says which one has the texts, wherever that lies.
    if held > MAX_PART_MB * 2**20 or sizes.get(_texts(path, name), 0) > MAX_PART_MB * 2**20:
        raise DataError("file_too_large", name=name, most=MAX_PART_MB)
    with _damage_named(name), zipfile.ZipFile(path) as archive:
        is_strict = STRICT in archive.read("xl/workbook.xml")
    if is_strict:
        raise DataError("strict_workbook", name=name)


def unpacked_bytes(path: Path) -> int:
    """How large the parts of a workbook say that they are; 0 for another file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError):
        return 0


def _texts(path: Path, name: str) -> str:
    """The part of a workbook with the texts of all its cells; "" where it has none."""
    from openpyxl.packaging.manifest import Manifest
    from openpyxl.xml.constants import SHARED_STRINGS
    from openpyxl.xml.functions import fromstring

    with _damage_named(name), zipfile.ZipFile(path) as archive:
        part = Manifest.from_tree(fromstring(archive.read("[Content_Types].xml"))).find(SHARED_STRINGS)
        return part.PartName[1:] if part else ""


@contextlib.contextmanager
def reading(path: Path, name: str) -> Iterator[Book]:
    """The workbook at `path`, open. Raises DataError."""
    import openpyxl

    # What it drops (styles, checks of what is typed, pictures) is nothing to us, and it says so on the terminal.
    warnings.filterwarnings("ignore", category=UserWarning, module="openpyxl")
    with path.open("rb") as file:  # openpyxl would judge a path by its ending
        # A formula is its last result, as the sheet shows it.
        with _damage_named(name):
            book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            sheets = {sheet.title: sheet for sheet in book.worksheets}
        yield Book(name, sheets)


class Book:
    """An open workbook: its `sheets`, in their order, and rows of them."""

    def __init__(self, name: str, sheets: dict[str, Any]):
        self.name, self._sheets, self._read = name, sheets, 0
        self._starts: dict[str, dict[int, list[tuple[int, int]]]] = {}

    @property
    def sheets(self) -> dict[str, bool]:
        """Whether each sheet is visible, by its name."""
        return {title: sheet.sheet_state == "visible" for title, sheet in self._sheets.items()}

    def done(self, titles: tuple[str, ...]) -> float:
        """The share of these sheets' rows that is read so far, from 0 to 1."""
        with _damage_named(self.name):
            return min(1.0, self._read / max(1, sum(self._sheets[title].max_row or 1 for title in titles)))

    def rows(self, title: str) -> Iterator[tuple[int, list[str]]]:
        """The rows that are written down, each with its first cells, up to the last one with something in it.

        What stands in merged cells counts for each of their rows that has anything else.
        Not `sheet.iter_rows`, which fills every gap: a few bytes can name a row or a column so far out that this takes
        hours. Raises DataError for what lies beyond Excel's own limits, or is not in order.
        """
        sheet, last, begin = self._sheets[title], 0, self._read
        starts, merged = self._merged_from(title), {}
        known = {name: getattr(sheet.parent, f"_{name}") for name in ("date_formats", "timedelta_formats")}
        formats = _digit_formats(sheet.parent)
        with _damage_named(self.name), sheet._get_source() as source:
            parser = _parser()(
                _InTime(source), sheet._shared_strings, data_only=True, epoch=sheet.parent.epoch, **known
            )
            for number, found in parser.parse():
                texts = {
                    cell["column"]: text
                    for cell in found
                    if (text := _text(cell["value"], formats.get(cell.get("style_id"))))
                }
                width = max(texts, default=0)
                if not last < number <= MAX_ROWS or width > MAX_COLUMNS:
                    raise DataError("bad_workbook", name=self.name)
                merged = {column: one for column, one in merged.items() if number <= one[1]}
                if texts:
                    texts = {column: text for column, (text, _) in merged.items()} | texts
                    width = max(texts)
                merged |= {column: (texts.get(column, ""), end) for column, end in starts.get(number, ())}
                self._read = begin + number
                yield number, [texts.get(column, "") for column in range(1, min(width, COLUMNS_READ) + 1)]
                last = number

    def merged(self, title: str) -> list[tuple[int, int]]:
        """First and last row of all merged cells that are several rows high."""
        return [(row, end) for row, ends in sorted(self._merged_from(title).items()) for _, end in ends]

    def _merged_from(self, title: str) -> dict[int, list[tuple[int, int]]]:
        """(column, last row) of the merged cells that begin in a row. They stand behind all rows in the file."""
        from openpyxl.utils import column_index_from_string

        if title in self._starts:
            return self._starts[title]
        starts, count, rest = defaultdict(list), 0, b""
        with _damage_named(self.name), self._sheets[title]._get_source() as source:
            while piece := _InTime(source).read(2**20):
                text = rest + piece
                for first, row, _, end in MERGED.findall(text):
                    if int(row) < int(end) and count < MAX_MERGED:
                        starts[int(row)].append((column_index_from_string(first.decode()), int(end)))
                        count += 1
                rest = text[text.rfind(b"<") :][-1000:] if text.rfind(b"<") > text.rfind(b">") else b""
        self._starts[title] = starts
        return starts


class _InTime:
    """A file whose reading keeps the time limit, also within a row or a cell that never ends."""

    def __init__(self, file: Any):
        self.file = file

    def read(self, size: int = -1) -> bytes:
        check_time()
        return self.file.read(size)


def _parser() -> type:
    """openpyxl's parser of a sheet, which also tells a formula that nothing came out of yet."""
    from openpyxl.worksheet._reader import FORMULA_TAG, WorkSheetParser

    class Parser(WorkSheetParser):
        def parse_cell(self, element):
            cell = super().parse_cell(element)
            # A program that only writes workbooks stores no results. An empty text is a result, of type str.
            if cell["value"] is None and element.find(FORMULA_TAG) is not None and element.get("t") != "str":
                cell["value"] = NO_RESULT
            return cell

    return Parser


@contextlib.contextmanager
def _damage_named(name: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # openpyxl says in many ways that a workbook is broken
        raise DataError("bad_workbook", name=name) from error


def _digit_formats(book: Any) -> dict[int, str]:
    """The number formats that are nothing but digits' places, such as 000-0000-0000, by the style of a cell."""
    own = {place: one for place, one in enumerate(book._number_formats, FIRST_OWN_FORMAT)}
    found = {style: own.get(kind.numFmtId, "") for style, kind in enumerate(book._cell_styles)}
    return {style: one.replace("\\", "") for style, one in found.items() if DIGITS.fullmatch(one)}


def _in_places(number: int, places: str) -> str:
    """A number as a format such as 000-0000-0000 shows it."""
    digits = str(number).rjust(places.count("0"), "0")
    more = len(digits) - places.count("0")
    rest = iter(digits[more:])
    return digits[:more] + "".join(next(rest) if one == "0" else one for one in places)


def _text(value: Any, places: str | None = None) -> str:
    """A cell as Excel shows it; of its number format only `places` counts, by which a telephone number keeps its 0."""
    from openpyxl.utils.escape import unescape

    if value is None:
        return ""
    if isinstance(value, str):
        return storable(unescape(value)) if "_x" in value else value  # _x000D_ is how Excel writes a \r
    if isinstance(value, bool):
        return str(value).upper()
    if places and isinstance(value, (int, float)) and value >= 0 and value == int(value):
        return _in_places(int(value), places)
    if isinstance(value, float):
        return f"{value:.15g}"  # 1.0 is 1, and 0.1 + 0.2 is 0.3
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ").removesuffix(" 00:00:00")
    return str(value)
