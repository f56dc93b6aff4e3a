"""The simulation of benchmarks/scale.py: replies that wait for nobody, and replies that share passes."""

import pytest

from benchmarks.scale import most, simulate

REPLIES = [(10, 3)]  # tokens of the prompt, passes


def test_a_reply_that_meets_nobody_takes_its_passes_and_what_is_beside_them():
    took = simulate(0.001, 100_000, REPLIES, 1, lambda tokens: 0.1 if tokens == 1 else 0.4, beside=0.5)
    assert len(took) > 50
    assert took == [pytest.approx(0.5 + 0.4 + 0.1 + 0.1)] * len(took)


def test_replies_share_passes_up_to_the_rows_of_the_engine():
    # Two rows each: 32 at once. A pass takes a second whatever is in it, so 32 replies take three seconds together.
    limit = most(REPLIES, 2, lambda tokens: 1.0, 0.0)
    assert limit == pytest.approx(32 / 3)
    below, above = (max(simulate(share * limit, 300, REPLIES, 2, lambda tokens: 1.0)) for share in (0.7, 2.0))
    assert below < 10
    assert above > 100
