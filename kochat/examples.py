"""The examples of a training: pairs, split and encoded, and the batches of each epoch made of them.

Knows pairs, prompt and batches; no model and no loss.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pandas as pd

from . import pairs
from .batches import Batch, epoch_order, pad, spell, thin
from .config import TrainingConfig
from .errors import DataError
from .pairs import Pair
from .prompt import Example, Prompt

Row = TypeVar("Row")


@dataclass
class Split:
    """The pairs of a training, and which of them it is to learn."""

    table: pd.DataFrame
    training: pd.DataFrame
    validation: pd.DataFrame
    sha256: str  # of the whole table


def read_split(config: TrainingConfig) -> Split:
    """Read the data of a training and split them by question. Raises DataError."""
    table = pairs.read_pairs(config.data, config.rows, columns=config.columns(), bad_rows=config.bad_rows)
    training, validation = pairs.split_by_question(table, config.validation_share, config.seed)
    if training.empty:
        raise DataError("nothing_to_train", rows=len(table), held_out=len(validation))
    return Split(table, training, validation, pairs.fingerprint(table))


def still_known(pairs: Sequence[Pair], split: Split, labels: Collection[str]) -> list[Pair]:
    """Those of a base's pairs that are still true: under one of `labels`, and not answered anew by the training."""
    anew = {(question, label) for question, _, label in _rows(split.training)}
    return [pair for pair in pairs if pair[2] in labels and (pair[0], pair[2]) not in anew]


def still_unseen(validation: Sequence[Pair], split: Split, labels: Collection[str]) -> list[Pair]:
    """Those of a base's validation pairs that stay so: under one of `labels`, their question not trained on."""
    asked = set(split.training["Q"])
    return [pair for pair in validation if pair[2] in labels and pair[0] not in asked]


def to_keep(own: pd.DataFrame, earlier: Sequence[Pair], most: int) -> list[Pair]:
    """At most so many pairs to keep of a training: its own first, then the earlier ones that are not among them."""
    rows = _rows(own)
    kept, known = spread(rows, most), set(rows)
    return kept + spread([pair for pair in earlier if pair not in known], most - len(kept))


def spread(rows: Sequence[Row], most: int) -> list[Row]:
    """At most so many of the rows, evenly from the first to the last."""
    return list(rows) if len(rows) <= most else [rows[i * len(rows) // most] for i in range(most)]


class Examples:
    """Every pair of a split as an example; of the `earlier` pairs those that an epoch goes over again.

    Raises SettingsError where a label leaves no room for an answer.
    """

    def __init__(self, split: Split, prompt: Prompt, config: TrainingConfig, pad_id: int, earlier: Sequence[Pair] = ()):
        self.config, self.prompt, self.pad_id = config, prompt, pad_id
        self.rows = _rows(split.training)
        self.training = [prompt.encode_example(*row) for row in self.rows]
        self.validation = [prompt.encode_example(*row) for row in _rows(split.validation)]
        self.cut = sum(example.cut for example in self.training + self.validation)
        asked = set(split.table["Q"])
        self.earlier = [pair for pair in earlier if pair[0] not in asked]
        self.rehearsed = min(config.rehearsal * len(self.rows), len(self.earlier))

    def batches_an_epoch(self) -> int:
        """How many batches one pass over the training pairs, and what is rehearsed beside them, takes."""
        return -(-(len(self.training) + self.rehearsed) // self.config.batch_size)

    def batches(self, epoch: int) -> list[list[Example]]:
        """The batches of an epoch: the same for the same settings, whatever happened before.

        Some examples go without their label, and questions lose words, as the settings say.
        """
        config, encode = self.config, self.prompt.encode_example
        rehearsed = random.Random(f"{config.seed}/{epoch}/rehearsal").sample(self.earlier, self.rehearsed)
        rows = self.rows + rehearsed
        examples = self.training + [encode(*row) for row in rehearsed]
        order = epoch_order([len(one.input_ids) for one in examples], config.batch_size, config.seed, epoch)
        rng = random.Random(f"{config.seed}/{epoch}/labels")
        drop = [rng.random() < config.label_dropout for _ in rows]
        chosen = [encode(q, a, None) if d else one for one, d, (q, a, _) in zip(examples, drop, rows, strict=True)]
        if config.question_dropout:
            rng = random.Random(f"{config.seed}/{epoch}/questions")
            chosen = [thin(example, config.question_dropout, rng) for example in chosen]
        if config.subword_dropout:
            rng = random.Random(f"{config.seed}/{epoch}/subwords")
            smaller = partial(self.prompt.smaller, rng=rng)
            spelled = [spell(example, config.subword_dropout, rng, smaller) for example in chosen]
            most = self.prompt.max_length
            chosen = [new if len(new.input_ids) <= most else old for new, old in zip(spelled, chosen, strict=True)]
        return [[chosen[i] for i in batch] for batch in order]

    def validation_batches(self) -> list[Batch]:
        """The validation pairs, padded."""
        size = 4 * self.config.batch_size
        by_length = sorted(self.validation, key=lambda e: len(e.input_ids))
        return [pad(by_length[i : i + size], self.pad_id) for i in range(0, len(by_length), size)]


def _rows(table: pd.DataFrame) -> list[Pair]:
    return list(table[["Q", "A", "label"]].itertuples(index=False, name=None))
