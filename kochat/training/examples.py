"""The examples of a training: pairs, split and encoded, and the batches of each epoch made of them.

Knows pairs, prompt and batches; no model and no loss.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import pandas as pd

from kochat.config import TrainingConfig
from kochat.data import pairs
from kochat.data.near_duplicates import canonical
from kochat.data.pairs import Pair
from kochat.data.splits import MAX_WITHHELD_NAMED, SPLIT_VERSION, divide, withheld_shares
from kochat.errors import DataError
from kochat.model.batches import Batch, epoch_order, pad, spell, thin
from kochat.model.prompt import Example, Prompt

Row = TypeVar("Row")


@dataclass
class Split:
    """The pairs of a training, and which of them it is to learn."""

    table: pd.DataFrame
    training: pd.DataFrame
    validation: pd.DataFrame
    sha256: str  # of the whole table
    test: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=pairs.COLUMNS))
    num_near_duplicates: int = 0
    version: int = SPLIT_VERSION  # of the split, see splits.py
    validation_share: float = 0.0
    test_share: float = 0.0

    def facts(self, earlier: Sequence[Pair]) -> dict[str, Any]:
        """What a card keeps of the split: its version, the pairs of each part, which questions were withheld.

        As there may be more of these than it names, `withheld_sha256` tells whether those of another are the same.

        `earlier` are the kept pairs of the base: of the test questions, those are counted that are, but for spaces
        and marks, among theirs.
        """
        known = {canonical(question) for question, _, _ in earlier}
        return {
            "split": self.version,
            "parts": {"training": len(self.training), "validation": len(self.validation), "test": len(self.test)},
            "near_duplicates": self.num_near_duplicates,
            "withheld": {"validation": _named(self.validation), "test": _named(self.test)},
            "withheld_sha256": _digest(self.validation, self.test),
            "test_known_to_base": sum(canonical(question) in known for question in self.test["Q"].unique()),
        }


def _named(part: pd.DataFrame) -> list[str]:
    return list(part["Q"].unique()[:MAX_WITHHELD_NAMED])


def _digest(*parts: pd.DataFrame) -> str:
    """sha256 of the questions of each part, the same in whatever order."""
    return hashlib.sha256(json.dumps([sorted(part["Q"].unique()) for part in parts]).encode()).hexdigest()


def read_split(config: TrainingConfig, version: int = SPLIT_VERSION) -> Split:
    """Read the data of a training and split them by question. Raises DataError."""
    table = pairs.read_pairs(config.data, **config.reading())
    validation_share, test_share = withheld_shares(config.validation_share, config.test_share, len(table))
    shares = validation_share, 0.0 if version == 1 else test_share
    parts = divide(table, version, *shares, config.seed)
    if parts.training.empty:
        raise DataError("nothing_to_train", rows=len(table), held_out=len(table))
    sha256, moved = pairs.fingerprint(table), parts.num_near_duplicates
    return Split(table, parts.training, parts.validation, sha256, parts.test, moved, version, *shares)


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

    Half of these are drawn from the first `num_newest` earlier ones: 39 pairs of a shop among 10,000 would hardly
    ever be gone over again, and five taught ones would overwrite them. Raises SettingsError where a label leaves no
    room for an answer.
    """

    def __init__(
        self,
        split: Split,
        prompt: Prompt,
        config: TrainingConfig,
        pad_id: int,
        earlier: Sequence[Pair] = (),
        num_newest: int = 0,
    ):
        self.config, self.prompt, self.pad_id = config, prompt, pad_id
        self.rows = _rows(split.training)
        self.training = [prompt.encode_example(*row) for row in self.rows]
        self.validation = [prompt.encode_example(*row) for row in _rows(split.validation)]
        self.cut = sum(example.cut for example in self.training + self.validation)
        asked = set(split.table["Q"])
        self.newest = [pair for pair in earlier[:num_newest] if pair[0] not in asked]
        self.oldest = [pair for pair in earlier[num_newest:] if pair[0] not in asked]
        self.rehearsed = min((config.rehearsal or 0) * len(self.rows), len(self.newest) + len(self.oldest))

    def batches_an_epoch(self) -> int:
        """How many batches one pass over the training pairs, and what is rehearsed beside them, takes."""
        return -(-(len(self.training) * self.config.repeats + self.rehearsed) // self._pairs_a_step)

    def batches(self, epoch: int) -> list[list[Example]]:
        """The batches of an epoch: the same for the same settings, whatever happened before.

        Some examples go without their label, and questions lose words, as the settings say.
        """
        config, encode = self.config, self.prompt.encode_example
        rehearsed = self._rehearsed(random.Random(f"{config.seed}/{epoch}/rehearsal"))
        new = self.rows * config.repeats
        rows = new + rehearsed
        is_old = [False] * len(new) + [True] * len(rehearsed)
        examples = self.training * config.repeats + [encode(*row) for row in rehearsed]
        order = epoch_order([len(one.input_ids) for one in examples], self._pairs_a_step, config.seed, epoch)
        rng = random.Random(f"{config.seed}/{epoch}/labels")
        drop = [rng.random() < config.label_dropout for _ in rows]
        chosen = [encode(q, a, None) if d else one for one, d, (q, a, _) in zip(examples, drop, rows, strict=True)]
        chosen = [replace(one, rehearsed=old) for one, old in zip(chosen, is_old, strict=True)]
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

    @property
    def _pairs_a_step(self) -> int:
        return self.config.batch_size * self.config.gradient_accumulation_steps

    def _rehearsed(self, rng: random.Random) -> list[Pair]:
        """The earlier pairs of an epoch: half of them the newest, more of one kind where the other has too few."""
        num_newest = min(len(self.newest), max(self.rehearsed // 2, self.rehearsed - len(self.oldest)))
        return rng.sample(self.newest, num_newest) + rng.sample(self.oldest, self.rehearsed - num_newest)

    def validation_batches(self) -> list[Batch]:
        """The validation pairs, padded."""
        size = 4 * self.config.batch_size
        by_length = sorted(self.validation, key=lambda e: len(e.input_ids))
        return [pad(by_length[i : i + size], self.pad_id) for i in range(0, len(by_length), size)]


def _rows(table: pd.DataFrame) -> list[Pair]:
    return list(table[["Q", "A", "label"]].itertuples(index=False, name=None))
