"""Pairs: every form of file that people have, what is refused and how, the split, downloads."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from odd_files import FILES

from kochat.data import pairs
from kochat.data.checks import CONTROL, MAX_LABEL_LENGTH, clean, clean_label
from kochat.data.pairs import Columns, examine, find_columns, fingerprint, keep, read_pairs
from kochat.data.tables import open_table
from kochat.errors import DataError
from kochat.labels import AUTO

TEXT = "Q,A,label\n12시 땡!,하루가 또 가네요.,0\n고백할까?,용기를 내 보세요!,2\n"
ROWS = [["12시 땡!", "하루가 또 가네요.", "0"], ["고백할까?", "용기를 내 보세요!", "2"]]


@pytest.fixture
def file(tmp_path):
    """Write pairs.csv, text as UTF-8 or bytes as they are, and give its path."""

    def write(content):
        path = tmp_path / "pairs.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def rows_of(path, **options):
    return read_pairs(path, **options).values.tolist()


def refusal(path) -> DataError:
    with pytest.raises(DataError) as caught:
        read_pairs(path)
    return caught.value


# What can be read.


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_encoding_and_line_end_gives_the_same_pairs(file, encoding, newline):
    table = read_pairs(file(TEXT.replace("\n", newline).encode(encoding)))
    assert table.values.tolist() == ROWS
    assert list(table.columns) == ["Q", "A", "label"]
    assert list(table.index) == [0, 1]


def test_quoted_cells_keep_their_commas_quotes_and_newlines(file):
    text = 'Q,A,label\r\n"첫 줄\r\n둘째 줄","그래, ""좋아""",0\r\n"끝","a\nb",1\r\n'
    assert rows_of(file(text)) == [["첫 줄\r\n둘째 줄", '그래, "좋아"', "0"], ["끝", "a\nb", "1"]]


def test_outer_spaces_go_and_words_for_nothing_stay_text(file):
    text = "Q,A,label\n nan ,NA,0\nnull, None ,1.0\nNULL,N/A,007\n"
    assert rows_of(file(text)) == [["nan", "NA", "0"], ["null", "None", "1.0"], ["NULL", "N/A", "007"]]


def test_more_columns_in_any_order_are_left_aside(file):
    assert rows_of(file("no, label ,A,Q,memo\n1,0,네,안녕,\n2,1,응,잘 가,x\n")) == [
        ["안녕", "네", "0"],
        ["잘 가", "응", "1"],
    ]


def test_blank_lines_are_no_rows(file):
    assert rows_of(file("Q,A,label\n\n안녕,네,0\n\n , ,\n,,\n잘 가,응,1\n\n\n")) == [
        ["안녕", "네", "0"],
        ["잘 가", "응", "1"],
    ]


def test_rows_keeps_the_first_ones(file):
    path = file(TEXT)
    assert rows_of(path, rows=1) == ROWS[:1]
    assert rows_of(path, rows=99) == rows_of(path, rows=None) == ROWS


def test_a_known_dataset_is_read_by_its_name_and_a_path_may_be_a_path(file):
    assert rows_of("jobs", rows=1)[0][2] == "건설현장"
    assert rows_of(str(file(TEXT))) == rows_of(file(TEXT)) == ROWS


def test_chatbot_data_has_its_three_labels(chatbot_data):
    table = read_pairs(chatbot_data)
    assert set(table["label"]) == {"0", "1", "2"}
    assert (table != "").all(axis=None)


# pandas does not quote a lone \r, which is a line end to whoever reads it.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1).filter(clean)
korean = st.text(st.characters(codec="cp949", exclude_characters="\r"), min_size=1).filter(clean)
texts, korean = (cell.filter(lambda text: not CONTROL.search(text)) for cell in (texts, korean))
a_label, a_korean_label = (
    cell.map(lambda text: clean_label(text)[:MAX_LABEL_LENGTH]).filter(lambda text: clean_label(text) not in ("", AUTO))
    for cell in (texts, korean)
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(texts, texts, a_label), min_size=1, max_size=4))
def test_what_pandas_writes_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("written") / "pairs.csv"
    pd.DataFrame(rows, columns=pairs.COLUMNS).to_csv(path, index=False, encoding="utf-8")
    assert rows_of(path) == [[clean(Q), clean(A), clean_label(label)] for Q, A, label in rows]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(korean, korean, a_korean_label), min_size=1, max_size=4))
def test_what_pandas_writes_as_cp949_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("written") / "pairs.csv"
    pd.DataFrame(rows, columns=pairs.COLUMNS).to_csv(path, index=False, encoding="cp949")
    try:
        as_utf8 = path.read_bytes().decode()
    except UnicodeDecodeError:
        as_utf8 = None
    # A few syllables (창 is the bytes of â) cannot be told from UTF-8 where nothing else is in the file.
    assume(as_utf8 is None or as_utf8 == path.read_bytes().decode("cp949"))
    assert rows_of(path) == [[clean(Q), clean(A), clean_label(label)] for Q, A, label in rows]


# What is refused.


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert str(refusal(tmp_path / "none.csv")) == f"There is no file {tmp_path}/none.csv. Check the name and try again."
    assert refusal(tmp_path).key == "is_folder"
    assert refusal("").key == "no_file"


def test_a_missing_column_is_named_with_those_that_are_there(file):
    error = refusal(file("Q,reaction,label\n안녕,네,0\n"))
    assert str(error) == (
        "There is no column A among Q, reaction, label. Name the columns Q, A and label, or choose them, by "
        "name or number: under “Data”, or by options on the command line (--header 0 where the first row is no header)."
    )
    assert refusal(file("one;two;three\n안녕;네;0\n")).values["missing"] == "Q, A"


@pytest.mark.parametrize("content", ["Q,A,label", "Q,A,label\r\n", "Q,A,label\n,,\n\n", "Q,A,label,no\n,,,1\n"])
def test_a_file_without_rows_is_refused(file, content):
    assert refusal(file(content)).key == "no_rows"


def test_empty_cells_are_named_by_the_row_numbers_of_a_spreadsheet(file):
    # Row 1 is the header, row 2 has a newline in a cell, rows 4 and 7 lack a cell, row 5 is blank.
    error = refusal(file('Q,A,label\n"a\nb",c,0\nd,e,1\nf, ,1\n\ng,h,2\ni,j\n'))
    assert str(error) == (
        "2 of the rows of pairs.csv cannot be used: row 4 · answer: is empty; row 7 · label: is empty. "
        "Mend them, or leave them out."
    )
    assert error.text("ko") == (
        "pairs.csv 파일의 2개 행을 쓸 수 없어요: 4행 · 답변: 비어 있어요; 7행 · 라벨: 비어 있어요. 고치거나 빼 주세요."
    )


def test_many_rows_with_empty_cells_are_counted_and_the_first_eight_named(file):
    error = refusal(file("Q,A,label\n" + "a,,0\n" * 20))
    named = "; ".join(f"row {row} · answer: is empty" for row in range(2, 10))
    assert (error.values["count"], error.values["rows"]) == (20, named + " …")
    assert refusal(file("Q,A,label\n" + "a,,0\n" * 8)).values["rows"] == named


@pytest.mark.parametrize("row", ["a,b, c,0", "a,b,0,", "a,b,c,d,e,0"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_row_with_more_cells_than_the_header_is_refused_and_never_shifted(file, row, place):
    rows = ["c,d,1", "e,f,2"]
    rows.insert(place, row)
    error = refusal(file("Q,A,label\n" + "\n".join(rows)))
    assert (error.key, error.values["rows"]) == ("extra_cells", str(place + 2))


def test_a_delimiter_at_the_end_of_every_row_is_no_cell(file):
    assert rows_of(file("Q,A,label\na,b,0,\n\nc,d,1,,\n")) == [["a", "b", "0"], ["c", "d", "1"]]
    assert refusal(file("Q,A,label\na,b,0,\nc, d,1,2\n")).values["rows"] == "3"


def test_all_bad_rows_are_named_in_one_sentence_in_both_languages(file):
    error = refusal(file("Q,A,label\n,네,0\n안녕,네,auto\n안\x07녕,,0\n잘 가,응,1\n"))
    assert str(error) == (
        "3 of the rows of pairs.csv cannot be used: row 2 · question: is empty; "
        "row 3 · label: “auto” means that the bot chooses by itself; "
        "row 4 · question: has control characters or broken ones; row 4 · answer: is empty. "
        "Mend them, or leave them out."
    )
    assert error.text("ko") == (
        "pairs.csv 파일의 3개 행을 쓸 수 없어요: 2행 · 질문: 비어 있어요; "
        "3행 · 라벨: “auto”는 챗봇이 스스로 고른다는 뜻이라 쓸 수 없어요; "
        "4행 · 질문: 제어 문자나 깨진 글자가 있어요; 4행 · 답변: 비어 있어요. 고치거나 빼 주세요."
    )


def test_bad_rows_are_left_out_where_asked_and_pairs_that_repeat_too(file):
    path = file("Q,A,label\n,네,0\n안녕,네,0\n안녕,네,0\n안녕,응,0\n잘 가,응,1\n")
    assert rows_of(path, bad_rows="skip") == [["안녕", "네", "0"], ["안녕", "응", "0"], ["잘 가", "응", "1"]]
    assert rows_of(path, bad_rows="skip", rows=2) == [["안녕", "네", "0"], ["안녕", "응", "0"]]
    assert rows_of(file("Q,A,label\n안녕,네,0\n안녕,네,0\n")) == [["안녕", "네", "0"]] * 2


def test_where_no_row_is_good_nothing_can_be_left_out(file):
    path = file("Q,A,label\n,네,0\n안녕,,0\n")
    with pytest.raises(DataError, match="2 of the rows of pairs"):
        read_pairs(path, bad_rows="skip")


# Columns.


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["Q", "A", "label"], ("Q", "A", "label")),
        (["answer", "A", "question", "Q", "emotion", "label"], ("Q", "A", "label")),
        ([" 질 문 ", "답변(A)", "감정"], (" 질 문 ", "답변(A)", "감정")),
        (["질문", "답"], ("질문", "답", None)),
        (["PROMPT", "Response", "Class"], ("PROMPT", "Response", "Class")),
        (["id", "input", "output", "memo"], ("input", "output", None)),
        (["사용자", "챗봇", "말투"], ("사용자", "챗봇", "말투")),
    ],
)
def test_columns_are_found_by_their_names(names, found):
    assert find_columns(names) == Columns(*found)


def test_columns_that_are_chosen_are_taken(file):
    names = ["Q", "A", "label", "other"]
    assert find_columns(names, answer="other") == Columns("Q", "other", "label")
    assert find_columns(["A", "other"], question="A", answer="other") == Columns("A", "other")
    for chosen, missing in (({"label": "none"}, "none"), ({"question": "A"}, "A")):
        with pytest.raises(DataError) as caught:
            find_columns(["Q", "A"], **chosen)
        assert caught.value.values["missing"] == missing
    path = file("Q,A,label\n가,나,0\n")
    assert rows_of(path, columns=Columns("A", "Q", one_label="하나")) == [["나", "가", "하나"]]


# The odd files: read right, or refused with their own sentence.


@pytest.mark.parametrize("name", FILES)
def test_an_odd_file_is_read_right_or_refused_with_its_own_sentence(file, name):
    odd, path = FILES[name], file(FILES[name].data)
    if odd.error:
        assert refusal(path).key == odd.error
        return
    report = examine(table := open_table(path), find_columns(table.columns))
    assert [(p.row, p.column, p.reason, p.other) for p in report.problems] == odd.problems
    assert (report.rows - report.bad, sum(report.labels.values())) == (len(odd.pairs), len(odd.pairs))
    if odd.pairs:
        assert rows_of(path, bad_rows="skip") == odd.pairs
    if any(reason not in ("duplicate", "other_answer", "repeated_header") for _, _, reason, _ in odd.problems):
        assert refusal(path).key == "bad_rows"
    else:
        assert len(read_pairs(path)) == report.rows - report.reasons["repeated_header"]


def test_a_report_counts_all_and_keeps_as_many_problems_as_asked(file):
    table = open_table(file("Q,A,label\n안녕,네,0\n,,1\n안녕,네,0\n안녕,응,0\n잘 가,응,1\n"))
    told = examine(table, find_columns(table.columns), most=3).to_dict()
    assert [told[name] for name in ("rows", "good", "bad", "notes")] == [5, 3, 2, 1]
    assert told["labels"] == {"0": 2, "1": 1}
    assert told["reasons"] == {"empty_question": 1, "empty_answer": 1, "duplicate": 1, "other_answer": 1}
    assert told["mapping"] == {"question": "Q", "answer": "A", "label": "label"}
    assert [problem["row"] for problem in told["problems"]] == [3, 3, 4]
    assert told["problems"][2] == {"row": 4, "column": "", "reason": "duplicate", "other": 2}


# Fingerprint.


def test_the_fingerprint_is_of_the_pairs_and_not_of_the_file(file):
    plain = fingerprint(read_pairs(file(TEXT)))
    assert plain == fingerprint(read_pairs(file(TEXT.replace("\n", "\r\n").encode("cp949"))))
    assert plain == fingerprint(read_pairs(file(TEXT.replace("12시", " 12시").encode("utf-8-sig"))))
    assert plain != fingerprint(read_pairs(file(TEXT.replace("12", "11"))))
    assert plain != fingerprint(read_pairs(file(TEXT), rows=1))
    assert len(plain) == 64


# Downloads.


@pytest.fixture
def server():
    """A web server on this machine: `pages` are (body, headers) by path, `asked` the paths in order."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.server.asked.append(self.path)
            if self.path not in self.server.pages:
                self.send_error(404)
                return
            body, headers = self.server.pages[self.path]
            self.send_response(200)
            for name, value in ({"Content-Length": len(body)} | headers).items():
                if value is not None:
                    self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *args):
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.pages, made.asked = {}, []
    made.url = f"http://127.0.0.1:{made.server_port}"
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def cached(home) -> list[str]:
    return [path.name for path in (home / "cache").rglob("*")]


def test_a_download_is_kept_and_the_second_time_nothing_is_asked(server, home):
    server.pages["/a/ChatbotData.csv"] = TEXT.encode(), {}
    for _ in range(2):
        assert rows_of(f"{server.url}/a/ChatbotData.csv") == ROWS
    assert server.asked == ["/a/ChatbotData.csv"]
    assert len(cached(home)) == 1
    assert cached(home)[0].endswith("-ChatbotData.csv")


def test_two_addresses_with_the_same_file_name_are_two_files(server):
    server.pages["/a/x.csv"] = TEXT.encode(), {}
    server.pages["/b/x.csv?raw=1"] = TEXT.replace("12시", "1시").encode(), {}
    assert rows_of(f"{server.url}/a/x.csv")[0][0] == "12시 땡!"
    assert rows_of(f"{server.url}/b/x.csv?raw=1")[0][0] == "1시 땡!"


@pytest.mark.parametrize(
    "headers",
    [{"Content-Length": 10_000}, {"Content-Length": None, "Transfer-Encoding": "chunked"}],
    ids=["too short", "broken chunks"],
)
def test_a_download_that_breaks_off_is_refused_and_not_kept(server, home, headers):
    url = f"{server.url}/x.csv"
    body = b"1000\r\n" + TEXT.encode() if "Transfer-Encoding" in headers else TEXT.encode()
    server.pages["/x.csv"] = body, headers
    assert refusal(url).key in ("damaged_download", "no_download")
    assert cached(home) == []
    server.pages["/x.csv"] = TEXT.encode(), {}
    assert rows_of(url) == ROWS


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><html><body>Sign in, please</body></html>", b"", b"Sign\nin"])
def test_a_page_that_is_served_instead_is_refused_and_not_kept(server, home, body):
    server.pages["/x.csv"] = body, {"Content-Type": "text/html"}
    assert refusal(f"{server.url}/x.csv").key in ("is_web_page", "empty_file", "no_column")
    assert cached(home) == []


@pytest.mark.parametrize("path", ["/나의 질문.csv", "/%EB%82%98%EC%9D%98%20%EC%A7%88%EB%AC%B8.csv"])
def test_an_address_in_korean_is_asked_for_as_a_browser_does(server, path):
    server.pages["/%EB%82%98%EC%9D%98%20%EC%A7%88%EB%AC%B8.csv"] = TEXT.encode(), {}
    assert rows_of(server.url + path) == ROWS


def test_a_long_address_is_kept_under_a_name_that_fits(server):
    server.pages["/" + "x" * 300 + ".csv?" + "y" * 300] = TEXT.encode(), {}
    assert rows_of(server.url + "/" + "x" * 300 + ".csv?" + "y" * 300) == ROWS


def test_what_is_out_of_reach_is_named_with_the_reason(server, home):
    error = refusal(f"{server.url}/none.csv")
    assert (error.key, error.values["reason"]) == ("no_download", "Not Found")
    server.shutdown()
    server.server_close()
    error = refusal(f"{server.url}/x.csv")
    assert error.key == "no_download"
    assert "refused" in str(error)
    for url in ("http://", "http://[", "http://127.0.0.1:port/x.csv", "https://한글.invalid/x.csv"):
        assert refusal(url).key == "no_download", url
    assert cached(home) == []


# Uploads.


@pytest.mark.parametrize(
    ("name", "kept_as"),
    [
        ("나의 질문.csv", "나의 질문.csv"),
        ("../../x.csv", "x.csv"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\x.csv", "\\..\\x.csv"),
        ("..", "file"),
        ("", "file"),
        ("/", "file"),
        (".hidden.csv", "hidden.csv"),
    ],
)
def test_an_upload_stays_in_its_folder_whatever_it_is_called(tmp_path, name, kept_as):
    path = keep(TEXT.encode(), name, tmp_path / "uploads")
    assert path.name == kept_as
    assert path.resolve().parent.parent == (tmp_path / "uploads").resolve()
    assert rows_of(path) == ROWS
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_the_same_upload_is_kept_once_and_another_beside_it(tmp_path):
    assert keep(b"a", "x.csv", tmp_path) == keep(b"a", "x.csv", tmp_path)
    assert keep(b"b", "x.csv", tmp_path) != keep(b"a", "x.csv", tmp_path)
    assert len(list(tmp_path.glob("*/x.csv"))) == 2


def test_the_page_of_a_dataset_on_the_hub_means_its_file(server, monkeypatch):
    monkeypatch.setattr("kochat.data.hub_datasets.HUBS", (server.url,))
    page = f"{server.url}/datasets/me/pairs"

    def has(*names):
        listing = {"siblings": [{"rfilename": name} for name in ("README.md", *names)]}
        server.pages["/api/datasets/me/pairs"] = json.dumps(listing).encode(), {}

    has("내 질문.csv")
    server.pages["/datasets/me/pairs/resolve/main/" + quote("내 질문.csv")] = TEXT.encode(), {}
    assert rows_of(page) == rows_of(f"{page}/blob/main/내 질문.csv") == ROWS
    has("data/train.jsonl", "data/test.jsonl")
    server.pages["/datasets/me/pairs/resolve/main/data/train.jsonl"] = b'{"Q": "a", "A": "b"}', {}
    assert rows_of(f"{page}/") == [["a", "b", "기본"]]
    has("a.csv", "b.csv")
    refused = refusal(f"{page}/tree/main")
    assert refused.key == "hub_files"
    assert f"a.csv, b.csv. Open the one you mean and copy its address, such as {page}/blob/main/a.csv" in str(refused)
    has()
    assert refusal(f"{page}/viewer").key == "no_hub_file"
    server.pages.clear()
    assert refusal(f"{page}/viewer/").key == "no_download"
