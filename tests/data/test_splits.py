"""Training, validation and test: by question, always the same, near-duplicates together, out of training never."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kochat.data.near_duplicates import groups
from kochat.data.pairs import read_pairs
from kochat.data.splits import (
    MIN_PAIRS_TO_WITHHOLD,
    SPLIT_VERSION,
    divide,
    draw,
    split_by_question,
    split_in_two,
    withheld_shares,
)
from kochat.errors import DataError


def table_of(questions):
    return pd.DataFrame([(q, "답", "0") for q in questions], columns=["Q", "A", "label"], dtype="str")


def part_of(parts):
    named = {"training": parts.training, "validation": parts.validation, "test": parts.test}
    return {question: name for name, part in named.items() for question in part["Q"]}


def test_no_question_is_in_two_parts_and_the_shares_are_about_those_of_the_questions(sample):
    parts = split_by_question(sample, 0.1, 0.2, seed=0)
    questions = [set(part["Q"]) for part in (parts.training, parts.validation, parts.test)]
    assert sum(map(len, questions)) == len(set().union(*questions)) == sample["Q"].nunique()
    assert 0.05 < len(questions[1]) / sample["Q"].nunique() < 0.15
    assert 0.12 < len(questions[2]) / sample["Q"].nunique() < 0.28
    indices = [*parts.training.index, *parts.validation.index, *parts.test.index]
    assert sorted(indices) == list(sample.index)


def test_the_part_of_a_question_is_drawn_by_a_hash_of_it_and_the_seed():
    # draw: the first eight bytes of the sha256 of "seed/question", as a share of what they could be
    assert draw("안녕", 0) == pytest.approx(0.42609, abs=1e-5)
    questions = [f"{i} {'가나다라마바사'[i % 7]} {i * i}" for i in range(300)]
    parts = part_of(split_by_question(table_of(questions), 0.2, 0.3, seed=7))
    for question in questions:
        drawn = draw(question, 7)
        assert parts[question] == ("validation" if drawn < 0.2 else "test" if drawn < 0.5 else "training")
    assert part_of(split_by_question(table_of(questions[::-1]), 0.2, 0.3, seed=7)) == parts
    assert part_of(split_by_question(table_of(questions), 0.2, 0.3, seed=8)) != parts


def test_near_duplicates_go_where_the_most_trained_of_them_is_drawn_and_are_counted():
    # Draws with seed 0 that are known: the same question, spelled in ways that are no matter.
    ways = [
        "어디 가니 지금",
        "어디 가니 지금?",
        "어디 가니 지금!",
        "어디가니 지금",
        "어디 가니지금",
        "어디 가니 지금ㅋㅋ",
    ]
    drawn = sorted(ways, key=lambda way: draw(way, 0))
    low, middle, high = drawn[0], drawn[1], drawn[-1]
    validation, test = draw(low, 0) + 1e-9, draw(middle, 0) - draw(low, 0)

    def parts(questions):
        return split_by_question(table_of([*questions, "전혀 다른 말"]), validation, test, seed=0)

    assert part_of(parts([low]))[low] == "validation"
    assert part_of(parts([middle]))[middle] == "test"
    both = parts([low, middle])
    assert part_of(both)[low] == part_of(both)[middle] == "validation"  # more trained than test: chosen by
    assert both.num_near_duplicates == 1
    all_ways = parts([low, middle, high])
    assert {part_of(all_ways)[way] for way in (low, middle, high)} == {"training"}
    assert all_ways.num_near_duplicates == 2


QUESTIONS = st.text("가나다라마 ?ㅋ", min_size=1, max_size=8)
IN_ORDER = {"training": 0, "validation": 1, "test": 2}


@pytest.mark.slow
@given(st.sets(QUESTIONS, min_size=2, max_size=25), st.sets(QUESTIONS, max_size=25), st.integers(0, 50))
def test_when_rows_are_added_no_question_becomes_less_trained_on_than_it_was(before, added, seed):
    old = part_of(split_by_question(table_of(sorted(before)), 0.2, 0.2, seed))
    new = part_of(split_by_question(table_of(sorted(before | added)), 0.2, 0.2, seed))
    assert not [question for question, part in old.items() if part == "training" and new[question] != "training"]
    lowest = min(before, key=lambda question: draw(question, seed))
    # What was drawn for validation only since nothing was may turn out to be for training now.
    assert all(IN_ORDER[new[q]] <= IN_ORDER[part] for q, part in old.items() if q != lowest)


@given(st.sets(QUESTIONS, max_size=40), st.integers(0, 50))
def test_near_duplicates_are_never_in_two_parts(questions, seed):
    parts, group_of = part_of(split_by_question(table_of(sorted(questions)), 0.3, 0.3, seed)), groups(questions)
    assert len({(group_of[q], parts[q]) for q in questions}) == len(set(group_of.values()))


def test_of_few_questions_one_is_for_validation_and_none_where_no_share_is_asked(sample):
    for rows in (6, 9, 30):
        assert split_by_question(sample[:rows], 0.001, 0, seed=0).validation["Q"].nunique() == 1
    assert split_by_question(sample[:1], 0.001, 0, seed=0).validation.empty
    parts = split_by_question(sample, 0, 0, seed=0)
    assert parts.training.equals(sample)
    assert parts.validation.empty
    assert parts.test.empty


def test_shares_that_are_left_open_follow_from_the_number_of_pairs():
    few, many = MIN_PAIRS_TO_WITHHOLD - 1, MIN_PAIRS_TO_WITHHOLD
    assert (withheld_shares(None, None, few), withheld_shares(None, None, many)) == ((0, 0), (0.05, 0.05))
    assert (withheld_shares(0.2, None, few), withheld_shares(0.2, None, many)) == ((0.2, 0), (0.2, 0.05))
    assert (withheld_shares(None, 0.1, few), withheld_shares(None, 0.1, many)) == ((0, 0.1), (0.05, 0.1))
    assert withheld_shares(0, None, many) == (0, 0)
    assert withheld_shares(0, 0.3, many) == (0, 0.3)


# The split of before, which checkpoints of then are still told by.


def test_a_card_of_before_gets_the_two_parts_of_then(sample):
    training, validation = split_in_two(sample, 0.1, seed=0)
    parts = divide(sample, 1, 0.1, 0.0, seed=0)
    assert parts.training.equals(training)
    assert parts.validation.equals(validation)
    assert parts.test.empty
    assert set(validation["Q"]) == {q for q in sample["Q"] if draw(q, 0) < 0.1}
    assert split_in_two(sample[:9], 0.001, seed=0)[1]["Q"].nunique() == 1
    assert split_in_two(sample, 0, seed=0)[0].equals(sample)
    new = divide(sample, SPLIT_VERSION, 0.1, 0.1, seed=0)
    assert not set(new.test["Q"]) & {q for q in sample["Q"] if draw(q, 0) < 0.1}
    with pytest.raises(DataError, match="version 9"):
        divide(sample, 9, 0.1, 0.1, seed=0)


def test_what_chatbot_data_becomes(chatbot_data):
    table = read_pairs(chatbot_data)
    if len(table) < 11_000:  # the sample stands in
        return
    old, new = split_in_two(table, 0.05, 0), split_by_question(table, 0.05, 0.05, 0)
    assert list(map(len, old)) == [10_749, 554]
    assert [len(part) for part in (new.training, new.validation, new.test)] == [10_212, 534, 557]
    assert new.num_near_duplicates == 31
    # Before, 19 of 545 validation questions had a near-duplicate among those trained on.
    assert set(new.validation["Q"]) < set(old[1]["Q"])
