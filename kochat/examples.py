"""The examples of a training: pairs, split and encoded, and the batches of each epoch made of them.

Knows pairs, prompt and batches; no model and no loss.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pandas as pd

from . import pairs
from .batches import Batch, epoch_order, pad, thin
from .config import TrainingConfig
from .errors import DataError
from .prompt import Example, Prompt


@dataclass
class Split:
    """The pairs of a training, and which of them it is to learn."""

    table: pd.DataFrame
    training: pd.DataFrame
    validation: pd.DataFrame
    sha256: str  # of the whole table


def read_split(config: TrainingConfig) -> Split:
    """Read the data of a training and split them by question. Raises DataError."""
    table = pairs.read_pairs(config.data, rows=config.rows)
    training, validation = pairs.split_by_question(table, config.validation_share, config.seed)
    if training.empty:
        raise DataError("nothing_to_train", rows=len(table), held_out=len(validation))
    return Split(table, training, validation, pairs.fingerprint(table))


class Examples:
    """Every pair of a split as an example. Raises SettingsError where a label leaves no room for an answer."""

    def __init__(self, split: Split, prompt: Prompt, config: TrainingConfig, pad_id: int):
        self.config, self.pad_id = config, pad_id
        rows = _rows(split.training)
        self.training = [prompt.encode_example(*row) for row in rows]
        self.unlabelled = [prompt.encode_example(q, a, None) for q, a, _ in rows]
        self.validation = [prompt.encode_example(*row) for row in _rows(split.validation)]
        self.cut = sum(example.cut for example in self.training + self.validation)
        self.lengths = [len(example.input_ids) for example in self.training]

    def batches_an_epoch(self) -> int:
        """How many batches one pass over the training pairs takes."""
        return -(-len(self.training) // self.config.batch_size)

    def batches(self, epoch: int) -> list[list[Example]]:
        """The batches of an epoch: the same for the same settings, whatever happened before.

        Some examples go without their label, and questions lose words, as the settings say.
        """
        config = self.config
        rng = random.Random(f"{config.seed}/{epoch}/labels")
        drop = [rng.random() < config.label_dropout for _ in self.training]
        chosen = [(u if d else e) for e, u, d in zip(self.training, self.unlabelled, drop, strict=True)]
        if config.question_dropout:
            rng = random.Random(f"{config.seed}/{epoch}/questions")
            chosen = [thin(example, config.question_dropout, rng) for example in chosen]
        order = epoch_order(self.lengths, config.batch_size, config.seed, epoch)
        return [[chosen[i] for i in batch] for batch in order]

    def validation_batches(self) -> list[Batch]:
        """The validation pairs, padded."""
        size = 4 * self.config.batch_size
        by_length = sorted(self.validation, key=lambda e: len(e.input_ids))
        return [pad(by_length[i : i + size], self.pad_id) for i in range(0, len(by_length), size)]


def _rows(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    return list(table[["Q", "A", "label"]].itertuples(index=False, name=None))
