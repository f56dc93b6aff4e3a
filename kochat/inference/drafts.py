"""Drafts: how a reply probably goes on, read off the answers that the model was trained on.

A fine-tuned bot often says one of them word for word. A draft is checked by the model in one pass
(Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding", without a second
model), so it changes the time a reply takes and never the reply. Knows token ids only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate

MAX_DRAFT = 15  # tokens; with the one before them a whole number of the kernels' rows
LIKELY = 0.3  # of the answers that begin alike, so many have to go on as the draft does


class Drafts:
    """A prefix tree of answers, held as their sorted list: those that begin alike stand together."""

    def __init__(self, counts: Mapping[tuple[int, ...], int] | None = None):
        counts = counts or {}  # how often each answer was seen
        self.answers = sorted(counts)
        self.total_before = [0, *accumulate(counts[answer] for answer in self.answers)]

    def after(self, reply: Sequence[int], most: int = MAX_DRAFT) -> list[int]:
        """The most frequent way on after the tokens `reply`; empty where nothing is likely enough."""
        prefix = tuple(reply)
        low, high = self._range(prefix, 0, len(self.answers))
        draft: list[int] = []
        share = 1.0
        while len(draft) < most:
            branches = self._branches(prefix, low, high)
            if not branches:
                break
            weight, token, first, end = max(branches)
            share *= weight / self._weight(low, high)
            if share < LIKELY:
                break
            draft.append(token)
            prefix, low, high = (*prefix, token), first, end
        return draft

    def _branches(self, prefix: tuple[int, ...], low: int, high: int) -> list[tuple[int, int, int, int]]:
        """(weight, token, first, end) of each token that follows the prefix among answers low to high."""
        depth, branches = len(prefix), []
        while low < high:
            if len(self.answers[low]) > depth:
                token = self.answers[low][depth]
                first, end = self._range((*prefix, token), low, high)
                branches.append((self._weight(first, end), token, first, end))
                low = end
            else:  # an answer that is the prefix and nothing more
                low += 1
        return branches

    def _range(self, prefix: tuple[int, ...], low: int, high: int) -> tuple[int, int]:
        first = bisect_left(self.answers, prefix, low, high)
        if not prefix:
            return first, high
        return first, bisect_left(self.answers, (*prefix[:-1], prefix[-1] + 1), first, high)

    def _weight(self, low: int, high: int) -> int:
        return self.total_before[high] - self.total_before[low]
