"""Training, validation and test: pairs are divided by question, always the same way.

Knows tables of pairs and near-duplicates; no file and no model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from kochat.data.near_duplicates import groups
from kochat.errors import DataError

SPLIT_VERSION = 2  # in a card; 1, that of cards without one, is `split_in_two`
MIN_PAIRS_TO_WITHHOLD = 400  # of fewer, all are learned unless asked otherwise: their owner wants the answers learned
WITHHELD_SHARE = 0.05
MAX_WITHHELD_NAMED = 200  # questions of each part, in a run's journal and a card
TRAINING, VALIDATION, TEST = range(3)


@dataclass(frozen=True)
class Parts:
    """The pairs of a table, divided by question."""

    training: pd.DataFrame
    validation: pd.DataFrame  # to choose by: epoch, temperature, strength, threshold, checkpoint
    test: pd.DataFrame  # to report, once everything is chosen
    num_near_duplicates: int = 0  # questions that would be withheld but for a near-duplicate in another part


def withheld_shares(validation_share: float | None, test_share: float | None, num_pairs: int) -> tuple[float, float]:
    """The shares of questions for validation and test; None is WITHHELD_SHARE from MIN_PAIRS_TO_WITHHOLD pairs on.

    Below that it is 0. Where no question is to be kept for validation, a test share of None is 0 too.
    """
    share = WITHHELD_SHARE if num_pairs >= MIN_PAIRS_TO_WITHHOLD else 0.0
    if test_share is None:
        test_share = 0.0 if validation_share == 0 else share
    return share if validation_share is None else validation_share, test_share


def split_by_question(table: pd.DataFrame, validation_share: float, test_share: float, seed: int) -> Parts:
    """The parts of a table of pairs (column Q); no question, and no near-duplicate of one, is in two of them.

    Each question is drawn by a hash of itself and `seed`, so about these shares of the distinct questions are
    withheld; where none is, that with the lowest draw is for validation. Near-duplicates all go into the most trained
    part that one of them is drawn for: training before validation before test. So a question never leaves training
    when rows are added to at least two questions: a checkpoint trained further on more of the same data has not seen
    its withheld questions.
    """
    questions = table["Q"].unique()
    if not (validation_share or test_share):
        return Parts(table, table[:0], table[:0])
    drawn = _drawn(questions, validation_share, test_share, seed)
    group_of, part_of_group = groups(questions), {}
    for question, part in drawn.items():
        group = group_of[question]
        part_of_group[group] = min(part, part_of_group.get(group, TEST))
    parts = {question: part_of_group[group_of[question]] for question in questions}
    of_row = table["Q"].map(parts)
    moved = sum(parts[question] != drawn[question] for question in questions)
    return Parts(*(table[of_row == part] for part in (TRAINING, VALIDATION, TEST)), moved)


def _drawn(questions: Collection[str], validation_share: float, test_share: float, seed: int) -> dict[str, int]:
    """The part that each question is drawn for, whatever the others are."""
    draws = {question: draw(question, seed) for question in questions}
    withheld = validation_share + test_share
    parts = {q: VALIDATION if d < validation_share else TEST if d < withheld else TRAINING for q, d in draws.items()}
    if validation_share and len(draws) > 1 and min(draws.values()) >= withheld:
        parts[min(draws, key=draws.get)] = VALIDATION
    return parts


def split_in_two(table: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and validation pairs as they were split before cards had a split version: no test part.

    Questions are drawn as in `split_by_question`; near-duplicates were not looked for.
    """
    draws = {question: draw(question, seed) for question in table["Q"].unique()}
    held_out = {question for question, drawn in draws.items() if drawn < share}
    if share and not held_out and len(draws) > 1:
        held_out = {min(draws, key=draws.get)}
    is_validation = table["Q"].isin(held_out)
    return table[~is_validation], table[is_validation]


def draw(question: str, seed: int) -> float:
    """A number from 0 to 1 that looks random and is always the same."""
    digest = hashlib.sha256(f"{seed}/{question}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def divide(table: pd.DataFrame, version: int, validation_share: float, test_share: float, seed: int) -> Parts:
    """The parts of a table as a split version has them. Raises DataError for one of a later kochat."""
    if version == SPLIT_VERSION:
        return split_by_question(table, validation_share, test_share, seed)
    if version != 1:
        raise DataError("unknown_split", version=version)
    training, validation = split_in_two(table, validation_share, seed)
    return Parts(training, validation, table[:0])
