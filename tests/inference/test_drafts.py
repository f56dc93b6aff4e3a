"""Drafts: the most frequent way on among answers that begin alike."""

import random
from collections import Counter

from kochat.inference.drafts import LIKELY, MAX_DRAFT, Drafts


def drafts_of(answers):
    """Drafts from answers, each as often as it is listed."""
    return Drafts(Counter(map(tuple, answers)))


def test_the_most_frequent_way_on():
    drafts = drafts_of([[5, 6, 7, 1], [5, 6, 7, 1], [5, 6, 8, 1], [9, 1]])
    assert drafts.after([5, 6]) == [7, 1]
    assert drafts.after([5]) == [6, 7, 1]
    assert drafts.after([5], most=2) == [6, 7]
    assert drafts.after([5], most=0) == []
    assert drafts.after([5, 6, 8]) == [1]
    assert drafts.after([5, 6, 9]) == []
    assert drafts.after([5, 6, 7, 1]) == []
    assert drafts.after([]) == [5, 6, 7, 1]
    assert Drafts().after([]) == []


def test_it_ends_where_no_way_is_likely():
    drafts = drafts_of([[1, 2, n] for n in range(10)])
    assert LIKELY > 1 / 10
    assert drafts.after([1]) == [2]


def test_an_answer_that_begins_another():
    assert drafts_of([[1, 2], [1, 2, 3]]).after([1]) == [2, 3]


def test_it_is_the_tree_that_counting_gives():
    rng = random.Random(0)
    answers = [[rng.randrange(3) for _ in range(rng.randrange(1, 8))] for _ in range(400)]
    drafts = drafts_of(answers)
    for _ in range(200):
        prefix = rng.choice(answers)[: rng.randrange(4)]
        expected, share = [], 1.0
        while len(expected) < MAX_DRAFT:
            so_far = [*prefix, *expected]
            alike = [a for a in answers if a[: len(so_far)] == so_far]
            ways = [a[len(so_far)] for a in alike if len(a) > len(so_far)]
            if not ways:
                break
            best = max(ways, key=lambda token: (ways.count(token), token))
            share *= ways.count(best) / len(alike)
            if share < LIKELY:
                break
            expected.append(best)
        assert drafts.after(prefix) == expected
