"""Step 2: which positions of a pair count, and what the notebook's -1e18 does to the loss and to what is learned."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import gradio as gr

from kochat.config import DEFAULT_CHECKPOINT
from kochat.model import checkpoint
from kochat.model.prompt import Part
from kochat.ui.learn.frame import (
    BOT,
    MAX_QUESTION_LENGTH,
    Step,
    outcome,
    paragraph,
    step,
    table_html,
    verdict_html,
    why_html,
)
from kochat.ui.models import bot
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, glossary_html, shown

if TYPE_CHECKING:
    from kochat.evaluation.notebook_loss import TwoLosses
    from kochat.inference.chatbot import ExaminedToken

NUMBER = 2
PAIR = "오늘 뭐 먹지?", "따뜻한 국밥은 어때요?"
LABEL = "0"
GLOSSARY = ("loss", "logit", "nats", "cosine")
OPTIONS = {
    "less": "k_learn_2_less",
    "same": "k_learn_2_same",
    "some": "k_learn_2_some",
    "many": "k_learn_2_many",
}


def actual(ratio: float) -> str:
    """Which prediction was right, the notebook's loss being so many times ours."""
    return "less" if ratio < 0.8 else "same" if ratio < 1.25 else "some" if ratio < 3 else "many"


@functools.cache
def _base() -> checkpoint.Checkpoint:
    from kochat.model.gpt2 import quiet  # torch takes seconds; the page is there before

    quiet()
    return checkpoint.load(DEFAULT_CHECKPOINT, as_base=True)


def losses_of(question: str, answer: str) -> tuple[list[ExaminedToken], TwoLosses]:
    """The tokens of a pair, and both losses. Raises ReplyError, DataError."""
    from kochat.evaluation import notebook_loss

    tokens = bot(BOT).examine(question, answer, LABEL)
    return tokens, notebook_loss.compare(_base(), question, answer, LABEL)


def losses_html(language: str, tokens: list[ExaminedToken], found: TwoLosses, predicted: str | None) -> str:
    """The pair with what counts in it, the two losses, where they differ, and that they teach the same."""
    pieces = " ".join(
        f'<span class="piece answer">{shown(one.text)}</span>'
        if one.learned_as == Part.ANSWER
        else f'<span class="piece">{shown(one.text)}</span>'
        for one in tokens
        if one.kept
    )
    numbers = {"answer": f"{found.answer:.2f}", "tokens": found.answer_tokens, "counted": found.counted}
    masked = {"masked": found.masked, "each": f"{found.a_masked:.2f}", "pad": f"{found.pad_target:.2f}"}
    rows = [
        (say(language, "k_learn_2_ours"), say(language, "k_learn_2_ours_sum", **numbers), f"{found.ours:.2f}"),
        (
            say(language, "k_learn_2_notebook"),
            say(language, "k_learn_2_notebook_sum", **numbers, **masked),
            f"{found.notebook:.2f}",
        ),
    ]
    heads = [say(language, key) for key in ("k_loss", "k_learn_2_sum", "k_learn_2_nats")]
    constant = found.masked * found.a_masked
    told = [
        say(language, "k_learn_2_constant", constant=f"{constant:.1f}", **masked),
        say(language, "k_learn_2_gradient", gradient=f"{found.masked_gradient:g}"),
        say(language, "k_learn_2_cosine", cosine=f"{found.cosine:.3f}", with_pad=f"{found.cosine_with_pad:.3f}"),
    ]
    return (
        f'<p class="tokens">{pieces}</p>'
        + paragraph(say(language, "k_learn_2_pieces", tokens=found.answer_tokens), "quiet")
        + table_html(heads, rows)
        + "".join(map(paragraph, told))
        + verdict_html(language, OPTIONS, predicted, actual(found.notebook / found.ours))
        + why_html(language, NUMBER)
        + glossary_html(language, GLOSSARY)
    )


@shows_errors
def press(question: str, answer: str, predicted: str | None, request: gr.Request):
    """Compute both losses."""
    return losses_html(language_of(request), *losses_of(question, answer), predicted), True


def build() -> Step:
    """The components and events of the step."""
    with step(NUMBER, OPTIONS) as made:
        with gr.Row():
            question, answer = (
                gr.Textbox(
                    text, label=t(key), max_length=MAX_QUESTION_LENGTH, max_lines=1, min_width=200, elem_id=elem_id
                )
                for text, key, elem_id in zip(
                    PAIR, ("k_question", "k_answer"), ("learn-2-question", "learn-2-answer"), strict=True
                )
            )
        act = made.button("k_learn_2_act")
        told = outcome()
    act.click(press, [question, answer, made.prediction], [told, made.finished], concurrency_limit=2, **PRIVATE)
    return made
