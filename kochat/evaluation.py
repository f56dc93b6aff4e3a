"""Figures of a checkpoint on pairs that it has not seen, the same for every checkpoint.

Knows a Chatbot and a table of pairs; no training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from . import pairs
from .cards import Card
from .chatbot import Chatbot
from .config import COLUMN_SETTINGS
from .errors import DataError, ReplyError

REPLIES_AT_ONCE = 64


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measures. Shares are from 0 to 1."""

    questions: int
    nll_per_char: float  # of the answer under its true label, nats; </s> counts as one character
    perplexity_per_token: float  # of the answer tokens and </s>
    exact: float  # replies under the true label that are the answer word for word
    exact_auto: float  # the same with the label that the model reads itself
    label_accuracy: float  # predicted label is the true one
    label_changes_reply: float  # questions with different replies under different labels
    true_label_gain: float  # nats a character: mean over the other labels minus the true one

    def to_dict(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


def evaluate(bot: Chatbot, table: pd.DataFrame, strength: float | None = None) -> Evaluation:
    """Measure `bot` on the pairs of `table` (columns Q, A, label). Raises ReplyError, DataError."""
    if table.empty:
        raise DataError("nothing_to_evaluate")
    unknown = [label for label in table["label"].unique() if label not in bot.labels]
    if unknown:
        raise ReplyError("unknown_label", label=unknown[0], known=", ".join(bot.labels))
    rows = list(table[["Q", "A", "label"]].itertuples(index=False, name=None))
    n = len(rows)
    scores = {label: bot.scores([(q, a, label) for q, a, _ in rows]) for label in bot.labels}
    true = [scores[label][i] for i, (_, _, label) in enumerate(rows)]
    others = [
        sum(scores[other][i] for other in bot.labels if other != label) / max(1, len(bot.labels) - 1)
        for i, (_, _, label) in enumerate(rows)
    ]
    characters = sum(len(a) + 1 for _, a, _ in rows)
    tokens = sum(len(bot.prompt.text_ids(a)) + 1 for _, a, _ in rows)
    said = {label: _replies(bot, [(q, label) for q, _, _ in rows], strength) for label in bot.labels}
    read = [max(p, key=p.get) for p in _in_slices(bot.predict_labels, [q for q, _, _ in rows])]
    return Evaluation(
        questions=n,
        nll_per_char=-sum(true) / characters,
        perplexity_per_token=math.exp(-sum(true) / tokens),
        exact=sum(said[label][i] == a for i, (_, a, label) in enumerate(rows)) / n,
        exact_auto=sum(said[read[i]][i] == a for i, (_, a, _) in enumerate(rows)) / n,
        label_accuracy=sum(guess == label for guess, (_, _, label) in zip(read, rows, strict=True)) / n,
        label_changes_reply=sum(len({said[label][i] for label in bot.labels}) > 1 for i in range(n)) / n,
        true_label_gain=(sum(true) - sum(others)) / characters if len(bot.labels) > 1 else 0.0,
    )


def held_out(card: Card, source: str) -> pd.DataFrame:
    """The pairs that this checkpoint's own training kept out, drawn from its data again.

    Its base may have seen them, where it was trained on the same data. Raises DataError where `source`
    does not hold the pairs it was trained with.
    """
    chosen = {"rows": card.config.get("rows"), "bad_rows": card.config.get("bad_rows", "refuse")}
    columns = {column: card.config.get(name) for column, name in COLUMN_SETTINGS.items()}
    table = pairs.read_pairs(source, columns=columns, **chosen)
    if pairs.fingerprint(table) != card.data.get("sha256"):
        raise DataError("other_data", name=source)
    return pairs.split_by_question(table, card.config["validation_share"], card.config["seed"])[1]


def _replies(bot: Chatbot, asked: Sequence[tuple[str, str]], strength: float | None) -> list[str]:
    return _in_slices(lambda part: bot.replies(part, strength), asked)


def _in_slices(function, items: Sequence) -> list:
    starts = range(0, len(items), REPLIES_AT_ONCE)
    return [result for start in starts for result in function(items[start : start + REPLIES_AT_ONCE])]
