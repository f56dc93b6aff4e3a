"""Tables: what a file is, told by its content; its rows by number, whole and in order, whatever wrote them."""

import csv
import gc
import io
import itertools
import json
import threading
import time

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_files import FILES, TEXT, xlsx
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from kochat.data import tables
from kochat.data.tables import open_table
from kochat.errors import DataError


@pytest.fixture
def file(tmp_path):
    """Write a file and give its path."""

    def write(content, name="file"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def rows_of(path) -> list[tuple[int, list[str]]]:
    chunks = list(open_table(path).chunks(rows=2))
    return [(row, list(cells)) for chunk in chunks for row, *cells in chunk.frame.itertuples(name=None)]


def refusal(path) -> DataError:
    with pytest.raises(DataError) as caught:
        rows_of(path)
    return caught.value


def test_format_encoding_and_delimiter_are_told_by_the_content(file):
    def told(name):
        table = open_table(file(FILES[name].data), "named.txt")
        assert table.name == "named.txt"
        return table.format, table.encoding, table.delimiter, table.columns

    names = ["Q", "A", "label"]
    assert told("utf-8") == ("csv", "utf-8", ",", names)
    assert told("utf-8 with BOM") == ("csv", "utf-8-sig", ",", names)
    assert told("cp949") == ("csv", "cp949", ",", names)
    assert told("utf-16 LE with BOM") == told("utf-16 BE with BOM") == ("csv", "utf-16", ",", names)
    assert told("utf-16 BE without BOM") == ("csv", "utf-16-be", ",", names)
    assert told("Excel's unicode text") == ("csv", "utf-16", "\t", names)
    assert told("sep=| with BOM") == ("csv", "utf-8-sig", "|", names)
    assert told("semicolon, a comma in the header")[2:] == (";", [*names, "memo, more"])
    assert told("workbook") == ("xlsx", "", "", names)
    assert told("json lines with missing keys") == ("jsonl", "utf-8", "", ["Q", "A", "label", "more"])
    assert told("json lines with nested values") == ("jsonl", "utf-8", "", ["Q", "label", "A"])


def test_every_column_has_a_name_of_its_own(file):
    assert open_table(file("Q,,A,Q, Q ,Q (2),\n1,2,3,4,5,6,7\n")).columns == [
        "Q",
        "#2",
        "A",
        "Q (2)",
        "Q (3)",
        "Q (2) (2)",
        "#7",
    ]


def test_rows_are_numbered_as_a_spreadsheet_counts_and_blank_ones_left_out(file):
    assert rows_of(file('Q,A\n"a\nb",c\n\n , \nd\ne,f\n')) == [(2, ["a\nb", "c"]), (5, ["d", ""]), (6, ["e", "f"])]
    assert rows_of(file("\n\nQ,A\na,b\n")) == [(4, ["a", "b"])]
    assert rows_of(file("sep=,\nQ,A\na,b\n")) == [(2, ["a", "b"])]
    assert rows_of(file('{"Q": "a"}\n\n{"Q": "b"}\n{"Q": ""}\n')) == [(1, ["a"]), (3, ["b"])]
    assert rows_of(file(xlsx([[], ["Q", "A"], ["a", "b"], [], ["c", "d", "", "e"]]))) == [
        (3, ["a", "b"]),
        (5, ["c", "d"]),
    ]


@pytest.mark.parametrize("content", [TEXT, xlsx([["Q"], ["a"], ["b"]]), '{"Q": "a"}\n{"Q": "b"}\n'])
def test_chunks_say_how_much_is_read_and_can_be_read_again(file, content):
    table = open_table(file(content))
    for _ in range(2):
        chunks = list(table.chunks(rows=1))
        assert [len(chunk.frame) for chunk in chunks] == [1, 1]
        assert 0 < chunks[0].done <= chunks[1].done == 1
    assert next(table.chunks()).frame.index.tolist() == ([1, 2] if table.format == "jsonl" else [2, 3])


def test_short_rows_of_a_wide_table_are_filled_up_a_few_at_a_time(file):
    table = open_table(file("Q" + ",x" * 999 + "\n" + "a\n" * 1200))
    assert [chunk.frame.shape for chunk in table.chunks()] == [(500, 1000), (500, 1000), (200, 1000)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (TEXT.encode().replace("용".encode(), b"\xec\x9a"), "Line 3 of file cannot be read: it is neither UTF-8"),
        ('Q,A\na,"b\n"\nc,"d"e\n', "The quotes in row 3 of file do not match."),
        (
            "Q,A\n" + "a,b,c\nd,e\n" * 9,
            "9 of the rows of file have more than the 2 cells of the header: 2, 4, 6, 8, 10, 12, 14, 16 …. Put",
        ),
        ('{"Q": 1}\n\n{"Q"}\n', "Line 3 of file is not JSON."),
        (b"GIF89a", "file is a picture, not a table."),
    ],
)
def test_what_is_wrong_is_said_with_its_place(file, content, sentence):
    assert str(refusal(file(content))).startswith(sentence)


def test_a_folder_and_a_missing_file_are_no_files(tmp_path):
    assert str(refusal(tmp_path)) == f"{tmp_path} is a folder. Choose a file in it."
    assert refusal(tmp_path / "none.csv").key == "no_file"
    assert str(refusal("")).startswith('There is no file "".')


def test_other_threads_go_on_while_a_large_file_is_read(file):
    path = file("Q,A,label\n" + "".join(f"질문 {i},대답 {i},{i % 3}\n" for i in range(100_000)))
    longest, ended = 0.0, threading.Event()

    def watch():
        nonlocal longest
        last = time.perf_counter()
        while not ended.is_set():
            time.sleep(0.001)
            longest, last = max(longest, (now := time.perf_counter()) - last), now

    watcher = threading.Thread(target=watch)
    gc.collect()
    gc.freeze()  # what all the other tests left in memory would be looked through again and again
    watcher.start()
    rows = sum(len(chunk.frame) for chunk in open_table(path).chunks())
    ended.set()
    watcher.join()
    gc.unfreeze()
    assert rows == 100_000
    assert longest < 0.5  # of the second or so that it takes; both cores may be busy


# Whatever is written in any form is read back.

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
CELL = st.one_of(st.text(CHARACTERS, max_size=20), st.text('가힣,;\t"\n\r =땡', max_size=8))
ROW = st.tuples(CELL, CELL, CELL).filter(lambda cells: any(map(str.strip, cells)))
TABLE = st.lists(ROW, min_size=1, max_size=4)


def stripped(rows) -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in rows]


def read_back(path) -> list[list[str]]:
    return stripped(cells for _, cells in rows_of(path))


@settings(max_examples=150, deadline=None)
@given(
    rows=TABLE,
    delimiter=st.sampled_from(tables.DELIMITERS),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp949"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_is_written_as_csv_is_read_back(tmp_path_factory, rows, delimiter, encoding, line_end, quoting):
    # Syllables of CP949 can be the bytes of UTF-8; the header here cannot.
    rows = [[cell.encode(encoding, "ignore").decode(encoding) for cell in row] for row in rows]
    if quoting == csv.QUOTE_MINIMAL:  # the writer leaves a line end that is not its own unquoted
        rows = [[cell.replace("\r", " ").replace("\n", " ") for cell in row] for row in rows]
    rows = [row for row in rows if any(map(str.strip, row))] or [["가", "나", "다"]]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, lineterminator=line_end, quoting=quoting).writerows(
        [["질문", "답", "라벨"], *rows]
    )
    path = tmp_path_factory.mktemp("written") / "pairs"
    path.write_bytes(buffer.getvalue().encode(encoding))
    table = open_table(path)
    assert (table.delimiter, table.columns) == (delimiter, ["질문", "답", "라벨"])
    assert read_back(path) == stripped(rows)


@settings(max_examples=60, deadline=None)
@given(rows=TABLE)
def test_what_is_written_as_json_lines_is_read_back(tmp_path_factory, rows):
    lines = [json.dumps(dict(zip("QAL", row, strict=True)), ensure_ascii=i % 2 == 0) for i, row in enumerate(rows)]
    path = tmp_path_factory.mktemp("written") / "pairs"
    path.write_text("\n".join(lines), "utf-8")
    assert open_table(path).columns == ["Q", "A", "L"]
    assert read_back(path) == stripped(rows)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(rows=TABLE)
def test_what_is_written_as_a_workbook_is_read_back(tmp_path_factory, rows):
    # XML knows no control characters and one line end; what begins with = is a formula.
    rows = [[ILLEGAL_CHARACTERS_RE.sub("", cell).replace("\r", "\n") for cell in row] for row in rows]
    rows = [["-" + cell[1:] if cell.startswith("=") else cell for cell in row] for row in rows]
    rows = [row for row in rows if any(map(str.strip, row))] or [["가", "나", "다"]]
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in itertools.chain([["Q", "A", "label"]], rows):
        sheet.append(row)
    path = tmp_path_factory.mktemp("written") / "pairs"
    book.save(path)
    assert read_back(path) == stripped(rows)
