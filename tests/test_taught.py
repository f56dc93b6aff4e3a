"""What people teach: each reply once, the last word counts, and a thumb down waits for a better answer."""

import pytest

from kochat import taught
from kochat.taught import Origin, forget, open_taught, teach


@pytest.fixture
def rows(home):
    return open_taught(home / "datasets")


def origin(how, reply="글쎄요."):
    return Origin(how, reply, "0", "kochat-mini")


def shown(rows):
    return [(row.Q, row.A, row.label, row.origin["how"]) for row in rows.page(0, 10)[0]]


def test_a_liked_and_a_corrected_reply_become_rows_with_their_origin(rows):
    teach(rows, "안녕", "반가워요.", "0", origin("liked", "반가워요."))
    teach(rows, "고마워", "별말씀을요.", "2", origin("corrected"))
    assert shown(rows) == [("안녕", "반가워요.", "0", "liked"), ("고마워", "별말씀을요.", "2", "corrected")]
    kept = rows.page(1, 1)[0][0].origin
    assert (kept["reply"], kept["label"], kept["checkpoint"]) == ("글쎄요.", "0", "kochat-mini")
    assert kept["time"].endswith("+00:00")


def test_a_thumb_down_waits_and_its_correction_takes_its_place(rows):
    teach(rows, "안녕", "", "0", origin("disliked"))
    assert (rows.counts().bad, len(rows.pairs())) == (1, 0)
    teach(rows, "안녕", "어서 와요.", "1", origin("corrected"))
    assert shown(rows) == [("안녕", "어서 와요.", "1", "corrected")]
    assert rows.counts().bad == 0


def test_the_last_word_about_a_question_and_label_counts(rows):
    teach(rows, "안녕", "하나", "0", origin("corrected"))
    teach(rows, "안녕", "둘", "0", origin("corrected"))
    teach(rows, "안녕", "셋", "2", origin("corrected"))
    teach(rows, "안녕하세요", "넷", "0", origin("liked"))
    assert [row[:3] for row in shown(rows)] == [("안녕", "둘", "0"), ("안녕", "셋", "2"), ("안녕하세요", "넷", "0")]
    rows.go_back(rows.changes()[-2].id)  # before the second one
    assert [row[:3] for row in shown(rows)] == [("안녕", "하나", "0")]


def test_a_thumb_can_be_taken_back_but_not_a_correction(rows):
    teach(rows, "안녕", "반가워요.", "0", origin("liked"))
    teach(rows, "고마워", "별말씀을요.", "0", origin("corrected"))
    for question in ("안녕", "고마워", "뭐해"):
        forget(rows, question, "0")
    assert [row[0] for row in shown(rows)] == ["고마워"]


def test_all_folders_together_give_each_question_and_label_once(home):
    for folder, answer in (("a", "하나"), ("b", "둘")):
        teach(open_taught(home / folder), "안녕", answer, "0", origin("corrected"))
    teach(open_taught(home / "b"), "뭐해", "", "0", origin("disliked"))
    table = taught.everything([home / "a", home / "b", home / "nobody"])
    assert table.values.tolist() == [["안녕", "둘", "0"]]
    assert taught.not_learned(table, [("안녕", "하나", "0")]) == 1
    assert taught.not_learned(table, [("안녕", "둘", "0")]) == 0
    assert taught.everything([]).empty
