"""Files as people bring them: what is done without being asked for is said, and what is left out is named."""

import csv
import io
import json
import unicodedata

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from odd_files import AS_BROUGHT, HEADER, jsonl, xlsx

from kochat.data.checks import clean, clean_label
from kochat.data.columns import Columns, likely_label
from kochat.data.pairs import examine, open_pairs, read_pairs
from kochat.data.tables import open_table
from kochat.errors import DataError


@pytest.fixture
def file(tmp_path):
    """Write a file and give its path."""

    def write(content: str | bytes):
        path = tmp_path / "file"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def said(path, **options) -> list[str]:
    return [remark.text("en") for remark in examine(*open_pairs(path, **options)).remarks]


def refusal(path, **options) -> DataError:
    with pytest.raises(DataError) as caught:
        read_pairs(path, **options)
    return caught.value


@pytest.mark.parametrize(
    ("name", "sentences"),
    [
        (
            "a stray quote in tab-separated text",
            ["The quotes do not enclose cells everywhere, so they are read as text."],
        ),
        ("everything quoted in tab-separated text", []),
        (
            "workbook with a sheet a label",
            [
                "The sheets 일상, 이별, 사랑 are read as one table. "
                "Their rows are numbered through: 일상: 1–, 이별: 1001–, 사랑: 2001–."
            ],
        ),
        ("workbook with a hidden sheet first", ["Not read: the sheets Sheet. Read: Sheet1."]),
        ("workbook with a cover", ["Not read: the sheets Sheet. Read: Sheet1."]),
        ("Alpaca", ["“input” is joined to “instruction”, on a line of its own."]),
        ("chats as messages", ["Turns that are neither a question nor its answer are not used: system 1."]),
        (
            "chats as conversations",
            [
                "Turns that are neither a question nor its answer are not used: assistant 1.",
                "Columns that are not used: id.",
            ],
        ),
        ("labels in merged cells", ["What stands in a merged cell counts for each of its rows: 2–4, 5–9."]),
        ("a label in wide digits", ["Labels that are written differently and look the same are one: ０ → 0."]),
        ("a title above the header", ["Not used: what stands above the header, in row 1, 2 (우리 가게 문답, 2024년)."]),
        ("workbook with a title", ["Not used: what stands above the header, in row Sheet 1, 3 (문답, 만든 사람: 나)."]),
        ("decomposed Hangul", []),
    ],
)
def test_what_is_done_with_a_file_is_said(file, name, sentences):
    assert said(file(AS_BROUGHT[name].data)) == sentences


def test_every_column_that_is_not_used_is_named(file):
    assert said(file("Q,Q,A,label,라벨,메모\n가,나,다,0,1,x\n")) == ["Columns that are not used: Q (2), 라벨, 메모."]
    lists = jsonl({"Q": "가", "A": "나", "history": [["다", "라"]]})
    assert said(file(lists)) == ["Columns with lists or objects in them are not used: history."]


def test_python_is_told_by_the_log(file, caplog):
    read_pairs(file("Q,A,메모,label\n가,나,x,０\nQ,A,메모,label\n"))
    assert [record.getMessage() for record in caplog.records] == [
        "file: row 3: the header again",
        "file: Columns that are not used: 메모.",
        "file: Labels that are written differently and look the same are one: ０ → 0.",
    ]


# Sheets.


def test_a_sheet_is_chosen_by_its_name(file):
    book = xlsx([["Q", "A"], ["가", "나"]], [["Q", "A"], ["다", "라"]], names=["하나", "둘"], hidden=[1])
    assert read_pairs(file(book)).values.tolist() == [["가", "나", "기본"]]
    assert read_pairs(file(book), sheet="둘").values.tolist() == [["다", "라", "기본"]]
    assert said(file(book), sheet="둘") == ["Not read: the sheets 하나. Read: 둘."]
    assert str(refusal(file(book), sheet="셋")) == "file has no sheet 셋. Its sheets are 하나, 둘."
    assert refusal(file("Q,A\n가,나\n"), sheet="둘").key == "no_sheets"


def test_sheets_with_other_columns_are_named_and_not_read(file):
    book = xlsx([["Q", "A"], ["가", "나"]], [["Q", "A", "label"], ["다", "라", "0"]], [], [["뜻"], ["x"]])
    assert said(file(book)) == ["Not read: the sheets Sheet1, Sheet3. Read: Sheet."]
    error = refusal(file(xlsx([["코드", "뜻"], [1, 2]], [["또"], [1]])))
    assert "The workbook has the sheets Sheet, Sheet1: choose one" in str(error)


def test_the_rows_of_every_sheet_are_numbered_past_a_thousand_where_they_are_more(file):
    rows = [["Q", "A"], *([f"질문 {n}", "네"] for n in range(1200))]
    table, columns = open_pairs(file(xlsx(rows, rows[:3], names=["많이", "조금"])))
    numbers = [number for chunk in table.chunks() for number in chunk.frame.index]
    assert (len(numbers), numbers[:1], numbers[1199:]) == (1202, [2], [1201, 2002, 2003])
    assert columns.label == "sheet"


# The header.


def test_without_a_header_the_columns_are_chosen_by_number(file):
    path = file("오늘 뭐 해?,그냥 쉬어요.,0\n밥 먹었어?,아직이요.,1\n")
    rows = [["오늘 뭐 해?", "그냥 쉬어요.", "0"], ["밥 먹었어?", "아직이요.", "1"]]
    assert str(refusal(path)).startswith(
        "The first row of file looks like data, not like names of columns: 오늘 뭐 해?"
    )
    assert read_pairs(path, header=0).values.tolist() == rows
    for numbers in ({"question": "1", "answer": "2", "label": "3"}, {"question": "#1", "answer": "#2", "label": "#3"}):
        assert read_pairs(path, columns=numbers).values.tolist() == rows
        assert read_pairs(path, columns=numbers, header=0).values.tolist() == rows
    assert read_pairs(path, columns={"question": "2", "answer": "1"}).values.tolist()[0][:2] == [
        "그냥 쉬어요.",
        "오늘 뭐 해?",
    ]
    assert said(path, header=0) == ["There is no header, so the columns go by their numbers."]
    assert refusal(path, columns={"question": "1", "answer": "9"}).values["missing"] == "9"
    assert refusal(file("가,나,다,라\n"), header=0).key == "no_column"


def test_a_header_of_unknown_names_is_no_data(file):
    path = file("하나,둘\n안녕,네\n")
    assert refusal(path).key == "no_column"
    assert read_pairs(path, columns={"question": "1", "answer": "2"}).values.tolist() == [["안녕", "네", "기본"]]
    assert read_pairs(path, header=0).values.tolist() == [["하나", "둘", "기본"], ["안녕", "네", "기본"]]


def test_the_header_is_where_it_is_said_to_be(file):
    path = file("메모,x\n\n하나,둘\nQ,A\n안녕,네\n")
    assert read_pairs(path, header=3, columns={"question": "하나", "answer": "둘"}).values.tolist() == [
        ["안녕", "네", "기본"]
    ]  # what was its second header is a header again
    assert refusal(path, header=2).key == "no_header_there"
    assert refusal(path, header=99).key == "no_header_there"
    assert read_pairs(file(xlsx([["가", "나"], ["다", "라"]])), header=0).values.tolist()[0] == ["가", "나", "기본"]


def test_rows_as_wide_as_the_header_are_no_title(file):
    # Somebody's pairs, and another file with a header below them: nobody can tell that the first are no pairs.
    assert refusal(file("가,나,다\n라,마,바\nQ,A,label\n사,아,0\n")).key == "no_column"


# Parquet.


def test_parquet_is_read_through_pandas(file, monkeypatch):
    path = file(b"PAR1" + bytes(8))
    frame = pd.DataFrame({"Q": ["가", None, "다"], "A": ["나", "x", 1.0], "label": [0, 1, 2]})
    monkeypatch.setattr(pd, "read_parquet", lambda _: frame)
    assert read_pairs(path, bad_rows="skip").values.tolist() == [["가", "나", "0"], ["다", "1", "2"]]
    chats = pd.DataFrame({"messages": [[{"role": "user", "content": "가"}, {"role": "assistant", "content": "나"}]]})
    monkeypatch.setattr(pd, "read_parquet", lambda _: chats)
    assert read_pairs(path).values.tolist() == [["가", "나", "기본"]]


def test_parquet_that_cannot_be_read_is_said(file, monkeypatch):
    def without(_):
        raise ImportError

    path = file(b"PAR1" + bytes(8))
    monkeypatch.setattr(pd, "read_parquet", without)
    assert refusal(path).key == "no_pyarrow"
    monkeypatch.undo()
    assert refusal(path).key in ("no_pyarrow", "damaged_table")


# Nothing is glued, doubled or lost: rows in = good + bad.

TEXT = st.text(
    st.one_of(st.sampled_from('가힣사랑 ,;"\n?!\u200b\u3164\xa0０#='), st.characters(exclude_categories=["C"])),
    max_size=12,
)
ROWS = st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=5)
FORM = st.sampled_from(["NFC", "NFD"])


def as_csv(rows, delimiter, encoding, quoting) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, quoting=quoting).writerows([HEADER, *rows])
    return buffer.getvalue().encode(encoding)


def as_workbook(rows) -> bytes:
    return xlsx([HEADER, *rows])


WRITERS = [
    *(
        lambda rows, d=delimiter, e=encoding: as_csv(rows, d, e, csv.QUOTE_ALL)
        for delimiter in ",\t;"
        for encoding in ("utf-8", "utf-8-sig", "utf-16")
    ),
    as_workbook,
    lambda rows: jsonl(*(dict(zip(HEADER, row, strict=True)) for row in rows)).encode(),
    lambda rows: json.dumps([dict(zip(HEADER, row, strict=True)) for row in rows], indent=2).encode(),
    lambda rows: pd.DataFrame(rows, columns=HEADER).to_json().encode(),
]


@settings(max_examples=120, deadline=None)
@given(rows=ROWS, write=st.sampled_from(WRITERS), form=FORM)
def test_every_row_comes_back_or_is_named(tmp_path_factory, rows, write, form):
    rows = [[unicodedata.normalize(form, cell).replace("\r", " ") for cell in row] for row in rows]
    if write is as_workbook:  # what begins with = is a formula
        rows = [["-" + cell[1:] if cell.startswith("=") else cell for cell in row] for row in rows]
    kept = [(clean(Q), clean(A), clean_label(label)) for Q, A, label in rows]
    kept = [pair for pair in kept if any(pair)]
    path = tmp_path_factory.mktemp("written") / "file"
    path.write_bytes(write(rows))
    try:
        table, columns = open_pairs(path)
        found = [pair for chunk in table.chunks() for _, pair in columns.pairs(chunk.frame)]
        report = examine(table, columns)
    except DataError as error:
        if kept or error.key != "no_rows":
            raise
        return
    assert found == kept
    assert report.rows == len(kept)
    assert report.bad == len({problem.row for problem in report.problems if not problem.is_note})


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=2, max_size=5), delimiter=st.sampled_from(",\t;"))
@example(rows=[("", "", ""), ("", "", ""), ("", " ", "")], delimiter=",")
def test_quotes_that_nobody_doubled_never_glue_rows(tmp_path_factory, rows, delimiter):
    # Cells joined by hand, as many a program does: quotes may stand anywhere.
    rows = [[cell.translate({ord(one): " " for one in ",\t;\n\r"}) for cell in row] for row in rows]
    rows = [[f"{n}{Q}" if n % 2 else '"' + Q, f"{A}{n}", "0"] for n, (Q, A, _) in enumerate(rows)]
    path = tmp_path_factory.mktemp("written") / "file"
    path.write_text("\n".join(delimiter.join(row) for row in [HEADER, *rows]) + "\n", "utf-8", newline="")
    try:
        table = open_table(path)
        found = sum(len(chunk.frame) for chunk in table.chunks())
    except DataError as error:
        if delimiter == "\t" or error.key not in ("bad_quote", "swallowed_rows"):
            raise
        return
    assert found == len(rows)


def test_the_rows_of_the_file_are_the_good_and_the_bad_ones(file):
    report = examine(*open_pairs(file("Q,A,label\n가,나,0\n가,나,0\n,다,0\nQ,A,label\n라,#N/A,0\n")))
    assert (report.rows, report.bad) == (5, 4)
    assert report.reasons == {"duplicate": 1, "empty_question": 1, "repeated_header": 1, "excel_error": 1}


def test_a_column_of_few_short_values_that_repeat_may_be_the_label():
    def likely(values, name="구분", **others):
        frame = pd.DataFrame({"Q": map(str, range(len(values))), "A": ["네"] * len(values), name: values, **others})
        return likely_label(frame, Columns("Q", "A"))

    assert likely(["손님", "단골", "손님", "단골"]) == "구분"
    assert likely(["손님", "단골", "손님", ""] * 5) is None  # three rows of four
    assert likely(["하나", "둘", "셋", "넷"]) is None  # as many as rows
    assert likely(["같음"] * 8) is None
    assert likely(["가" * 21, "나"] * 4) is None
    assert likely(list("가나다라마바사아자차카타파") * 4) is None  # thirteen
    assert likely(["1", "2", "3", "4"], "번호", 종류=["상", "하", "상", "하"]) == "종류"
