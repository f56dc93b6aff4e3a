"""Sampling: the draw follows the probabilities, stays in the nucleus, and depends on seed and position alone."""

import math

import pytest
import torch
from scipy.stats import chisquare, kstest

from kochat.errors import ReplyError
from kochat.inference.sampling import HEAD, Sampling, checked, distribution, draw, waits

PROBABILITIES = [0.02, 0.5, 0.08, 0.4]
SCORES = torch.tensor([PROBABILITIES]).log() + 7  # what is the same for all tokens of a row does not count


def drawn(scores, temperature, top_p, seeds):
    return draw(scores.expand(len(seeds), -1), [(temperature, top_p, seed, 3) for seed in seeds]).tolist()


def test_the_numbers_are_exponential_and_depend_on_seed_and_position_alone():
    by_seed = [waits(seed, 5, 1)[0] for seed in range(5000)]
    by_position = [waits(2**32 - 1, position, 1)[0] for position in range(5000)]
    by_token = waits(0, 5, 5000).tolist()
    for numbers in (by_seed, by_position, by_token):
        assert all(0 < number < 40 for number in numbers)
        assert kstest(numbers, "expon").pvalue > 0.001
    assert len({*by_seed, *by_position, *by_token}) == 15_000 - 1  # the first of seed 0 is there twice
    # So it is on every machine, and in every release: a reply can be shown again.
    assert waits(1, 2, 2).tolist() == pytest.approx([0.05585365381721672, 0.3634701852771815], rel=1e-12)


def test_only_the_smallest_set_that_reaches_top_p_is_drawn_from():
    everything = {0, 1, 2, 3}
    for top_p, nucleus in (
        (0.01, {1}),
        (0.49, {1}),
        (0.51, {1, 3}),
        (0.89, {1, 3}),
        (0.91, {1, 2, 3}),
        (1, everything),
    ):
        assert set(drawn(SCORES, 1.0, top_p, range(500))) == nucleus
        whole = sum(PROBABILITIES[token] for token in nucleus)
        shares = [PROBABILITIES[token] / whole if token in nucleus else 0 for token in range(4)]
        assert distribution(SCORES, 1.0, top_p)[0].tolist() == pytest.approx(shares)


def test_a_temperature_divides_the_scores():
    squares = [p * p for p in PROBABILITIES]
    assert distribution(SCORES, 0.5, 1.0)[0].tolist() == pytest.approx([one / sum(squares) for one in squares])


@pytest.mark.parametrize("spread", [0.1, 3.0])
def test_the_nucleus_of_a_large_vocabulary_is_the_same_among_the_likeliest_and_in_all(spread):
    scores = torch.randn(3, 20 * HEAD, generator=torch.Generator().manual_seed(0)) * spread
    for top_p in (0.3, 0.9, 0.999):
        by_hand = []
        for row in scores.double().softmax(1):
            tokens, before, kept = row.argsort(descending=True).tolist(), 0.0, torch.zeros(len(row), dtype=float)
            while before < top_p:
                kept[tokens[0]] = row[tokens[0]]
                before += row[tokens.pop(0)].item()
            by_hand.append(kept / kept.sum())
        found = distribution(scores, 1.0, top_p)
        assert torch.allclose(found, torch.stack(by_hand))
        asked = [(1.0, top_p, seed, 3) for seed in range(300)]
        tokens = draw(scores[:1].expand(300, -1), asked)
        assert (found[0][tokens] > 0).all()
        # One by one, and beside others with another top_p, they are the same.
        assert [draw(scores[:1], [one]).item() for one in asked[:50]] == tokens[:50].tolist()
        mixed = [one for pair in zip(asked, [(1.0, 1.0, 0, 0)] * 300, strict=True) for one in pair]
        assert draw(scores[:1].expand(600, -1), mixed)[::2].tolist() == tokens.tolist()


def test_draws_follow_the_probabilities():
    scores = torch.randn(1, 40, generator=torch.Generator().manual_seed(3)) * 2
    for temperature, top_p in ((1.0, 1.0), (0.7, 1.0), (1.0, 0.9), (1.5, 0.8)):
        found = drawn(scores, temperature, top_p, range(5000))
        expected = 5000 * distribution(scores, temperature, top_p)[0]
        some = (expected > 0).nonzero()[:, 0].tolist()
        assert set(found) <= set(some)
        assert chisquare([found.count(token) for token in some], expected[some].tolist()).pvalue > 0.001


@pytest.mark.slow
def test_the_rounding_of_scores_changes_hardly_a_draw():
    scores = torch.randn(1, 6000, generator=torch.Generator().manual_seed(3))
    noisy = scores + torch.randn(4000, 6000, generator=torch.Generator().manual_seed(4)) * 1e-6
    asked = [(1.0, 1.0, seed, 3) for seed in range(4000)]
    assert draw(noisy, asked).tolist() == draw(scores.expand(4000, -1), asked).tolist()


def test_what_may_not_be_chosen_is_never_drawn():
    scores = torch.tensor([[-math.inf, 1.0, -math.inf, 0.5]])
    assert set(drawn(scores, 1.0, 1.0, range(100))) == {1, 3}
    assert set(drawn(scores, 5e-324, 1.0, range(100))) == {1}  # as cold as can be it is greedy
    assert distribution(scores, 5e-324, 1.0).tolist() == [[0, 1, 0, 0]]


def test_what_is_out_of_range_is_refused_and_a_seed_is_made_up_where_something_is_drawn():
    for bad in (-0.1, 2.1, math.nan, math.inf, "1", None):
        with pytest.raises(ReplyError, match=r"The temperature is .*, but must be a number from 0 to 2") as refused:
            checked(bad, 1.0, 0)
        assert refused.value.key == "bad_temperature"
    for bad in (0, -1, 1.01, math.nan, None):
        with pytest.raises(ReplyError, match=r"top_p is .*, but must be a number above 0 and at most 1"):
            checked(1.0, bad, 0)
    for bad in (-1, 2**32, 1.5, "7"):
        with pytest.raises(ReplyError, match=r"The seed is .*, but must be a whole number from 0 to 4294967295"):
            checked(1.0, 1.0, bad)
    assert checked(0, 1, None) == Sampling() == (0, 1, 0)
    assert len({checked(1.0, 0.5, None).seed for _ in range(20)}) > 18
    assert checked(2, 0.5, 2**32 - 1) == (2, 0.5, 2**32 - 1)
    assert [checked(2, 0.5, 2**32 - 1).nth(i).seed for i in (0, 1, 5)] == [2**32 - 1, 0, 4]
