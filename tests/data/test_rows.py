"""Rows: how lengths are told in bins, and what a spreadsheet gets to see."""

import pytest

from kochat.data.rows import as_cells, histogram


@pytest.mark.parametrize(
    ("counts", "bins"),
    [
        ({}, []),
        ({0: 3}, [(0, 0, 3)]),
        ({19: 2, 1: 1}, [(length, length, {19: 2, 1: 1}.get(length, 0)) for length in range(20)]),
        ({20: 1, 0: 1}, [(0, 1, 1), *[(2 * n, 2 * n + 1, 0) for n in range(1, 10)], (20, 21, 1)]),
        ({9: 500, 1_000_000: 1}, [(length, length, 0) for length in range(9)] + [(9, 9, 500), (10, 1_000_000, 1)]),
    ],
)
def test_bins_have_one_round_width_and_the_last_takes_what_is_far_out(counts, bins):
    assert histogram(counts) == bins
    assert sum(rows for _, _, rows in histogram(counts)) == sum(counts.values())


@pytest.mark.parametrize("start", "=+-@＝＋－＠")
def test_what_a_spreadsheet_would_run_starts_with_something_unseen(start):
    assert as_cells((f"{start}1", f"1{start}", "0")) == [f"\u200b{start}1", f"1{start}", "0"]
