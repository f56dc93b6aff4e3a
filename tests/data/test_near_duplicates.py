"""Near-duplicates: what counts as the same question, and that every two of them are found."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kochat.data.near_duplicates import bigrams, canonical, groups, similar


@pytest.mark.parametrize(
    ("question", "form"),
    [
        ("12시 땡!", "12시땡"),
        ("１２시  땡", "12시땡"),
        ("심심해 ㅋㅋㅋ", "심심해"),
        ("슬퍼ㅠㅠㅜ...", "슬퍼"),
        ("ㅋㅠ", ""),  # which NFKC would join to 큐
        ("SNS_시작~", "sns시작"),
        ("?!", ""),
    ],
)
def test_case_width_spaces_marks_laughs_and_tears_are_no_matter(question, form):
    assert canonical(question) == form


def test_short_texts_have_a_bigram_too():
    assert bigrams("가나다") == {"가나", "나다"}
    assert (bigrams("가"), bigrams("")) == ({"가"}, {""})


def test_three_quarters_of_the_bigrams_in_common_are_enough():
    # 가나다라 has 3 bigrams, 가나다라마 4: 3 of 4 are in common. Of 가나다 and 가나다라 2 of 3 are.
    found = groups(["이별 후 한달", "이별 후 한달째", "이별", "이별 후", "가나다라", "가나다라마", "가나다", "마바사"])
    assert found["이별 후 한달"] == found["이별 후 한달째"]
    assert found["가나다라"] == found["가나다라마"]
    assert found["가나다"] != found["가나다라"]
    assert len({found["이별 후 한달"], found["이별"], found["이별 후"], found["마바사"]}) == 4


def test_near_duplicates_of_near_duplicates_are_one_group():
    first, last = "abcdefghi", "abcdefghijkl"  # 8 of 11: not similar themselves
    assert len(set(groups([first, last]).values())) == 2
    assert len(set(groups([first, "abcdefghij", last]).values())) == 1


@given(st.lists(st.text("가나다ab", max_size=9), max_size=30))
def test_every_two_that_are_similar_enough_are_found_and_no_others(texts):
    sets = [bigrams(one) for one in dict.fromkeys(texts)]
    expected = {
        frozenset(two)
        for two in itertools.combinations(range(len(sets)), 2)
        if 4 * len(sets[two[0]] & sets[two[1]]) >= 3 * len(sets[two[0]] | sets[two[1]])
    }
    found = list(similar(sets))
    assert {frozenset(two) for two in found} == expected
    assert len(found) == len(expected)
