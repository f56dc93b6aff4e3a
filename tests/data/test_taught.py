"""What people teach: each reply once, the last word counts, and a thumb down waits for a better answer."""

import pytest

from kochat.data import taught
from kochat.data.taught import Origin, forget, open_taught, teach
from kochat.errors import DataError


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


def test_a_thumb_down_on_an_old_reply_leaves_its_correction(rows):
    teach(rows, "안녕", "좋은 답", "0", origin("corrected"))
    teach(rows, "안녕", "", "0", origin("disliked"))
    assert shown(rows) == [("안녕", "좋은 답", "0", "corrected")]
    teach(rows, "안녕", "", "0", origin("disliked", reply="좋은 답"))  # the bot says it, and it is no good after all
    assert shown(rows) == [("안녕", "", "0", "disliked")]


def test_a_correction_under_another_label_answers_the_thumb_down_too(rows):
    teach(rows, "안녕", "하나", "1", origin("liked"))
    teach(rows, "안녕", "영", "0", origin("liked"))
    teach(rows, "안녕", "", "1", Origin("disliked", "하나", "1", "kochat-mini"))
    teach(rows, "안녕", "새 답", "0", Origin("corrected", "하나", "1", "kochat-mini"))
    assert shown(rows) == [("안녕", "새 답", "0", "corrected")]


def test_undo_goes_back_change_by_change(rows):
    for number in range(3):
        teach(rows, f"{number}번", "네", "0", origin("corrected"))
    taught.undo(rows)
    taught.undo(rows)
    assert [row[0] for row in shown(rows)] == ["0번"]
    teach(rows, "다시", "네", "0", origin("corrected"))
    taught.undo(rows)
    taught.undo(rows)
    taught.undo(rows)  # nothing is left to undo
    assert shown(rows) == []


def test_undo_takes_back_going_back_too(rows):
    for number in range(3):
        teach(rows, f"{number}번", "네", "0", origin("corrected"))
    rows.go_back(rows.changes()[1].id)
    assert [row[0] for row in shown(rows)] == ["0번"]
    taught.undo(rows)
    assert sorted(row[0] for row in shown(rows)) == ["0번", "1번", "2번"]
    taught.undo(rows)
    assert sorted(row[0] for row in shown(rows)) == ["0번", "1번"]


def test_a_question_with_spaces_around_is_the_same_question(rows):
    teach(rows, "안녕 ", "하나", "0", origin("liked"))
    teach(rows, " 안녕", "둘", "0", origin("liked"))
    assert [row[:3] for row in shown(rows)] == [("안녕", "둘", "0")]
    forget(rows, "안녕 ", "0")
    assert shown(rows) == []


@pytest.mark.parametrize(
    ("question", "answer", "label", "key"),
    [
        ("안녕", "네", "auto", "bad_lesson"),
        ("안녕", "네", "가" * 41, "bad_lesson"),
        ("안\x07녕", "네", "0", "bad_lesson"),
        ("안녕", "네" * 2000, "0", "long_lesson"),
        ("긴 질문", "네", "0", "long_lesson"),
        ("긴 질문", "", "0", "long_lesson"),
    ],
)
def test_what_cannot_be_learned_is_refused(home, question, answer, label, key):
    rows = open_taught(home / "datasets", lambda pairs: ["긴" in pair[0] for pair in pairs])
    with pytest.raises(DataError) as caught:
        teach(rows, question, answer, label, origin("corrected"))
    assert caught.value.key == key
    assert shown(rows) == []


def test_there_is_an_end_to_what_one_person_can_teach(rows):
    for question in ("하나", "둘"):
        teach(rows, question, "네", "0", origin("liked"), max_rows=2)
    with pytest.raises(DataError) as caught:
        teach(rows, "셋", "네", "0", origin("liked"), max_rows=2)
    assert caught.value.key == "too_many_lessons"


def test_what_can_be_learned_gives_each_question_and_label_once_as_it_was_taught_last(home):
    early, late = (Origin("corrected", "", "0", "kochat-mini", time=f"2026-01-0{day}T00:00:00+00:00") for day in (1, 2))
    rows = open_taught(home / "a")
    rows.add("안녕", "나중", "0", vars(late))
    rows.add("안녕", "먼저", "0", vars(early))
    teach(rows, "뭐해", "", "0", origin("disliked"))
    assert taught.learnable(home / "a").values.tolist() == [["안녕", "나중", "0"]]
    assert taught.learnable(home / "nobody").empty


def test_what_was_taught_to_another_checkpoint_can_be_left_out(home):
    rows = taught.open_taught(home / "a")
    for question, name in (("안녕", "mini"), ("몇 시예요?", "shop")):
        taught.teach(rows, question, "네", "0", Origin("corrected", "응", "0", name, time=f"2026-01-0{1 + len(name)}"))
    rows.add("직접", "넣음", "0")  # in the data tab, for nobody alone
    assert taught.learnable(home / "a", but={"mini"})["Q"].tolist() == ["직접", "몇 시예요?"]
    assert len(taught.learnable(home / "a")) == 3
