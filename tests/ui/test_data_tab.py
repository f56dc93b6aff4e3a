"""What the data tab's handlers do, without a browser: every odd file through the import; whose dataset is whose."""

import html
import re
from pathlib import Path

import gradio as gr
import orjson
import pytest
from odd_files import FILES, xlsx
from test_auth import request

from kochat.data import datasets
from kochat.data.datasets import Dataset
from kochat.data.pairs import read_pairs
from kochat.errors import SENTENCES
from kochat.runs import queue
from kochat.sharing import hub
from kochat.ui import auth, sources
from kochat.ui.data import importing, overview, rows
from kochat.ui.data import tab as data
from kochat.ui.training import form

STRANGER = {"host": "8.8.8.8", "cookies": {auth.VISITOR: "somebody"}}


@pytest.fixture(autouse=True)
def _plain_server(monkeypatch):
    for name in ("KOCHAT_PASSWORD", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)


def bring_in(path, name, asked_by, **chosen) -> Dataset:
    """What the page does with a file: look at it, then bring it in with the columns that were found."""
    _, _, *found, _, _, _ = importing.look(str(path), "", chosen.get("sheet", ""), chosen.get("header", ""), asked_by)
    names = ("question", "answer", "label", "one_label", "context", "sheet", "header")
    columns = dict(zip(names, (one.value for one in found), strict=True)) | chosen
    *bars, last = importing.bring_in(str(path), *columns.values(), name, "", asked_by)
    assert 'role="progressbar"' in bars[0][0]
    assert last == ("", name.strip())
    return Dataset(auth.path_of(last[1], asked_by))


@pytest.mark.parametrize("name", FILES)
def test_every_odd_file_is_brought_in_or_refused_with_its_own_sentence(tmp_path, home, name):
    odd, path = FILES[name], tmp_path / "pairs.csv"
    path.write_bytes(odd.data)
    if odd.error == "no_header":  # the page says so, and takes the columns in their order
        assert "There is no header" in importing.look(str(path), "", "", "", request())[0]
        assert bring_in(path, "odd", request()).counts().rows == 2
        return
    if odd.error:
        with pytest.raises(gr.Error) as caught:
            bring_in(path, "odd", request())
        pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(html.escape(SENTENCES["en"][odd.error])))
        assert re.fullmatch(pattern, str(caught.value.message))
        assert list((home / "datasets").glob("*")) == []
        return
    dataset = bring_in(path, "odd", request())
    counts = dataset.counts()
    assert dataset.pairs().values.tolist() == odd.pairs
    assert (counts.good, counts.bad + counts.good) == (len(odd.pairs), counts.rows)
    told = [(one.row, one.column, one.reason, one.other) for one in dataset.problems(100)]
    assert told == odd.problems


@pytest.mark.parametrize("name", [name for name in FILES if "half a character" in name and not FILES[name].error])
def test_what_a_look_gives_back_can_be_sent_to_the_page(tmp_path, name):
    path = tmp_path / "pairs.csv"
    path.write_bytes(FILES[name].data)
    for shown in importing.look(str(path), "", "", "", request()):
        orjson.dumps(shown if isinstance(shown, str) else shown.get_config(), default=str)


def test_a_look_at_many_columns_is_short(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("Q,A" + ",x" * 998 + "\n" + ",".join(["<" * 80] * 1000) + "\n", "utf-8")
    told = importing.look(str(path), "", "", "", request())[0]
    assert len(told) < 20_000
    assert (told.count("<th>"), told.count("<td>")) == (21, 21)


def test_columns_that_nobody_can_tell_are_chosen(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("하나,둘\n안녕,네\n", "utf-8")
    assert "Choose which column" in importing.look(str(path), "", "", "", request())[0]
    dataset = bring_in(path, "mine", request(), question="둘", answer="하나")
    assert dataset.pairs().values.tolist() == [["네", "안녕", "기본"]]


def test_the_name_that_is_given_back_is_the_one_that_is_stored(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("Q,A\n안녕,네\n", "utf-8")
    assert bring_in(path, "데이터 ", request()).name == "데이터"
    assert importing.make_empty(" 빈것 ", request()) == "빈것"


def test_a_dataset_on_the_hub_is_brought_in_like_a_file(server, home, tmp_path, monkeypatch):
    (tmp_path / "shop.csv").write_text("Q,A\n주차돼요?,뒤에 두 대요.\n", "utf-8")
    hub.push_dataset(str(tmp_path / "shop.csv"), "somebody/flower-shop")
    for source in ("somebody/flower-shop", " https://huggingface.co/datasets/somebody/flower-shop/"):
        path = Path(importing.from_hub(source, request()))
        assert path.name == "flower-shop.csv"
        dataset = bring_in(path, importing.name_for(path, datasets.list_datasets(home / "datasets")), request())
        assert dataset.pairs().values.tolist() == [["주차돼요?", "뒤에 두 대요.", "기본"]]
    assert sorted(datasets.list_datasets(home / "datasets")) == ["flower-shop", "flower-shop-2"]
    with pytest.raises(gr.Error, match="nobody/nothing"):
        importing.from_hub("nobody/nothing", request())
    for may in ("teach", "all"):  # it is asked with the server's token
        monkeypatch.setenv("KOCHAT_VISITORS", may)
        with pytest.raises(gr.Error, match="Only"):
            importing.from_hub("somebody/flower-shop", request(**STRANGER))


def test_one_column_is_not_both_question_and_answer(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("Q,A\n안녕,네\n", "utf-8")
    with pytest.raises(gr.Error, match="are the same column, Q"):
        bring_in(path, "mine", request(), question="Q", answer="Q")


def test_the_page_says_for_which_chatbot_lengths_are_checked(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("Q,A\n안녕,네\n", "utf-8")
    assert (
        "“kochat-mini”, chosen in the chat: up to 96 tokens"
        in importing.look(str(path), "kochat-mini", "", "", request())[0]
    )
    assert "chosen under" not in importing.look(str(path), "", "", "", request())[0]


def test_a_file_name_becomes_a_name_that_is_free():
    assert importing.name_for("우리 반 (최종).xlsx", set()) == "우리-반-최종"
    assert importing.name_for("우리 반.xlsx", {"우리-반", "우리-반-2"}) == "우리-반-3"
    assert importing.name_for("!!!.csv", set()) == "data"
    assert len(importing.name_for("가" * 200 + ".csv", {"가" * 56})) <= 60


@pytest.mark.parametrize(
    "do",
    [
        lambda by: list(importing.bring_in("x.csv", "Q", "A", "", "", "", "", "", "mine", "", by)),
        lambda by: importing.look("x.csv", "", "", "", by),
        lambda by: importing.make_empty("mine", by),
        lambda by: data.rename("theirs", "mine", by),
        lambda by: form.start("jobs", None, "kochat-mini", "x", 1, 8, 1e-3, 0, 0, "auto", 0, False, "", "here", by),
    ],
)
def test_what_the_owner_does_is_refused_to_others(home, do):
    with pytest.raises(gr.Error, match="Only the owner"):
        do(request(**STRANGER))
    assert list(home.iterdir()) == []


def test_a_row_goes_where_it_came_from_whatever_is_chosen_by_now(home):
    for name in ("a", "b"):
        importing.make_empty(name, request())
        data.save((name, None), "", "안녕", name, "0", request())
    shown = rows.filled_with("en", "a", data.opened("a", request()), data.opened("a", request()).row(2), None)
    assert shown[-1] == ("a", 2)
    # It stays open while its dataset is shown, and is closed where that is gone and another one is chosen.
    assert data.refresh("a", 1, "", "", "all", ("a", 2), request())[-8:] == [gr.skip()] * 8
    datasets.delete(home / "datasets" / "a.pairs")
    *_, column, _, _, _, _, _, _, place = data.refresh("a", 1, "", "", "all", ("a", 2), request())
    assert (column.visible, place) == (False, None)
    for do in (
        lambda: data.save(("a", 2), "", "안녕", "새 답", "0", request()),
        lambda: data.delete_row(("a", 2), request()),
        lambda: data.save(None, "", "안녕", "새 답", "0", request()),
        lambda: data.delete_row(None, request()),
    ):
        with pytest.raises(gr.Error, match="no dataset"):
            do()
    assert data.opened("b", request()).pairs().values.tolist() == [["안녕", "b", "0"]]


@pytest.mark.parametrize("key", ["theirs", "../datasets/theirs", "/etc/passwd", "", None])
def test_another_ones_dataset_is_not_there_for_anybody_else(home, tmp_path, key):
    path = tmp_path / "pairs.csv"
    path.write_text("Q,A\n안녕,네\n", "utf-8")
    bring_in(path, "theirs", request())
    stranger = request(**STRANGER)
    row = ((key, 2), "", "안녕", "아니", "0")
    for do in (
        lambda: data.view(key, 1, "", "", "all", stranger),
        lambda: data.save(*row, stranger),
        lambda: data.delete_row((key, 2), stranger),
        lambda: data.leave_out(key, stranger),
        lambda: data.delete(key, stranger),
        lambda: data.to_csv(key, stranger),
        lambda: data.go_back(key, 1, stranger),
    ):
        with pytest.raises(gr.Error, match="no dataset"):
            do()
    assert Dataset(home / "datasets" / "theirs.pairs").pairs().values.tolist() == [["안녕", "네", "기본"]]


@pytest.mark.parametrize(
    "typed", ["우산장수=비, 건설현장=볕\n", "우산장수=비\n\n 건설현장=볕 ", "우산장수=비，건설현장=볕,,"]
)
def test_the_form_takes_kept_labels_names_and_no_limits(monkeypatch, typed):
    taken = []
    monkeypatch.setattr(queue, "start", taken.append)
    form.start("jobs", None, "kochat-mini", "x", 2.0, 8, 1e-3, 0.1, 0, "auto", 0, "yes", typed, "here", request())
    config = taken[0]
    assert (config.keep_labels, config.label_names) == (True, ("우산장수=비", "건설현장=볕"))
    assert (config.epochs, config.rows, config.patience) == (2, None, None)
    form.start("jobs", None, "kochat-mini", "x", 2, 8, 1e-3, 0.1, 5, "auto", None, "no", None, "here", request())
    assert (taken[1].label_names, taken[1].rows) == ((), 5)


def test_who_has_mended_the_last_row_sees_all_of_them_and_may_train(home):
    importing.make_empty("mine", request())
    data.save(("mine", None), "", "질문만", "", "0", request())

    def train_button():
        return overview.view("ko", data.opened("mine", request()))[-1].variant

    assert (train_button(), data.all_mended("mine", "bad", request())) == ("secondary", gr.skip())
    data.save(("mine", 2), "", "질문만", "답", "0", request())
    assert (train_button(), data.all_mended("mine", "bad", request())) == ("primary", "all")
    assert data.all_mended("mine", "notes", request()) == gr.skip()


def test_what_the_labels_of_a_dataset_are_called_reaches_the_file_that_is_trained_on(home, tmp_path):
    path = tmp_path / "shop.csv"
    path.write_text("질문,답변,구분\n몇 시까지 해요?,여덟 시요.,손님\n늘 사던 걸로요,네.,단골\n", "utf-8")
    bring_in(path, "shop", request())
    assert read_pairs(sources.snapshot("shop", request())).attrs["label_column"] == "구분"
    assert "<th>구분</th>" in data.view("shop", 1, "", "", "all", request())[0]


def test_a_dataset_without_a_good_row_is_not_trained_on(home):
    importing.make_empty("mine", request())
    data.save(("mine", None), "", "질문만", "", "0", request())
    mine = f"{sources.PREFIX}mine"
    with pytest.raises(gr.Error, match="“mine” has no row that can be used"):
        form.start(mine, None, "kochat-mini", "x", 1, 8, 1e-3, 0, 0, "auto", 0, "auto", "", "here", request())


def test_bars_count_whole_rows_and_show_names_as_text():
    labels = {"<b>": 3, "공부" * 20: 1}
    bins = [(0, 4, 0), (5, 9, 0), (10, 14, 2), (15, 19, 0), (20, 20, 1)]
    of_labels, of_questions, nothing = overview.plots("ko", labels, {"question": bins, "answer": []})
    assert re.findall(r"<td>([^<]+)</td>", of_labels) == ["3", "1"]
    assert re.findall(r"width:(.+?)%", of_labels) == ["100.0", "33.3"]
    assert '<th scope="row" title="&lt;b&gt;">&lt;b&gt;</th>' in of_labels
    assert re.findall(r'<th scope="row".*?>([^<]+)</th>', of_questions) == ["10–14", "15–19", "20"]
    assert "<caption>질문 길이</caption>" in of_questions
    assert "<tbody></tbody>" in nothing


def test_the_owner_sees_what_is_done_with_a_file_and_chooses_its_sheet_and_header(tmp_path):
    path = tmp_path / "book.xlsx"
    path.write_bytes(
        xlsx([["Q", "A"], ["가", "나"]], [["메모"], ["하나", "둘"], ["다", "라"]], names=["일상", "그 밖"])
    )
    told, _, *found, _, _, _ = importing.look(str(path), "", "", "", request())
    assert "Not read: the sheets 그 밖. Read: 일상." in told
    sheet, header = found[-2:]
    assert [name for _, name in sheet.choices] == ["", "일상", "그 밖"]
    assert (sheet.visible, sheet.value, header.value) == (True, "", "")
    chosen = {"sheet": "그 밖", "header": "2", "question": "하나", "answer": "둘"}
    assert bring_in(path, "mine", request(), **chosen).pairs().values.tolist() == [["다", "라", "기본"]]


def test_a_column_that_is_joined_can_be_left_out(tmp_path):
    path = tmp_path / "alpaca.csv"
    for name, chosen, question in (("joined", {}, "번역해\n사과"), ("alone", {"context": ""}, "번역해")):
        path.write_text("instruction,input,output\n번역해,사과,apple\n", "utf-8")
        assert bring_in(path, name, request(), **chosen).pairs().values.tolist() == [[question, "apple", "기본"]]
        assert not path.exists()  # the upload, now that it is a dataset
