"""The same questions to several checkpoints, under several labels and strengths, in one table.

Knows cards, Chatbots and files of questions; no page.
"""

from __future__ import annotations

import csv
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

from kochat.data.checks import clean
from kochat.data.encodings import storable
from kochat.data.pairs import find_question
from kochat.data.rows import as_cells
from kochat.data.tables import open_table
from kochat.errors import DataError, SettingsError
from kochat.labels import AUTO
from kochat.model.cards import Card

if TYPE_CHECKING:
    from kochat.inference.chatbot import Chatbot

MAX_QUESTION_LENGTH = 10_000  # characters; of a longer one the end counts, as in the chat
# With a strength each takes two rows of a pass, and two comparisons at once leave half of it to whoever chats.
REPLIES_AT_ONCE = 8
NO_REPLY = "–"


@dataclass
class Column:
    """A checkpoint, a label (or "auto") and a strength, with the replies so far and the seconds that they took.

    `possible` is False where the checkpoint lacks the label, or learned nothing that a strength could strengthen;
    it has no replies then. `labels` are those that the replies were given under.
    """

    checkpoint: str
    label: str
    strength: float
    possible: bool
    replies: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ms(self) -> float:
        """Milliseconds a reply; 0 before the first."""
        return 1000 * self.seconds / len(self.replies) if self.replies else 0.0


@dataclass(frozen=True)
class Words:
    """What the CSV of a comparison says besides questions and replies."""

    question: str = "Q"
    label: str = "label"
    strength: str = "strength {strength}"
    seconds: str = "{n} s"
    name_of: Callable[[str, str], str] = lambda checkpoint, label: label  # of a checkpoint's label


@dataclass
class Comparison:
    """The table: a row a question, a column a way to reply."""

    questions: list[str]
    columns: list[Column]

    @property
    def done(self) -> float:
        """The share of the replies that are there, from 0 to 1."""
        asked = len(self.questions) * sum(column.possible for column in self.columns)
        return sum(len(column.replies) for column in self.columns) / asked if asked else 1.0

    def replies(self, row: int) -> list[str | None]:
        """The replies to a question, a column each; None where there is none, or none yet."""
        return [column.replies[row] if row < len(column.replies) else None for column in self.columns]

    def differs(self, row: int) -> list[bool]:
        """Of each column whether its reply to a question is another than that of the first column with one."""
        replies = self.replies(row)
        first = next((one for one in replies if one is not None), None)
        return [one is not None and one != first for one in replies]

    def write_csv(self, path: Path, words: Words | None = None) -> None:
        """The table as a CSV that Excel reads as it is: with a BOM, and nothing in it that would be run.

        Columns: the questions, for each column its replies (and under "auto" the labels that were read), and in the
        last one ≠ where not all replies are the same. `words` are those of a language, by default English.
        """
        words = words or Words()
        head = [words.question, *(name for column in self.columns for name in _head(column, words)), "≠"]
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(as_cells(head))
            for row, question in enumerate(self.questions):
                cells = [cell for column in self.columns for cell in _cells(column, row, words)]
                line = [question, *cells, "≠" if any(self.differs(row)) else ""]
                writer.writerow(as_cells(map(storable, line)))


def plan(
    questions: Sequence[str], cards: Mapping[str, Card], labels: Iterable[str], strengths: Iterable[float | None]
) -> Comparison:
    """A table without replies: a column for each checkpoint of `cards`, label and strength.

    A strength of None is the checkpoint's own. Raises DataError without a question, SettingsError without a column.
    """
    if not questions:
        raise DataError("no_questions")
    columns = {}
    for name, label, strength in itertools.product(cards, dict.fromkeys(labels), dict.fromkeys(strengths)):
        card = cards[name]
        used = card.strength if strength is None else strength
        can = used in (0, card.strength) or card.can_strengthen
        columns.setdefault((name, label, used), Column(name, label, used, label in (AUTO, *card.labels) and can))
    if not columns:
        raise SettingsError("no_columns")
    return Comparison(list(questions), list(columns.values()))


def compare(comparison: Comparison, load: Callable[[str], Chatbot]) -> Iterator[Comparison]:
    """Fill the table; yields it after every few replies. Each checkpoint is loaded once, by its name.

    Raises what `load` and `Chatbot.replies` raise.
    """
    possible = (column for column in comparison.columns if column.possible)
    for name, columns in itertools.groupby(possible, key=lambda column: column.checkpoint):
        bot = load(name)
        bot.reply(comparison.questions[0])  # the first one after loading is slower, and would cost one column more
        for column in columns:
            for start in range(0, len(comparison.questions), REPLIES_AT_ONCE):
                _ask(bot, column, comparison.questions[start : start + REPLIES_AT_ONCE])
                yield comparison


def _ask(bot: Chatbot, column: Column, questions: list[str]) -> None:
    began = time.perf_counter()
    labels = [column.label] * len(questions)
    if column.label == AUTO:
        labels = [max(read, key=read.get) for read in bot.predict_labels(questions)]
    replies = bot.replies(list(zip(questions, labels, strict=True)), column.strength)
    column.seconds += time.perf_counter() - began
    column.labels += labels
    column.replies += replies


def questions_of(lines: Iterable[str]) -> list[str]:
    """The questions among some texts: each in one line, without outer white space; blank ones are none."""
    cleaned = (clean(" ".join(storable(line).splitlines())) for line in lines)
    return [question[-MAX_QUESTION_LENGTH:] for question in cleaned if question]


def read_questions(path: str | os.PathLike, most: int | None = None) -> list[str]:
    """The first `most` questions of a file: those of its question column, or of its only column.

    Where an only column has no name that means a question, its first row is a question too. Raises DataError.
    """
    table = open_table(path)
    column, questions = find_question(table.columns), []
    if column is None:
        if len(table.columns) > 1:
            raise DataError("no_column", missing="Q", found=", ".join(name[:40] for name in table.columns[:12]))
        [column] = table.columns
        questions = questions_of([column])
    for chunk in table.chunks():
        questions += questions_of(chunk.frame[column])
        if most is not None and len(questions) >= most:
            break
    return questions[:most]


def differing_words(reference: str, text: str) -> list[tuple[str, bool]]:
    """`text` in pieces, and of each whether its words differ from those of `reference`; joined by spaces it is `text`.

    Words are told apart by spaces; which ones stay is what difflib's SequenceMatcher finds.
    """
    before, after = reference.split(" "), text.split(" ")
    found = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return [(" ".join(after[start:end]), kind != "equal") for kind, _, _, start, end in found if end > start]


def _head(column: Column, words: Words) -> list[str]:
    strength = " · " + words.strength.format(strength=f"{column.strength:g}") if column.strength else ""
    name = f"{column.checkpoint} · {words.name_of(column.checkpoint, column.label)}{strength}"
    timed = f"{name} · {words.seconds.format(n=f'{column.seconds:.2f}')}" if column.replies else name
    return [timed, f"{name} · {words.label}"] if column.label == AUTO else [timed]


def _cells(column: Column, row: int, words: Words) -> list[str]:
    there = row < len(column.replies)
    reply = column.replies[row] if there else NO_REPLY if not column.possible else ""
    read = words.name_of(column.checkpoint, column.labels[row]) if there else ""
    return [reply, read] if column.label == AUTO else [reply]
