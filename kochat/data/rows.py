"""A row of a dataset as the file holds it, as people look at it, and as a spreadsheet takes it.

Knows one row and its problems; no file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kochat.data.checks import Problem, TooLong, problems_of
from kochat.data.columns import Columns

MAX_BINS = 20
BIN_WIDTHS = [first * 10**power for power in range(10) for first in (1, 2, 5)]
# A spreadsheet takes such a cell for a formula and may run it; so it does with the wide forms in East Asia. An
# apostrophe would stay in the data, and white space is no help: some strip it first. This is neither, it is not
# seen, and `clean` takes it away again.
FORMULA_STARTS = tuple("=+-@＝＋－＠")
NO_FORMULA = "\u200b"


@dataclass(frozen=True)
class Row:
    """One row; `id` is its number as the spreadsheet counted it, `origin` whatever it was added with."""

    id: int
    Q: str
    A: str
    label: str
    problems: list[Problem]
    origin: dict[str, Any] | None

    @property
    def is_bad(self) -> bool:
        """Whether it cannot be used as it is."""
        return any(not problem.is_note for problem in self.problems)


def problem_texts(
    pairs: list[tuple[str, str, str]], too_long: TooLong | None, columns: Columns | None = None
) -> list[str]:
    """What is wrong with each of these pairs alone, as the file holds it: "column:reason column:reason".

    `columns` are those of the table that they come from, whose header may be among them.
    """
    texts = [
        ":repeated_header"
        if columns and columns.is_header(question, answer)
        else " ".join(f"{column}:{reason}" for column, reason in problems_of(question, answer, label))
        for question, answer, label in pairs
    ]
    good = [place for place, text in enumerate(texts) if not text]
    if too_long and good:
        for place, is_long in zip(good, too_long([pairs[place] for place in good]), strict=True):
            if is_long:
                texts[place] = ":too_long"
    return texts


def row_of(
    id: int, Q: str, A: str, label: str, own: str, repeats: int | None, differs: int | None, origin: str | None
) -> Row:
    """A row from its columns in the file."""
    problems = [Problem(id, *one.split(":")) for one in own.split()]
    problems += [Problem(id, "", "duplicate", repeats)] * bool(repeats)
    problems += [Problem(id, "", "other_answer", differs)] * bool(differs)
    return Row(id, Q, A, label, problems, json.loads(origin) if origin else None)


def as_cells(texts: Iterable[str]) -> list[str]:
    """A pair, or other texts, for a CSV, with nothing in it that a spreadsheet would run."""
    return [NO_FORMULA + text if text.startswith(FORMULA_STARTS) else text for text in texts]


def histogram(counts: dict[int, int]) -> list[tuple[int, int, int]]:
    """(shortest, longest, rows) of at most 21 bins, out of how many rows have each length.

    They are of one round width, except that the last one takes the longest percent where it is far out.
    """
    if not counts:
        return []
    left = sum(counts.values()) / 100
    for usual in sorted(counts, reverse=True):  # the longest percent would make all bins too wide
        left -= counts[usual]
        if left < 0:
            break
    width = next(width for width in BIN_WIDTHS if usual < width * MAX_BINS)
    bins: Counter[int] = Counter()
    for length, count in counts.items():
        bins[min(length // width, usual // width + (length > usual))] += count
    ends = {place: (place + 1) * width - 1 for place in range(max(bins) + 1)}
    ends[max(bins)] = max(ends[max(bins)], max(counts))
    return [(place * width, end, bins[place]) for place, end in ends.items()]
