"""Checks: everything that is wrong with a row, named; what people type is not wrong."""

import unicodedata

import pytest

from kochat.data.checks import BAD, CONTROL, NOTES, REASONS, Problem, clean, clean_label, fold, problems_of


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


# As people see it.


@pytest.mark.parametrize("blank", [*"\u3164\uffa0\u115f\u1160\u2800\u00ad\u200b", "\u200d\ufe0f"])
def test_what_cannot_be_seen_is_empty(blank):
    assert clean(blank) == clean(f" {blank}\u00a0{blank}") == ""
    assert problems_of("안녕", clean(blank), "0") == [("answer", "empty_answer")]


def test_texts_are_kept_in_one_normal_form():
    assert clean(unicodedata.normalize("NFD", "사랑해")) == "사랑해"
    assert clean_label(unicodedata.normalize("NFD", " 사랑")) == "사랑"


@pytest.mark.parametrize(
    "text", ["안\u200b녕  친구", "안녕\u00a0친구", "안\u00ad녕\n친구", "안\u3164녕 \u2800친구", "안\ufeff녕 친\u200d구"]
)
def test_what_looks_the_same_is_compared_as_the_same(text):
    assert fold(clean(text)) == "안녕 친구"


@pytest.mark.parametrize("text", ["👨‍👩‍👧", "❤️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️‍🔥", "ㅋㅋ", "x² ㎡"])
def test_emoji_and_letters_stay_what_they_are(text):
    assert fold(clean(text)) == clean(text) == text


def test_a_label_is_one_however_it_is_written():
    assert {clean_label(text) for text in ("０", "0", " 0\u200b", "\u3164０")} == {"0"}
    assert clean_label("좋은\u00a0 날（Ａ）") == "좋은 날(A)"
    assert clean_label("ㅋㅋ") == "ㅋㅋ"


@pytest.mark.parametrize("cell", ["#NAME?", "#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NUM!", "#SPILL!", "####"])
def test_an_excel_error_is_no_answer(cell):
    assert problems_of("안녕", cell, "0") == [("answer", "excel_error")]
    assert problems_of("안녕", cell + " 라고 나와요", "0") == []


def test_a_hash_tag_is_an_answer():
    assert problems_of("안녕", "#맛집", "#1") == []
