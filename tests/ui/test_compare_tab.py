"""The comparison tab's handlers: what is offered, what is refused, the table, whose comparison goes on."""

import re

import gradio as gr
import pytest

from kochat.errors import DataError, SettingsError
from kochat.evaluation.comparison import Column, Comparison
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.ui import models
from kochat.ui.compare import tab as compare
from kochat.ui.compare import table as comparison_table

CARDS = {
    "mini": Card(["0", "1", "2"], config={"label_dropout": 0.1}),
    "jobs": Card(["1", "우산장수"], label_names={"1": "<b>하나</b>"}),
}


def visitor(cookie="a", language="ko-KR"):
    """A request as gradio hands it to a handler."""
    client = {"host": "127.0.0.1"}
    return gr.Request(client=client, cookies={"kochat_visitor": cookie}, headers={"accept-language": language})


@pytest.fixture(autouse=True)
def _tiny(home, model, tokenizer):
    """One small checkpoint called tiny, beside the shipped one."""
    checkpoint.save(home / "checkpoints" / "tiny", model, tokenizer, Card(labels=["0", "9"], max_length=64))
    models._bots.clear()


def test_the_labels_offered_are_those_of_all_chatbots_chosen_as_each_calls_them():
    assert compare.label_choices("ko", CARDS) == [
        ("자동", "auto"),
        ("일상다반사", "0"),
        ("이별·부정 / <b>하나</b>", "1"),
        ("사랑·긍정", "2"),
        ("우산장수", "우산장수"),
    ]
    chosen = compare.label_dropdown(["tiny", "gone"], ["2", "9", "auto"], ["tiny"], visitor())
    assert (chosen.value, [value for _, value in chosen.choices]) == (["9", "auto"], ["auto", "0", "9"])


def test_at_first_the_first_chatbot_is_chosen_with_its_labels_and_later_choices_stay():
    names, labels, before = compare.refresh([], [], visitor())
    assert before == ["kochat-mini"]
    assert ([value for _, value in names.choices], names.value) == (["kochat-mini", "tiny"], ["kochat-mini"])
    assert labels.value == ["0", "1", "2"]
    names, labels, _ = compare.refresh(["tiny", "gone"], ["9"], visitor())
    assert (names.value, labels.value) == (["tiny"], ["9"])
    assert compare.refresh(["tiny"], [], visitor())[1].value == []


def test_a_chatbot_that_no_chosen_label_suits_brings_its_own_once(home, model, tokenizer):
    card = Card(labels=["공부", "운동", "요리", "여행"], max_length=64)
    checkpoint.save(home / "checkpoints" / "own", model, tokenizer, card)

    def chosen(names, labels, before):
        return compare.label_dropdown(names, labels, before, visitor()).value

    mini, both = ["kochat-mini"], ["kochat-mini", "own"]
    assert chosen(both, ["0", "2"], mini) == ["0", "2", "공부", "운동", "요리"]
    # Whoever takes them out again is not asked twice, also when another chatbot comes.
    assert chosen([*both, "tiny"], ["0", "2"], both) == ["0", "2"]
    # What suits it is enough: a label that it knows, or automatic.
    assert chosen(both, ["0", "운동"], mini) == ["0", "운동"]
    assert chosen(both, ["auto", "0"], mini) == ["auto", "0"]
    assert chosen(both, [], mini) == ["공부", "운동", "요리"]


def test_a_table_has_at_most_200_rows_and_24_columns():
    text = "\n".join(map(str, range(250)))
    made = compare.planned(text, ["tiny"], ["0", "9"], ["own", "0", "2"], "ko")
    assert made.questions == [str(n) for n in range(200)]
    assert [one.strength for one in made.columns] == [0.0, 2.0, 0.0, 2.0]
    every = [["tiny", "kochat-mini"], ["auto", "0", "1", "2"], list(map(str, range(4)))]
    with pytest.raises(SettingsError, match="32 columns, and at most 24"):
        compare.planned("안녕", *every, "ko")
    for nothing in (([], ["0"], ["own"]), (["gone"], ["0"], ["own"]), (["tiny"], None, ["own"]), (["tiny"], ["0"], [])):
        with pytest.raises(SettingsError, match="Nothing to compare"):
            compare.planned("안녕", *nothing, "ko")
    with pytest.raises(DataError, match="no question to ask"):
        compare.planned(" \n", *every, "ko")


def test_the_table_grows_and_says_how_far_it_is():
    questions = "\n".join(map(str, range(20)))
    *growing, last = compare.run(questions, ["tiny"], ["0", "9", "1"], ["own"], visitor())
    assert 'aria-valuenow="0"' in growing[0][0]
    bar, table, made = last
    assert bar == ""
    assert [len(one.replies) for one in made.columns] == [20, 20, 0]
    assert table.count("<tr>") == 21
    assert table.count("<td>–</td>") == 20
    assert compare._newest == {}


@pytest.mark.slow
def test_who_starts_another_comparison_ends_the_one_before_and_nobody_elses(monkeypatch):
    monkeypatch.setattr(compare, "BETWEEN_PICTURES", -1)
    questions = "\n".join(map(str, range(30)))
    arguments = (questions, ["tiny"], ["0"], ["own"])
    first, others = compare.run(*arguments, visitor("a")), compare.run(*arguments, visitor("b"))
    next(first), next(first), next(others), next(others)
    second = compare.run(*arguments, visitor("a"))
    next(second)
    [last] = first
    assert len(last[2].columns[0].replies) == 16
    assert [len(list(one)[-1][2].columns[0].replies) for one in (second, others)] == [30, 30]


def test_what_differs_is_marked_with_signs_and_everything_is_shown_as_text():
    replies = [["네 <i>좋아요</i>", "같아요"], ["네 싫어요", "같아요"]]
    columns = [
        Column("mini", label, 2.0, True, row, [label, label], 3.0) for label, row in zip("01", replies, strict=True)
    ]
    auto = Column("jobs", "auto", 0.0, True, ["네 싫어요"], ["1"], 0.5)
    table = Comparison(["<script>", "둘"], [*columns, auto, Column("jobs", "2", 0.0, False)])
    shown = comparison_table.table_html("ko", table, CARDS)
    rows = re.findall(r"<tr>(.+?)</tr>", shown)
    assert "일상다반사 · 세기 2</span><small" in rows[0]
    assert "3.00초 · 답 하나에 1500ms" in rows[0]
    assert rows[1].startswith('<th scope="row">&lt;script&gt;</th><td>네 &lt;i&gt;좋아요&lt;/i&gt;</td>')
    assert rows[1].count(">≠</b> 네 <mark>싫어요</mark>") == 2
    assert "→ &lt;b&gt;하나&lt;/b&gt;" in rows[1]
    assert rows[1].endswith("<td>–</td>")
    assert rows[2] == '<th scope="row">둘</th><td>같아요</td><td>같아요</td><td></td><td>–</td>'
    assert "질문 2개 가운데 1개에서" in shown
    assert "The replies part for 1 of 2 questions." in comparison_table.table_html("en", table, CARDS)


def test_a_long_question_is_cut_in_the_table_and_whole_in_the_file():
    table = Comparison(["가" * 5000], [Column("mini", "0", 0.0, True, ["네"], ["0"], 1.0)])
    cut = "가" * comparison_table.MAX_SHOWN + "…"
    assert f'<th scope="row">{cut}</th>' in comparison_table.table_html("ko", table, CARDS)
    with open(compare.to_csv(table, visitor()), encoding="utf-8-sig") as file:
        assert "가" * 5000 in file.read()


def test_a_file_fills_the_box_up_to_what_can_be_asked(tmp_path):
    (tmp_path / "q.csv").write_bytes(("Q,A\n" + "".join(f"{n}번,네\n" for n in range(201))).encode("cp949"))
    assert compare.take_over(str(tmp_path / "q.csv"), visitor()).splitlines() == [f"{n}번" for n in range(200)]
    (tmp_path / "q.csv").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(gr.Error, match="그림이에요"):
        compare.take_over(str(tmp_path / "q.csv"), visitor())


def test_the_download_is_the_visitors_own():
    table = Comparison(["안녕"], [Column("kochat-mini", "0", 0.5, True, ["네"], ["0"], 1.0)])
    mine, theirs = (compare.to_csv(table, visitor(one)) for one in "ab")
    assert mine != theirs
    with open(mine, encoding="utf-8-sig") as file:  # as the page says it
        assert file.read() == "질문,kochat-mini · 일상다반사 · 세기 0.5 · 1.00초,≠\n안녕,네,\n"
