"""Checks: everything that is wrong with a row, named; what people type is not wrong."""

import pytest

from kochat.data.checks import BAD, CONTROL, NOTES, REASONS, Problem, clean, problems_of


@pytest.mark.parametrize(
    ("row", "problems"),
    [
        (("안녕", "네", "0"), []),
        (("", "네", "0"), [("question", "empty_question")]),
        (("안녕", "", "0"), [("answer", "empty_answer")]),
        (("안녕", "네", ""), [("label", "no_label")]),
        (("", "", "auto"), [("question", "empty_question"), ("answer", "empty_answer"), ("label", "reserved_label")]),
        (("안녕", "네", "다" * 40), []),
        (("안녕", "네", "다" * 41), [("label", "long_label")]),
        (("안녕", "네", "\0" + "다" * 41), [("label", "control"), ("label", "long_label")]),
        (("안\x1b녕", "네\u2066", "0\ufffd"), [(one, "control") for one in ("question", "answer", "label")]),
    ],
)
def test_all_that_is_wrong_with_a_row_is_named(row, problems):
    assert problems_of(*row) == problems


@pytest.mark.parametrize("text", ["가\r\n나\t다", "👨‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️", "ㅋㅋㅋ", "</s>", "a\u200bb", "한\u3000글"])
def test_what_people_type_and_paste_is_text(text):
    assert problems_of(text, text, "0") == []


@pytest.mark.parametrize("character", ["\0", "\x08", "\x0b", "\x1f", "\x7f", "\x9f", "\u202e", "�"])
def test_what_nobody_types_is_not(character):
    assert CONTROL.search(f"가{character}나")


def test_half_a_character_is_nothing_that_is_typed():
    assert CONTROL.search("\ud83d")
    assert CONTROL.search("\ude00")


def test_a_cell_is_cleaned_of_its_outer_white_space():
    assert clean(" \u3000\xa0가 나\r\n") == "가 나"
    assert clean("\ufeff\u200b 가\u200b나 \u2060\n") == "가\u200b나"


def test_a_problem_is_a_line_for_people():
    problem = Problem(12, "answer", "empty_answer")
    assert (problem.text("ko"), problem.text("en")) == ("12행 · 답변: 비어 있어요", "row 12 · answer: is empty")
    problem = Problem(12, "", "duplicate", 3)
    assert (problem.text("ko"), problem.text("en")) == ("12행: 3행과 똑같아요", "row 12: the same as row 3")
    assert "40자" in Problem(1, "label", "long_label").text("ko")
    assert "“auto”" in Problem(1, "label", "reserved_label").text("en")


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_reason_has_its_words(language):
    assert list(REASONS[language]) == [*BAD, *NOTES]
    assert [reason for reason in REASONS[language] if Problem(1, "", reason).is_note] == ["other_answer"]
    assert all("{" not in Problem(1, "", reason, 2).text(language) for reason in REASONS[language])
