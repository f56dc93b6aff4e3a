"""How much to strengthen the label at decoding: measured at several strengths, the default chosen by a rule.

Knows the evaluation and a Chatbot; writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from kochat.errors import ReplyError
from kochat.evaluation.baselines import answer_classifier
from kochat.evaluation.metrics import Progress, Work, check, cost_of_reply, replies, reply_parts, shares
from kochat.inference.chatbot import Chatbot

STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
A_POINT = 0.01  # a rise of less is none
# Nats a character that the replies may be less likely than those without strength. Of kochat-mini's, 1 of 45 everyday
# ones breaks (태도도도도…) where they lose twice that; up to here they read like those without strength.
MAX_NLL_INCREASE = 0.02


@dataclass(frozen=True)
class AtStrength:
    """What `measure` finds at one strength; shares are from 0 to 1, as in Evaluation."""

    strength: float
    recognised: float  # cross-fitted, as is recogniser_accuracy
    label_changes_reply: float
    exact: float
    distinct: float
    likelihood_per_char: float  # of the replies under their label without strength, nats; </s> is one character
    recogniser_accuracy: float  # answers by people whose label the same classifier tells; the same at every strength

    def to_dict(self) -> dict[str, float]:
        """As a card keeps it."""
        return asdict(self)


def measure(bot: Chatbot, table: pd.DataFrame, training: pd.DataFrame) -> Iterator[Progress | AtStrength]:
    """Ask the questions of `table` under every label at each of STRENGTHS; yields Progress and an AtStrength each.

    `training` are the pairs that the classifier of answers learns from. Raises DataError, and ReplyError where
    there are not two labels to tell apart.
    """
    check(bot, table)
    classifier = answer_classifier(training)
    if classifier is None or len(set(classifier.labels) & set(bot.labels)) < 2:
        raise ReplyError("nothing_to_strengthen", name=bot.name)
    rows = list(table[["Q", "A", "label"]].itertuples(index=False, name=None))
    asked = list(dict.fromkeys(question for question, _, _ in rows))
    of_people = float(np.mean(classifier.predict([answer for _, answer, _ in rows]) == table["label"].to_numpy()))
    n = len(asked) * len(bot.labels)
    work = Work(n * sum(1 + cost_of_reply(strength) for strength in STRENGTHS))
    for strength in STRENGTHS:
        said = yield from replies(bot, asked, strength, work)
        triples = [(question, reply, label) for label in bot.labels for question, reply in said[label].items()]
        scores = yield from work.through(bot.scores, triples, 1)
        likelihood = sum(scores) / sum(len(reply) + 1 for _, reply, _ in triples)
        figures = shares(reply_parts(rows, said, classifier=classifier))
        yield AtStrength(strength, **figures, likelihood_per_char=likelihood, recogniser_accuracy=of_people)


def choose(measured: Sequence[AtStrength]) -> float:
    """The default strength: the weakest at which the label is recognised as often as in answers by people.

    Only strengths count whose replies are at most MAX_NLL_INCREASE nats a character less likely, under their label and
    without strength, than the replies at the lowest strength: beyond that they stop making sense. Of these, the
    smallest at which recognition reaches the classifier's accuracy on answers by people: more would be more of the
    label than people put into an answer. Where none does, the one from which on recognition rises by less than
    A_POINT, as strength rises.
    """
    in_order = sorted(measured, key=lambda one: one.strength)
    floor = in_order[0].likelihood_per_char - MAX_NLL_INCREASE
    sensible = [one for one in in_order if one.likelihood_per_char >= floor]
    for one in sensible:
        if one.recognised >= one.recogniser_accuracy:
            return one.strength
    best = max(one.recognised for one in sensible)
    return next(one.strength for one in sensible if one.recognised > best - A_POINT)
