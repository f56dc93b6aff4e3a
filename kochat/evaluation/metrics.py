"""Figures of a checkpoint on pairs that it has not seen, the same for every checkpoint, with intervals and baselines.

Knows a Chatbot and tables of pairs; no training.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from kochat.data.pairs import Pair
from kochat.errors import DataError, ReplyError
from kochat.evaluation.baselines import AnswerClassifier, answer_classifier, baselines
from kochat.evaluation.bootstrap import intervals
from kochat.evaluation.heldout import held_out as held_out
from kochat.inference.chatbot import Chatbot

AT_ONCE = 64
# About how long each takes, next to the likelihood of an answer; a strengthened reply reads two prompts.
REPLY, STRENGTHENED, LABEL, CLASSIFIERS = 1.3, 2.6, 0.5, 1600
# What each pair adds to the two sums whose ratio a figure is.
Parts = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Evaluation:
    """What `measure` finds. Shares are from 0 to 1; what could not be measured is None.

    Those from `verbatim` on need pairs to learn from. `intervals` has the 95 % interval of each figure,
    and is empty where there is but one question.
    """

    questions: int  # pairs that were asked; every figure is over all of them
    strength: float  # of the label, in the replies
    nll_per_char: float  # of the answer under its true label, nats; </s> counts as one character
    perplexity_per_token: float  # of the answer tokens and </s>
    exact: float  # replies under the true label that are the answer word for word
    exact_auto: float  # the same with the label that the model reads itself
    label_accuracy: float  # predicted label is the true one
    label_changes_reply: float  # questions with different replies under different labels
    true_label_gain: float  # nats a character: mean over the other labels minus the true one
    distinct: float  # different replies to all questions under one label, mean over the labels
    verbatim: float | None = None  # replies under every label that are an answer trained on, word for word
    recognised: float | None = None  # replies under every label that a classifier of answers takes for that label
    recogniser_accuracy: float | None = None  # answers by people whose label it tells; cross-fitted, see baselines.py
    nearest_exact: float | None = None  # baselines, see baselines.py
    frequent_exact: float | None = None
    nearest_label_accuracy: float | None = None
    linear_label_accuracy: float | None = None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, float | dict[str, list[float]]]:
        """The figures by name, as JSON holds them; those that could not be measured are left out."""
        figures = {name: value for name, value in asdict(self).items() if value is not None}
        return {**figures, "intervals": {name: list(ends) for name, ends in self.intervals.items()}}


@dataclass(frozen=True)
class Progress:
    """How far a measurement is: `done` of it, from 0 to 1."""

    done: float


class Work:
    """Calls functions on slices of items and tells how far the whole is, `total` being the cost of all items."""

    def __init__(self, total: float):
        self.done, self.total = 0.0, total

    def through(self, function: Callable[[Sequence], list], items: Sequence, cost: float) -> Iterator[Progress]:
        """Yield Progress; return the results of all items."""
        results: list = []
        for start in range(0, len(items), AT_ONCE):
            part = items[start : start + AT_ONCE]
            results += function(part)
            self.done += cost * len(part)
            yield Progress(min(1.0, self.done / self.total))
        return results


def evaluate(
    bot: Chatbot, table: pd.DataFrame, strength: float | None = None, training: pd.DataFrame | None = None
) -> Evaluation:
    """The last thing that `measure` yields."""
    *_, figures = measure(bot, table, training, strength)
    return figures


def measure(
    bot: Chatbot, table: pd.DataFrame, training: pd.DataFrame | None = None, strength: float | None = None
) -> Iterator[Progress | Evaluation]:
    """Measure `bot` on the pairs of `table` (columns Q, A, label); yields Progress, in the end the Evaluation.

    `training` are the pairs that the classifiers of baselines.py learn from, best those that the bot was
    trained on; without them what needs them is left out. Raises ReplyError, DataError.
    """
    check(bot, table)
    strength = bot.card.strength if strength is None else strength
    training = None if training is None or training.empty else training
    rows = list(table[["Q", "A", "label"]].itertuples(index=False, name=None))
    asked = list(dict.fromkeys(question for question, _, _ in rows))
    each = len(bot.labels) * (len(rows) + len(asked) * cost_of_reply(strength)) + LABEL * len(asked)
    work = Work(each + CLASSIFIERS * (training is not None))

    scores = {}
    for label in bot.labels:
        scores[label] = yield from work.through(bot.scores, [(q, a, label) for q, a, _ in rows], 1)
    read = yield from work.through(bot.predict_labels, asked, LABEL)
    read = {question: max(p, key=p.get) for question, p in zip(asked, read, strict=True)}
    said = yield from replies(bot, asked, strength, work)
    classifier = answer_classifier(training)
    parts = likelihood_parts(bot, rows, scores) | reply_parts(rows, said, read, training, classifier)
    if training is not None:
        if classifier:
            right = classifier.predict([answer for _, answer, _ in rows]) == table["label"].to_numpy()
            parts["recogniser_accuracy"] = right, np.ones(len(rows))
        parts |= {name: (one, np.ones(len(rows))) for name, one in baselines(training, table).items()}
    yield _evaluation(rows, strength, parts)


def check(bot: Chatbot, table: pd.DataFrame) -> None:
    """Raise DataError where there is no pair, ReplyError where one has a label that `bot` does not know."""
    if table.empty:
        raise DataError("nothing_to_evaluate")
    unknown = [label for label in table["label"].unique() if label not in bot.labels]
    if unknown:
        raise ReplyError("unknown_label", label=unknown[0], known=", ".join(bot.labels))


def cost_of_reply(strength: float) -> float:
    """How long a reply takes, next to the likelihood of an answer."""
    return STRENGTHENED if strength > 0 else REPLY


def replies(bot: Chatbot, asked: Sequence[str], strength: float, work: Work) -> Iterator[Progress]:
    """Yield Progress; return the reply to each question under each label, by label and question."""
    said, ask = {}, functools.partial(bot.replies, strength=strength)
    for label in bot.labels:
        found = yield from work.through(ask, [(question, label) for question in asked], cost_of_reply(strength))
        said[label] = dict(zip(asked, found, strict=True))
    return said


def likelihood_parts(bot: Chatbot, rows: Sequence[Pair], scores: dict[str, list[float]]) -> Parts:
    """The figures of how likely the true answers are; `scores` are their log-likelihoods under each label."""
    true = np.array([scores[label][i] for i, (_, _, label) in enumerate(rows)])
    all_labels = np.array([scores[label] for label in bot.labels]).sum(axis=0)
    others = (all_labels - true) / max(1, len(bot.labels) - 1)
    characters = np.array([len(answer) + 1 for _, answer, _ in rows])
    tokens = np.array([len(bot.prompt.text_ids(answer)) + 1 for _, answer, _ in rows])
    gain = true - others if len(bot.labels) > 1 else np.zeros(len(rows))
    return {
        "nll_per_char": (-true, characters),
        "perplexity_per_token": (-true, tokens),
        "true_label_gain": (gain, characters),
    }


def reply_parts(
    rows: Sequence[Pair],
    said: dict[str, dict[str, str]],
    read: dict[str, str] | None = None,
    training: pd.DataFrame | None = None,
    classifier: AnswerClassifier | None = None,
) -> Parts:
    """The figures of the replies `said`; `read` is the label that the bot reads in each question."""
    ones, labels = np.ones(len(rows)), list(said)
    exact = np.array([said[label][q] == a for q, a, label in rows])
    differ = np.array([len({said[label][q] for label in labels}) > 1 for q, _, _ in rows])
    parts = {"exact": (exact, ones), "label_changes_reply": (differ, ones), "distinct": _distinct(rows, said)}
    if read is not None:
        parts["exact_auto"] = np.array([said[read[q]][q] == a for q, a, _ in rows]), ones
        parts["label_accuracy"] = np.array([read[q] == label for q, _, label in rows]), ones
    if training is not None:
        parts["verbatim"] = _mean_over_labels(rows, said, labels, functools.partial(_are_among, set(training["A"])))
    known = [label for label in labels if classifier and label in classifier.labels]
    if known:
        parts["recognised"] = _mean_over_labels(
            rows, said, known, lambda texts, label: classifier.predict(texts) == label
        )
    return parts


def _are_among(answers: Collection[str], texts: Sequence[str], label: str) -> list[bool]:
    return [text in answers for text in texts]


def _mean_over_labels(rows: Sequence[Pair], said, labels: Sequence[str], test: Callable):
    shares = [np.asarray(test([said[label][q] for q, _, _ in rows], label), dtype=float) for label in labels]
    return np.mean(shares, axis=0), np.ones(len(rows))


def _distinct(rows: Sequence[Pair], said: dict[str, dict[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """A question weighs 1 / (how many get the same reply), so that the sum is the number of different replies.

    The same question asked twice counts once. So weighed the figure is a mean over questions, which can be
    resampled; counted anew in each resample it would fall, since that holds every question several times.
    """
    counts = {label: Counter(of_label.values()) for label, of_label in said.items()}
    first = ~pd.Series([question for question, _, _ in rows]).duplicated().to_numpy()
    weights = [np.mean([1 / counts[label][said[label][q]] for label in said]) for q, _, _ in rows]
    return first * np.array(weights), first.astype(float)


def shares(parts: Parts) -> dict[str, float]:
    """Each figure: the one sum over the other."""
    return {name: float(np.sum(top) / np.sum(bottom)) for name, (top, bottom) in parts.items()}


def _evaluation(rows: Sequence[Pair], strength: float, parts: Parts) -> Evaluation:
    figures = shares(parts)
    tops, bottoms = (np.column_stack([part[i] for part in parts.values()]).astype(float) for i in (0, 1))
    asked = [question for question, _, _ in rows]
    # One question says nothing of others.
    ends = intervals(tops, bottoms, asked).tolist() if len(set(asked)) > 1 else []
    around = {name: tuple(two) for name, two in zip(parts, ends, strict=False)}
    name = "perplexity_per_token"  # a monotone function of the likelihood of a token
    figures[name] = math.exp(figures[name])
    if around:
        around[name] = tuple(math.exp(end) for end in around[name])
    in_order = {name: around[name] for name in Evaluation.__dataclass_fields__ if name in around}
    return Evaluation(len(rows), strength, **figures, intervals=in_order)
