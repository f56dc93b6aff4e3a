"""How a checkpoint learns what was taught in the chat without forgetting the rest: what of it, and the settings.

Knows a Chatbot and tables of pairs; trains nothing. Each taught pair is learned beside earlier pairs of the checkpoint,
drawn anew in every epoch (rehearsal: Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal").
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, MutableMapping
from typing import TYPE_CHECKING

import pandas as pd

from kochat.config import TrainingConfig
from kochat.data.pairs import COLUMNS, Pair

if TYPE_CHECKING:
    from kochat.inference.chatbot import Chatbot

# Tried with kochat-mini: five taught answers come back word for word after 20 epochs already, while the negative
# log-likelihood on questions never trained on rises by about one percent. With one pair an epoch is a single step.
REHEARSAL = 15  # earlier pairs beside each taught one
REPEATS = 3  # an answer with a word that the model has hardly seen (뜯으셨으면) needs more than one look an epoch
LEARNING_RATE = 6e-4
PAIRS_TO_SEE = 150
MIN_EPOCHS, MAX_EPOCHS = 20, 40
MIN_LESSON = 10  # pairs: beside fewer that are to be learned, the last ones that are known are trained again
MAX_ASKED = 200  # pairs: of more, the oldest count as learned where the checkpoint was trained on them
# A strengthened reply takes two rows of a pass, which has 64: the chat finds room beside these.
ASKED_AT_ONCE = 8

# Whether a checkpoint answers a pair word for word, by pair.
Known = MutableMapping[Pair, bool]


def rows_of(table: pd.DataFrame) -> list[Pair]:
    """The (question, answer, label) of each row."""
    return list(table[COLUMNS].itertuples(index=False, name=None))


def to_ask(table: pd.DataFrame, known: Known) -> list[Pair]:
    """Those of the last MAX_ASKED taught pairs that the checkpoint has not been asked yet."""
    return [pair for pair in rows_of(table)[-MAX_ASKED:] if pair not in known]


def ask(bot: Chatbot, pairs: list[Pair], known: Known) -> Iterator[int]:
    """Ask `bot` each question under its label and note in `known` whether it gives the answer word for word.

    Greedy, at the checkpoint's own strength. Texts are compared as the tokenizer spells them: it may join spaces.
    A label that the checkpoint does not know makes the pair unknown. Yields how many are done, a batch at a time.
    """
    for start in range(0, len(pairs), ASKED_AT_ONCE):
        part = pairs[start : start + ASKED_AT_ONCE]
        askable = [pair for pair in part if pair[2] in bot.labels]
        replies = bot.replies([(question, label) for question, _, label in askable])
        known.update(dict.fromkeys(part, False))
        known.update({pair: reply == _spelled(bot, pair[1]) for pair, reply in zip(askable, replies, strict=True)})
        yield start + len(part)


def _spelled(bot: Chatbot, answer: str) -> str:
    """An answer as a reply would give it."""
    from kochat.inference.engine import MAX_REPLY_TOKENS  # brings torch; the page is there before

    return bot.text_of(bot.prompt.text_ids(answer)[:MAX_REPLY_TOKENS])


def not_learned(table: pd.DataFrame, known: Known, trained_on: Collection[Pair]) -> pd.DataFrame:
    """The taught pairs that a checkpoint answers otherwise, once it was asked.

    Those that it was not asked, and will not be since there are too many, are learned where it was trained on them.
    """
    rows = rows_of(table)
    return table.iloc[[i for i, pair in enumerate(rows) if not known.get(pair, pair in trained_on)]]


def lesson(table: pd.DataFrame, waiting: pd.DataFrame) -> pd.DataFrame:
    """What a training on the taught pairs of `table` learns: those `waiting`, in their order.

    Where these are few, the last of the others are learned again beside them, MIN_LESSON in all. A bot that
    was taught a hundred answers learns five more as quickly as the first five; the hundred are rehearsed.
    """
    others = table.drop(waiting.index).tail(max(0, MIN_LESSON - len(waiting)))
    return pd.concat([waiting, others]).sort_index()


def config_for(data: str, rows: int, base: str, output: str) -> TrainingConfig:
    """The settings to train `base` further on `data`, a file of `rows` taught pairs, until it says them by heart."""
    return TrainingConfig(
        data=data,
        base=base,
        output=output,
        recipe="base",
        epochs=max(MIN_EPOCHS, min(MAX_EPOCHS, PAIRS_TO_SEE // rows)),
        batch_size=32,
        learning_rate=LEARNING_RATE,
        repeats=REPEATS,
        rehearsal=REHEARSAL,
        keep_labels=True,
        label_loss=1.0,  # so that 자동 reads the taught label
        validation_share=0.0,
        keep="last",
    )
