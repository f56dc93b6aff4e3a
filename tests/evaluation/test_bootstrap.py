"""Bootstrap intervals, held against what can be counted by hand and against a plain loop."""

import numpy as np
import pytest

from kochat.evaluation import bootstrap
from kochat.evaluation.bootstrap import intervals


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_a_figure_that_is_the_same_for_every_question_does_not_move():
    [ends] = intervals(column(3, 1, 2), column(6, 2, 4), ["a", "b", "c"])
    assert ends.tolist() == [0.5, 0.5]


def test_a_share_moves_as_the_binomial_distribution_says():
    right = np.array([1.0] * 60 + [0.0] * 140)[:, None]
    [[low, high]] = intervals(right, np.ones((200, 1)), [str(i) for i in range(200)])
    # 0.3 with a standard error of sqrt(0.3 * 0.7 / 200) = 0.0324.
    assert low == pytest.approx(0.3 - 1.96 * 0.0324, abs=0.012)
    assert high == pytest.approx(0.3 + 1.96 * 0.0324, abs=0.012)


def test_pairs_of_one_question_are_drawn_together():
    # Two questions, each with its pairs alike: a resample has none, half or all of them right.
    [ends] = intervals(column(1, 1, 0, 0), np.ones((4, 1)), ["a", "a", "b", "b"])
    assert ends.tolist() == [0, 1]


def test_it_is_what_a_plain_loop_finds_and_the_same_each_time(monkeypatch):
    draw = np.random.default_rng(7)
    questions = [f"q{i % 15}" for i in range(40)]
    tops, bottoms = draw.random((40, 3)), draw.random((40, 3)) + 0.5
    found = intervals(tops, bottoms, questions, seed=3)
    rng, ratios = np.random.default_rng(3), []
    rows = [[i for i in range(40) if i % 15 == q] for q in range(15)]
    for _ in range(1000):
        chosen = [i for q in rng.integers(15, size=15) for i in rows[q]]
        ratios.append(tops[chosen].sum(0) / bottoms[chosen].sum(0))
    assert found == pytest.approx(np.quantile(ratios, [0.025, 0.975], axis=0).T)
    # Nor does it matter how many resamples are in memory at once.
    monkeypatch.setattr(bootstrap, "AT_ONCE", 100)
    assert intervals(tops, bottoms, questions, seed=3) == pytest.approx(found)
    assert (intervals(tops, bottoms, questions, seed=4) != found).any()
