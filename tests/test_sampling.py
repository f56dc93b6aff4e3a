"""Sampling: the draw follows the probabilities, stays in the nucleus, and depends on seed and position alone."""

import math

import pytest
import torch
from scipy.stats import chisquare, kstest

from kochat.errors import ReplyError
from kochat.sampling import HEAD, Sampling, checked, distribution, draw, uniform

PROBABILITIES = [0.02, 0.5, 0.08, 0.4]
SCORES = torch.tensor([PROBABILITIES]).log() + 7  # what is the same for all tokens of a row does not count


def drawn(scores, temperature, top_p, numbers):
    return draw(scores.expand(len(numbers), -1), [(temperature, top_p, number) for number in numbers]).tolist()


def evenly(n):
    """n numbers that lie evenly in [0, 1)."""
    return [(i + 0.5) / n for i in range(n)]


def test_the_numbers_are_uniform_and_depend_on_seed_and_position_alone():
    seeds = [uniform(seed, 5) for seed in range(5000)]
    positions = [uniform(2**32 - 1, position) for position in range(5000)]
    for numbers in (seeds, positions):
        assert all(0 <= number < 1 for number in numbers)
        assert kstest(numbers, "uniform").pvalue > 0.001
    assert len({*seeds, *positions}) == 10_000
    assert uniform(7, 5) == seeds[7]
    # So it is on every machine, and in every release: a reply can be shown again.
    assert uniform(1, 2) == 0.6434025071674214


def test_the_inverse_cdf_runs_over_the_tokens_by_falling_probability():
    assert drawn(SCORES, 1.0, 1.0, [0.0, 0.49, 0.51, 0.89, 0.91, 0.979, 0.981, 1 - 2**-53]) == [1, 1, 3, 3, 2, 2, 0, 0]
    # Squared by a temperature of one half: 0.5 and 0.4 are 25 / 41.68 and 16 / 41.68.
    assert drawn(SCORES, 0.5, 1.0, [0.599, 0.601, 0.983, 0.985]) == [1, 3, 3, 2]


def test_only_the_smallest_set_that_reaches_top_p_is_drawn_from():
    for top_p, nucleus in (
        (0.01, {1}),
        (0.49, {1}),
        (0.51, {1, 3}),
        (0.89, {1, 3}),
        (0.91, {1, 2, 3}),
        (1.0, {0, 1, 2, 3}),
    ):
        found = drawn(SCORES, 1.0, top_p, [*evenly(500), 1 - 2**-53])
        assert set(found) == nucleus
        whole = sum(PROBABILITIES[token] for token in nucleus)
        shares = [PROBABILITIES[token] / whole if token in nucleus else 0 for token in range(4)]
        assert distribution(SCORES, 1.0, top_p)[0].tolist() == pytest.approx(shares)
        assert [found.count(token) / 501 for token in range(4)] == pytest.approx(shares, abs=0.005)


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("spread", [0.1, 3.0])
def test_of_a_large_vocabulary_the_likeliest_tokens_and_the_rest_are_drawn_alike(top_p, spread):
    numbers = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 20 * HEAD, generator=numbers) * spread
    asked = [(temperature, top_p, number) for temperature in (0.7, 1.0, 1.6) for number in evenly(200)]
    found = draw(scores.repeat_interleave(200, 0), asked).view(3, 200)
    for row, temperature, tokens in zip(scores, (0.7, 1.0, 1.6), found.tolist(), strict=True):
        # A plain loop over the sorted tokens.
        shares = distribution(row[None], temperature, top_p)[0]
        cdf, by_hand = 0.0, []
        for token in shares.argsort(descending=True, stable=True).tolist():
            cdf += shares[token].item()
            by_hand += [token] * (sum(number < cdf - 1e-12 for number in evenly(200)) - len(by_hand))
        assert tokens == by_hand
        assert (shares > 0).sum() < 20 * HEAD or top_p == 1
    # The same, each row by itself.
    alone = [draw(row[None], [one]).item() for row, one in zip(scores.repeat_interleave(200, 0), asked, strict=True)]
    assert alone[::7] == found.flatten().tolist()[::7]


def test_draws_follow_the_probabilities():
    scores = torch.randn(1, 40, generator=torch.Generator().manual_seed(3)) * 2
    for temperature, top_p in ((1.0, 1.0), (0.7, 1.0), (1.0, 0.9), (1.5, 0.8)):
        found = drawn(scores, temperature, top_p, [uniform(seed, 3) for seed in range(5000)])
        expected = 5000 * distribution(scores, temperature, top_p)[0]
        some = (expected > 0).nonzero()[:, 0].tolist()
        assert set(found) <= set(some)
        assert chisquare([found.count(token) for token in some], expected[some].tolist()).pvalue > 0.001


def test_what_may_not_be_chosen_is_never_drawn():
    scores = torch.tensor([[-math.inf, 1.0, -math.inf, 0.5]])
    assert set(drawn(scores, 1.0, 1.0, [*evenly(100), 1 - 2**-53])) == {1, 3}
    assert set(drawn(scores, 5e-324, 1.0, evenly(100))) == {1}  # as cold as can be it is greedy
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
