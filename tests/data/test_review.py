"""What visitors taught: it waits, the owner's own answers win, and a decision is about what was seen."""

import os

import pytest

from kochat.data import review, taught
from kochat.data.taught import Origin, open_taught, teach
from kochat.errors import DataError


@pytest.fixture
def owner(home):
    return open_taught(home / "datasets")


@pytest.fixture
def visitors(home):
    return home / "visitors"


def by_visitor(visitors, name, question, answer, label="0"):
    rows = open_taught(visitors / name)
    teach(rows, question, answer, label, Origin("corrected", "글쎄요.", label, "kochat-mini"))
    return rows


def waiting(owner, visitors):
    return review.waiting(owner.path.parent, visitors)


def test_an_answer_is_learned_only_when_it_was_accepted(owner, visitors):
    by_visitor(visitors, "ann", "안녕", "반가워요.")
    [lesson] = waiting(owner, visitors)
    assert (lesson.visitor, lesson.row.A, lesson.replaces, lesson.owners) == ("ann", "반가워요.", "글쎄요.", None)
    assert taught.learnable(owner.path.parent).empty
    assert review.accept(lesson, lesson.row.A, owner, visitors)
    assert taught.learnable(owner.path.parent).values.tolist() == [["안녕", "반가워요.", "0"]]
    assert owner.find("안녕")[0].origin["by"] == "ann"
    assert waiting(owner, visitors) == []


def test_it_can_be_bettered_first_and_the_visitors_own_row_stays_as_it_is(owner, visitors):
    rows = by_visitor(visitors, "ann", "안녕", "방가")
    [lesson] = waiting(owner, visitors)
    assert review.accept(lesson, "반가워요.", owner, visitors)
    assert (owner.find("안녕")[0].A, rows.find("안녕")[0].A) == ("반가워요.", "방가")
    assert waiting(owner, visitors) == []


def test_an_answer_that_was_emptied_is_refused_and_waits_on(owner, visitors):
    by_visitor(visitors, "ann", "안녕", "반가워요.")
    [lesson] = waiting(owner, visitors)
    with pytest.raises(DataError) as caught:
        review.accept(lesson, "", owner, visitors)
    assert caught.value.key == "empty_correction"
    assert (owner.counts().rows, len(waiting(owner, visitors))) == (0, 1)


def test_the_owners_own_answer_stays_and_the_visitors_waits_on(owner, visitors):
    teach(owner, "안녕", "어서 오세요.", "0", Origin("corrected", "", "0", "kochat-mini"))
    by_visitor(visitors, "ann", "안녕", "꺼져")
    [lesson] = waiting(owner, visitors)
    assert lesson.owners == "어서 오세요."
    assert not review.accept(lesson, lesson.row.A, owner, visitors)
    assert [row.A for row in owner.find("안녕")] == ["어서 오세요."]
    assert len(waiting(owner, visitors)) == 1


def test_of_two_visitors_the_one_accepted_last_counts_until_the_owner_says_otherwise(owner, visitors):
    for name, answer in (("ann", "하나"), ("bob", "둘")):
        by_visitor(visitors, name, "안녕", answer)
    for lesson in sorted(waiting(owner, visitors), key=lambda lesson: lesson.visitor):
        assert review.accept(lesson, lesson.row.A, owner, visitors)
    assert [row.A for row in owner.find("안녕")] == ["둘"]
    teach(owner, "안녕", "셋", "0", Origin("corrected", "둘", "0", "kochat-mini"))
    assert [(row.A, row.origin["by"]) for row in owner.find("안녕")] == [("셋", "")]


def test_what_was_refused_does_not_come_again_but_another_answer_does(owner, visitors):
    rows = by_visitor(visitors, "ann", "안녕", "욕")
    review.refuse(waiting(owner, visitors)[0], visitors)
    by_visitor(visitors, "ann", "안녕", "욕")
    assert waiting(owner, visitors) == []
    assert review.decided(visitors / "ann", rows.find("안녕")) == {2: "refused"}
    rows.edit(2, "안녕", "다른 욕", "0")
    assert [lesson.row.A for lesson in waiting(owner, visitors)] == ["다른 욕"]


def test_nothing_that_was_changed_after_it_was_seen_is_accepted(owner, visitors):
    rows = by_visitor(visitors, "ann", "안녕", "반가워요.")
    [seen] = waiting(owner, visitors)
    rows.edit(2, "안녕", "욕", "0")
    assert review.accept(seen, seen.row.A, owner, visitors)
    assert owner.find("안녕")[0].A == "반가워요."
    assert [lesson.row.A for lesson in waiting(owner, visitors)] == ["욕"]


def test_a_thumb_down_alone_is_nothing_to_decide_on(owner, visitors):
    teach(open_taught(visitors / "ann"), "안녕", "", "0", Origin("disliked", "글쎄요.", "0", "kochat-mini"))
    assert waiting(owner, visitors) == []


def test_a_damaged_file_does_not_hide_what_others_taught(owner, visitors, caplog):
    by_visitor(visitors, "ann", "안녕", "네")
    by_visitor(visitors, "bob", "안녕", "네").path.write_bytes(b"garbage")
    assert [lesson.visitor for lesson in waiting(owner, visitors)] == ["ann"]
    assert "left out" in caplog.text


def test_folders_in_which_nothing_waits_go_after_a_month(owner, visitors):
    for name in ("ann", "bob", "eve"):
        by_visitor(visitors, name, "안녕", name)
    for lesson in waiting(owner, visitors):
        if lesson.visitor != "eve":
            review.refuse(lesson, visitors)
    for name in ("ann", "eve"):
        for path in (*(visitors / name).iterdir(), visitors / name):
            os.utime(path, (0, 0))
    review.forget(visitors)
    assert sorted(folder.name for folder in visitors.iterdir()) == ["bob", "eve"]
