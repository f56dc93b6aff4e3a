"""Intervals by the bootstrap: how much a figure would move with other questions of the same kind.

Knows numpy; not what a figure is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95
AT_ONCE = 4_000_000  # drawn questions held in memory, over all resamples of a piece


def intervals(tops: np.ndarray, bottoms: np.ndarray, questions: Sequence[str], seed: int = 0) -> np.ndarray:
    """The percentile bootstrap interval (95 %) of each ratio of sums, shape (figures, 2).

    `tops` and `bottoms` have shape (pairs, figures); a figure is the sum of its column in one over that in the
    other. Questions are resampled with replacement (Efron 1979), all pairs of a question together, since they
    are not independent.
    """
    numbers = {question: i for i, question in enumerate(dict.fromkeys(questions))}
    of_pair = np.array([numbers[question] for question in questions])
    n, width = len(numbers), tops.shape[1]
    sums = np.zeros((n, 2 * width))
    np.add.at(sums, of_pair, np.hstack([tops, bottoms]))
    rng, ratios, piece = np.random.default_rng(seed), [], max(1, AT_ONCE // n)
    for start in range(0, RESAMPLES, piece):
        m = min(piece, RESAMPLES - start)
        drawn = rng.integers(n, size=(m, n)) + n * np.arange(m)[:, None]
        resampled = np.bincount(drawn.ravel(), minlength=m * n).reshape(m, n) @ sums
        ratios.append(resampled[:, :width] / resampled[:, width:])
    ends = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    return np.quantile(np.concatenate(ratios), ends, axis=0).T
