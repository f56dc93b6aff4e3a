"""Step 1: a reply comes into being token by token, and its probability is the product of theirs."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import gradio as gr

from kochat.ui.learn.frame import (
    BOT,
    MAX_QUESTION_LENGTH,
    Step,
    chips_html,
    outcome,
    paragraph,
    step,
    verdict_html,
    why_html,
)
from kochat.ui.models import bot
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, percent, shown

if TYPE_CHECKING:
    from kochat.inference.chatbot import ExplainedStep

NUMBER = 1
QUESTION = "12시 땡!"
OPTIONS = {
    "half": "k_learn_over_half",
    "tenth": "k_learn_over_tenth",
    "hundredth": "k_learn_over_hundredth",
    "less": "k_learn_under_hundredth",
}
LIKELIEST = 5


@dataclass(frozen=True)
class Growing:
    """A reply of which the first tokens are shown."""

    question: str
    steps: list[ExplainedStep]
    num_shown: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every token is shown."""
        return self.num_shown == len(self.steps)

    @property
    def probability(self) -> float:
        """Of the tokens that are shown, together."""
        return math.prod(one.probability for one in self.steps[: self.num_shown])


def actual(probability: float) -> str:
    """Which prediction was right."""
    return (
        "half"
        if probability >= 0.5
        else "tenth"
        if probability >= 0.1
        else "less"
        if probability < 0.01
        else "hundredth"
    )


def next_token(known: Growing | None, question: str) -> Growing:
    """The reply with one token more; one that is whole stays, until another question stands there."""
    if known is None or known.question != question:
        # The model's own probabilities: no strength.
        known = Growing(question, bot(BOT).explain(question, strength=0, runners_up=LIKELIEST))
    return replace(known, num_shown=min(known.num_shown + 1, len(known.steps)))


def growing_html(language: str, reply: Growing, predicted: str | None) -> str:
    """The tokens so far, the likeliest ones at the last place; in the end the product, the verdict and why."""
    seen = reply.steps[: reply.num_shown]
    last = seen[-1]
    likeliest = sorted([(last.token, last.probability), *last.runners_up], key=lambda one: -one[1])[:LIKELIEST]
    title = say(language, "k_learn_1_place", place=reply.num_shown)
    rows = "".join(
        f"<tr><td>{shown(token)}</td><td>{percent(p)}</td><td><div style='width:{p:.1%}'></div></td></tr>"
        for token, p in likeliest
    )
    factors = " × ".join(percent(one.probability) for one in seen)
    product = say(language, "k_learn_1_product", factors=factors, product=percent(reply.probability))
    shown_so_far = (
        chips_html((one.token, one.probability) for one in seen)
        + f'<table class="bars"><caption>{html.escape(title)}</caption><tbody>{rows}</tbody></table>'
        + paragraph(product)
    )
    if not reply.is_whole:
        return shown_so_far
    text = bot(BOT).text_of([one.token_id for one in reply.steps])
    whole = say(language, "k_learn_1_whole", reply=text, tokens=len(seen), p=percent(reply.probability))
    verdict = verdict_html(language, OPTIONS, predicted, actual(reply.probability))
    return shown_so_far + paragraph(whole) + verdict + why_html(language, NUMBER)


@shows_errors
def press(known: Growing | None, question: str, predicted: str | None, request: gr.Request):
    """One token more; where the reply is whole, it stays, and the button to begin again comes up."""
    reply = next_token(known, question)
    return (
        reply,
        growing_html(language_of(request), reply, predicted),
        reply.is_whole,
        gr.Button(visible=reply.is_whole),
    )


def begin_again() -> tuple:
    """No token yet."""
    return None, "", gr.Button(visible=False)


def build() -> Step:
    """The components and events of the step."""
    with step(NUMBER, OPTIONS) as made:
        question = gr.Textbox(
            QUESTION, label=t("k_question"), max_length=MAX_QUESTION_LENGTH, max_lines=1, elem_id="learn-1-question"
        )
        with gr.Row():
            act = made.button("k_learn_1_act")
            again = gr.Button(t("k_learn_1_again"), visible=False, elem_id="learn-1-again", elem_classes="action")
        told, known = outcome(), gr.State(None)
    act.click(
        press, [known, question, made.prediction], [known, told, made.finished, again], concurrency_limit=4, **PRIVATE
    )
    again.click(begin_again, None, [known, told, again], queue=False, **PRIVATE)
    return made
