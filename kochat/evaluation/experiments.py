"""Three experiments to learn from, each one or two tiny trainings on the samples: seconds, not minutes.

What the label in the prompt does, whether more labels help, and overfitting. An experiment is a generator: it yields a
Tick for each step and epoch, and in the end what came out. Its checkpoints lie in a temporary folder, which goes when
it ends or is closed. Seeds are fixed; the base and the number of epochs are arguments.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kochat.config import TrainingConfig
from kochat.data import pairs
from kochat.data.pairs import Pair
from kochat.inference.chatbot import Chatbot, load
from kochat.model.gpt2 import quiet
from kochat.training.events import Epoch, Finished, Step, best_epoch
from kochat.training.fine_tuning import fine_tune

Source = str | os.PathLike
# Names that the base has never met: what it does with them, it learns here.
EMOTIONS = {"0": "일상", "1": "이별", "2": "사랑"}
TALK, WORK = "대화", "일터"  # the two labels that the five make
SETTINGS = {
    "batch_size": 12,
    "learning_rate": 1e-3,
    "dropout": 0.0,
    "label_loss": 1.0,
    "label_dropout": 0.0,
    "rehearsal": 0,
    "keep_labels": False,
    "validation_share": 0.0,
    "test_share": 0.0,
    "keep": "last",
    "precision": "float32",
    "save_dtype": "float32",
    "seed": 0,
    "sample_questions": ("안녕",),
}


@dataclass(frozen=True)
class Tick:
    """How far an experiment is: which of its trainings, and what that tells."""

    run: int  # from 1
    runs: int
    done: float  # of all, from 0 to 1
    event: Step | Epoch


@dataclass(frozen=True)
class LabelEffect:
    """What labels did to the replies of one training, to its own questions."""

    questions: list[str]
    labels: list[str]
    replies: list[list[str]]  # of each question, under each label
    right: int  # replies that are the answer of the question under that label
    asked: int  # replies

    @property
    def changed(self) -> int:
        """The questions whose reply is not the same under every label."""
        return sum(len(set(row)) > 1 for row in self.replies)


@dataclass(frozen=True)
class Granularity:
    """How a training with so many labels did."""

    labels: list[str]
    own_right: int  # answers of its own said word for word under their label
    own_asked: int
    label_right: int  # labels read right in questions that it has not learned
    label_asked: int
    label_possible: int  # labels that can be read right: a question under several labels can be read as one only

    @property
    def label_accuracy(self) -> float:
        """The share of the labels that it read right."""
        return self.label_right / self.label_asked


@dataclass(frozen=True)
class Overfit:
    """Losses of each epoch, and own answers against those to new questions."""

    training: list[float]  # nats a token
    validation: list[float]
    own_right: int
    own_asked: int
    new_right: int
    new_asked: int

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest validation loss, from 1."""
        return best_epoch([{"epoch": i, "validation_loss": loss} for i, loss in enumerate(self.validation, 1)])


def label_in_prompt(base: Source, epochs: int = 12, questions: int = 6) -> Iterator[Tick | tuple[LabelEffect, ...]]:
    """Train on the same pairs with their labels in the prompt and without, as the notebook does.

    Yields Ticks, then what the labels do to the replies of both. Raises as `fine_tune`.
    """
    rows, found = _emotions(questions), []
    for run, dropout in enumerate((0.0, 1.0), 1):
        with _TinyTraining(rows, base, epochs=epochs, label_dropout=dropout, label_loss=0.0) as training:
            yield from training.ticks(run, 2)
            found.append(label_effect(load(training.output), rows))
    yield tuple(found)


def label_effect(bot: Chatbot, rows: Sequence[Pair]) -> LabelEffect:
    """Ask every question of `rows` under every label of theirs."""
    questions, labels = (list(dict.fromkeys(row[i] for row in rows)) for i in (0, 2))
    answers = {(question, label): answer for question, answer, label in rows}
    asked = [(question, label) for question in questions for label in labels]
    said = dict(zip(asked, bot.replies(asked, strength=0), strict=True))
    right = sum(said[key] == answer for key, answer in answers.items())
    return LabelEffect(questions, labels, [[said[q, label] for label in labels] for q in questions], right, len(asked))


def more_labels(base: Source, epochs: int = 10, questions: int = 5) -> Iterator[Tick | tuple[Granularity, ...]]:
    """Train on the same pairs of both samples under two labels and under five.

    Yields Ticks, then how both did on their own answers, and on the labels of as many questions again. Raises as
    `fine_tune`.
    """
    emotions, jobs = _emotions(2 * questions), _rows("jobs", 2 * questions)
    learned = emotions[: len(emotions) // 2] + jobs[: len(jobs) // 2]
    new = emotions[len(emotions) // 2 :] + jobs[len(jobs) // 2 :]
    found = []
    for run, (own, unseen) in enumerate(((_merged(learned), _merged(new)), (learned, new)), 1):
        with _TinyTraining(own, base, epochs=epochs) as training:
            yield from training.ticks(run, 2)
            found.append(granularity(load(training.output), own, unseen))
    yield tuple(found)


def _merged(rows: Sequence[Pair]) -> list[Pair]:
    """The same pairs under one label for the emotions and one for the jobs."""
    return [(question, answer, TALK if label in EMOTIONS.values() else WORK) for question, answer, label in rows]


def granularity(bot: Chatbot, own: Sequence[Pair], unseen: Sequence[Pair]) -> Granularity:
    """How many of its own answers a bot says, and how many labels it reads right in questions it has not learned."""
    said = bot.replies([(question, label) for question, _, label in own], strength=0)
    right = sum(reply == answer for reply, (_, answer, _) in zip(said, own, strict=True))
    read = bot.predict_labels([question for question, _, _ in unseen])
    labels_right = sum(max(p, key=p.get) == label for p, (_, _, label) in zip(read, unseen, strict=True))
    by_label = Counter((question, label) for question, _, label in unseen)
    possible = sum(max(n for (q, _), n in by_label.items() if q == asked) for asked in {q for q, _ in by_label})
    return Granularity(bot.labels, right, len(own), labels_right, len(unseen), possible)


def overfitting(base: Source, epochs: int = 12, questions: int = 10) -> Iterator[Tick | Overfit]:
    """Train a few pairs for many epochs, a third of the questions kept for validation.

    Yields Ticks, then the losses and what became of own and of new questions. Raises as `fine_tune`.
    """
    rows, losses, own = _emotions(questions), [], None
    with _TinyTraining(rows, base, epochs=epochs, validation_share=1 / 3, learning_rate=2e-3) as training:
        for tick in training.ticks(1, 1):
            if isinstance(tick.event, Epoch):
                losses.append((tick.event.loss, tick.event.validation_loss))
            yield tick
        bot, own = load(training.output), training.finished
    withheld = set(bot.card.data["withheld"]["validation"])
    new = [row for row in rows if row[0] in withheld]
    said = bot.replies([(question, label) for question, _, label in new], strength=0)
    right = sum(reply == answer for reply, (_, answer, _) in zip(said, new, strict=True))
    yield Overfit(*map(list, zip(*losses, strict=True)), own.own_right, own.own_asked, right, len(new))


class _TinyTraining:
    """A tiny training in a temporary folder."""

    def __init__(self, rows: Sequence[Pair], base: Source, **settings):
        self.rows, self.base, self.settings = rows, base, SETTINGS | settings

    def __enter__(self) -> _TinyTraining:
        self._folder = tempfile.TemporaryDirectory(prefix="kochat-")
        self.output = Path(self._folder.name) / "tiny"
        return self

    def __exit__(self, *error) -> None:
        self._folder.cleanup()

    def ticks(self, run: int, runs: int) -> Iterator[Tick]:
        """Train; its end is in `finished`."""
        quiet()
        data = Path(self._folder.name) / "pairs.csv"
        data.write_bytes(pairs.as_csv(pd.DataFrame(self.rows, columns=pairs.COLUMNS)))
        config = TrainingConfig(data=str(data), base=str(self.base), output=str(self.output), **self.settings)
        for event in fine_tune(config):
            if isinstance(event, Step | Epoch):
                share = event.step / event.steps if isinstance(event, Step) else event.epoch / event.epochs
                yield Tick(run, runs, (run - 1 + share) / runs, event)
            elif isinstance(event, Finished):
                self.finished = event


def _emotions(questions: int) -> list[Pair]:
    """The pairs of the first questions of the sample, under names of their labels that the base has not met."""
    return [(question, answer, EMOTIONS[label]) for question, answer, label in _rows("emotions", questions)]


def _rows(sample: str, questions: int) -> list[Pair]:
    """The pairs of the first questions of a sample."""
    table = pairs.read_pairs(sample)
    first = table[table["Q"].isin(table["Q"].unique()[:questions])]
    return list(first[pairs.COLUMNS].itertuples(index=False, name=None))
