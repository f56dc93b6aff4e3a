"""Workbooks: the cells as Excel shows them, damage and bombs refused."""

import io
import zipfile
from datetime import date, datetime, time, timedelta
from time import monotonic as time_now

import openpyxl
import pytest
from odd_files import xlsx, zipped

from kochat.data import workbooks
from kochat.errors import DataError

SPREADSHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml"


@pytest.fixture
def file(tmp_path):
    """Write a workbook and give its path."""

    def write(content: bytes):
        path = tmp_path / "book"
        path.write_bytes(content)
        return path

    return write


def rows_of(path) -> list[tuple[int, list[str]]]:
    workbooks.check(path, "book")
    with workbooks.reading(path, "book") as book:
        return list(book.rows(next(iter(book.sheets))))


def refusal(path) -> DataError:
    with pytest.raises(DataError) as caught:
        rows_of(path)
    return caught.value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (" 가\n나 ", " 가\n나 "),
        (1, "1"),
        (1.0, "1"),
        (-0.5, "-0.5"),
        (0.1 + 0.2, "0.3"),
        (12345678901, "12345678901"),
        (False, "FALSE"),
        (date(2024, 3, 1), "2024-03-01"),
        (datetime(2024, 3, 1, 9, 5), "2024-03-01 09:05:00"),
        (time(9, 5), "09:05:00"),
        (timedelta(hours=30), "1 day, 6:00:00"),
        ("#N/A", "#N/A"),
        ("_x000D_", "\r"),
        ("_x", "_x"),
        (None, ""),
    ],
)
def test_a_cell_is_what_excel_shows(file, value, shown):
    assert rows_of(file(xlsx([["Q", value, "x"]]))) == [(1, ["Q", shown, "x"])]


@pytest.mark.parametrize(
    ("value", "number_format", "shown"),
    [
        (1012345678, "000-0000-0000", "010-1234-5678"),  # a telephone number that was typed as a number
        (25551234, "00\\-000\\-0000", "02-555-1234"),
        (821012345678, "000-0000-0000", "8210-1234-5678"),  # no digit is lost
        (4524, "00000", "04524"),
        (4524.0, "00000", "04524"),
        (1.5, "00000", "1.5"),
        (-1, "00000", "-1"),
        (3000, "#,##0", "3000"),
        (3000, "General", "3000"),
    ],
)
def test_a_number_keeps_the_zeros_that_its_format_shows(file, value, number_format, shown):
    book = openpyxl.Workbook()
    book.active["A1"] = value
    book.active["A1"].number_format = number_format
    buffer = io.BytesIO()
    book.save(buffer)
    assert rows_of(file(buffer.getvalue())) == [(1, [shown])]


def test_a_row_that_is_not_written_down_is_counted(file):
    data = xlsx([["a"], ["b"], ["c"]], change=('<row r="2".*?</row>', ""))
    assert rows_of(file(data)) == [(1, ["a"]), (3, ["c"])]


@pytest.mark.parametrize("row", [2_000_000, 4_000_000_000, 1_048_577, 1, 0])
def test_a_row_that_no_sheet_can_have_is_refused_at_once(file, row):
    assert refusal(file(xlsx([["a"], ["b"]], change=('<row r="2"', f'<row r="{row}"')))).key == "bad_workbook"


def test_a_gap_up_to_the_last_row_and_column_takes_no_time(file):
    data = xlsx([["a"], *[["b"]] * 3000], change=(r'<row r="3001"><c r="A3001"', '<row r="1048576"><c r="XFD1048576"'))
    started = time_now()
    rows = rows_of(file(data))
    assert time_now() - started < 5
    assert (rows[-1][0], len(rows), len(rows[-1][1])) == (1_048_576, 3001, workbooks.COLUMNS_READ)
    far = xlsx([["a"], ["b"]], change=('<c r="A2"', '<c r="XFE2"'))
    assert refusal(file(far)).key == "bad_workbook"


@pytest.mark.parametrize("part", ["xl/sharedStrings.xml", "xl/worksheets/texts.xml", "[Content_Types].xml"])
def test_what_would_be_held_in_memory_may_not_be_as_large_as_a_sheet(file, monkeypatch, part):
    with zipfile.ZipFile(io.BytesIO(xlsx([["a"], ["b"]]))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    texts = f'<Override PartName="/{part}" ContentType="{SPREADSHEET}.sharedStrings+xml"/>'.encode()
    members["[Content_Types].xml"] = members["[Content_Types].xml"].replace(b"<Override", texts + b"<Override", 1)
    monkeypatch.setattr(workbooks, "MAX_PART_MB", 1)
    members["xl/worksheets/sheet1.xml"] += b" " * 2**21  # this one may be
    workbooks.check(file(zipped(members).getvalue()), "book")
    members[part] = members.get(part, b"") + b" " * 2**21
    assert refusal(file(zipped(members).getvalue())).key == "file_too_large"


def test_the_share_that_is_read_grows_to_all(file):
    with workbooks.reading(file(xlsx([[str(i)] for i in range(4)])), "book") as book:
        assert [book.done(("Sheet",)) for _ in book.rows("Sheet")] == [0.25, 0.5, 0.75, 1]


def test_a_workbook_that_unpacks_to_more_than_fits_is_refused(file, monkeypatch):
    monkeypatch.setattr(workbooks, "MAX_UNPACKED_MB", 1)
    bomb = zipped({"xl/workbook.xml": bytes(2**20 + 1)})
    assert len(bomb.getvalue()) < 5000
    assert refusal(file(bomb.getvalue())).key == "file_too_large"


def test_a_damaged_member_of_a_workbook_is_refused(file):
    data = bytearray(xlsx([["Q", "A"], *(["가" * 50, str(i)] for i in range(500))]))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.getinfo("xl/worksheets/sheet1.xml").header_offset
    data[start + 600 : start + 700] = bytes(100)
    assert refusal(file(bytes(data))).key == "bad_workbook"
