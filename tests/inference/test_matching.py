"""Own questions in other words."""

from collections import Counter

import pandas as pd
import pytest

from kochat.config import DEFAULT_CHECKPOINT, PROJECT
from kochat.data import pairs
from kochat.inference.matching import QuestionMatcher, concepts, ngrams, synonyms
from kochat.model.kept_pairs import read_pairs

OWN = [
    ("배달 되나요?", "손님"),
    ("배달 되나요?", "단골"),
    ("영업시간이 어떻게 돼요?", "손님"),
    ("장미 한 송이 얼마예요?", "손님"),
    ("주차 되나요?", "손님"),
]
# What kochat-mini was trained on: these tell which syllables are rare.
EVERYDAY = list(dict.fromkeys(question for question, _, _ in read_pairs(DEFAULT_CHECKPOINT, "kochat-mini")))


def test_ngrams_are_syllables_and_pairs_of_them_with_the_beginning_of_a_word():
    assert ngrams("배달, 되나요?") == {"배", "달", "되", "나", "요", " 배", "배달", " 되", "되나", "나요"}
    assert ngrams("?!") == frozenset()


def test_concepts_are_what_different_words_ask_for_however_they_are_spaced():
    assert concepts("차 댈 데 있어요?") == concepts("주차 되나요?") == {"#parking"}
    assert "#close_hours" in concepts("몇시까지 해요") & concepts("몇 시 까지 해요")
    assert concepts("교환하고 싶어요") != concepts("환불하고 싶어요")
    assert concepts("심심해") == frozenset()


def test_no_word_is_a_syllable_or_tells_many_concepts():
    stems = Counter(stem for stems in synonyms().values() for stem in stems)
    assert not [stem for stem, times in stems.items() if len(stem) < 2 or times > 2]
    assert all(stem == " ".join(stem.split()).casefold() for stem in stems)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("집까지 배달해 주실 수 있어요?", "배달 되나요?"),
        ("영업시간 좀 알려 주세요", "영업시간이 어떻게 돼요?"),
        ("차 댈 데 있어요?", "주차 되나요?"),  # one syllable of it
        ("장미 가격이 궁금해요", "장미 한 송이 얼마예요?"),
        ("장미 한 송이 얼마예요?", "장미 한 송이 얼마예요?"),
    ],
)
def test_a_question_in_other_words_is_found(asked, meant):
    found = QuestionMatcher(OWN, EVERYDAY).match(asked)
    assert found.question == meant
    assert 0.22 <= found.similarity <= 1
    assert found.labels == tuple(label for question, label in OWN if question == meant)


@pytest.mark.parametrize("asked", ["파이썬으로 정렬하는 코드 짜 줘", "asdf", "", "Where is the station?", "안녕"])
def test_a_question_like_none_is_not(asked):
    assert QuestionMatcher(OWN, EVERYDAY).match(asked) is None


def test_a_question_that_the_base_knows_means_itself():
    assert QuestionMatcher(OWN, [*EVERYDAY, "배달 시킬까"]).match("배달 시킬까") is None
    assert QuestionMatcher(OWN, EVERYDAY).match("배달 시킬까!!").question == "배달 되나요?"


def test_only_questions_under_the_label_count():
    matcher = QuestionMatcher(OWN, EVERYDAY)
    assert matcher.match("집까지 배달해 주실 수 있어요?", "단골").question == "배달 되나요?"
    assert matcher.match("장미 한 송이 얼마예요?", "단골") is None
    assert QuestionMatcher([]).match("안녕") is None


def test_most_questions_of_a_shop_in_other_words_are_found_and_most_foreign_ones_are_not():
    # The shops that the threshold was chosen on; benchmarks/small_files.py measures the others.
    folder = PROJECT / "benchmarks" / "shops" / "dev"
    own = pairs.read_pairs(folder / "flower39.csv")
    answers = own.groupby("Q")["A"].agg(set)
    matcher = QuestionMatcher(zip(own["Q"], own["label"], strict=True), EVERYDAY)
    asked = pd.read_csv(folder / "flower39.asked.csv", keep_default_na=False)
    right = refused = 0
    for row in asked.itertuples():
        found = matcher.match(row.question)
        right += bool(found) and bool(answers[found.question] & set(row.answer.split(" || ")))
        refused += row.kind == "foreign" and found is None
    assert right >= 7
    assert refused >= 6
