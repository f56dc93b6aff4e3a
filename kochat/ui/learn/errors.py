"""Step 4: one unlikely token is forced upon the bot, and the rest of its reply follows from that."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

import gradio as gr

from kochat.ui.learn.frame import (
    BOT,
    MAX_QUESTION_LENGTH,
    Step,
    chips_html,
    outcome,
    step,
    table_html,
    verdict_html,
    why_html,
)
from kochat.ui.models import bot
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, percent

if TYPE_CHECKING:
    from kochat.inference.chatbot import Chatbot, ExplainedStep

NUMBER = 4
QUESTION = "12시 땡!"
BAD = "남자친구"  # has nothing to do with the time of day
OPTIONS = {"less": "k_learn_4_less", "same": "k_learn_4_same", "more": "k_learn_4_more"}
RUNNERS_UP = 2  # to choose from, at each of the first two places
Start = tuple[int, ...]  # ids of the tokens that the reply has to begin with


def actual(before: float, after: float) -> str:
    """Which prediction was right, of how sure the bot is of a token without the forced one and with it."""
    return "less" if after < 0.95 * before else "more" if after > before / 0.95 else "same"


def candidates(chatbot: Chatbot, question: str) -> list[tuple[str, Start, float]]:
    """Tokens to force: of the first and of the second place the runners-up, and a bad one. Token, start, probability.

    Raises ReplyError.
    """
    steps, found = chatbot.explain(question, strength=0, runners_up=RUNNERS_UP), []
    for place, one in enumerate(steps[:2]):
        before = tuple(before.token_id for before in steps[:place])
        for (token, p), token_id in zip(one.runners_up, one.runner_up_ids, strict=True):
            found.append((token, (*before, token_id), p))
    bad = (chatbot.prompt.text_ids(BAD)[0],)
    if bad not in [start for _, start, _ in found]:
        forced = chatbot.explain(question, strength=0, start=bad)[0]
        found.append((forced.token, bad, forced.probability))
    return found


def surety(steps: list[ExplainedStep]) -> float:
    """How sure the bot is of a token, on the average: the geometric mean of the probabilities; 1 of none."""
    return math.exp(sum(math.log(max(one.probability, 1e-30)) for one in steps) / max(1, len(steps)))


def forced_html(language: str, chatbot: Chatbot, question: str, start: Start, predicted: str | None) -> str:
    """The greedy reply and the one that begins with the forced token, and what both cost. Raises ReplyError."""
    greedy, forced = (chatbot.explain(question, strength=0, start=ids) for ids in ((), start))
    place = len(start)
    blocks, rows, sure = "", [], []
    for key, steps, marked in (("k_learn_4_greedy", greedy, -1), ("k_learn_4_forced", forced, place - 1)):
        name, text = say(language, key), chatbot.text_of([one.token_id for one in steps])
        blocks += f"<h4>{html.escape(name)}</h4>" + chips_html([(one.token, one.probability) for one in steps], marked)
        sure.append(surety(steps[place:]))
        whole = math.prod(one.probability for one in steps)
        rows.append((name, text, percent(whole), percent(sure[-1])))
    heads = [say(language, key) for key in ("k_learn_4_reply", "k_answer", "k_learn_4_whole", "k_learn_4_rest")]
    return (
        blocks
        + table_html(heads, rows)
        + verdict_html(language, OPTIONS, predicted, actual(*sure))
        + why_html(language, NUMBER)
    )


@shows_errors
def offer(question: str, offered: str, request: gr.Request) -> tuple:
    """The tokens that can be forced, the bad one chosen; nothing where those of this question are `offered`."""
    if question == offered:
        return gr.skip(), gr.skip()
    language, choices = language_of(request), []
    for token, start, p in candidates(bot(BOT), question):
        told = say(language, "k_learn_4_choice", place=len(start), token=token.strip(), p=percent(p))
        choices.append((told, " ".join(map(str, start))))
    return gr.Radio(choices=choices, value=choices[-1][1]), question


@shows_errors
def press(question: str, start: str | None, predicted: str | None, request: gr.Request):
    """Force the token."""
    chatbot = bot(BOT)
    ids = tuple(int(one) for one in (start or "").split()) or candidates(chatbot, question)[-1][1]
    return forced_html(language_of(request), chatbot, question, ids, predicted), True


def build() -> Step:
    """The components and events of the step."""
    with step(NUMBER, OPTIONS) as made:
        question = gr.Textbox(
            QUESTION, label=t("k_question"), max_length=MAX_QUESTION_LENGTH, max_lines=1, elem_id="learn-4-question"
        )
        choice = gr.Radio([], label=t("k_learn_4_choose"), elem_id="learn-4-choice")
        act = made.button("k_learn_4_act")
        told = outcome()
    offered = gr.State("")
    made.opened = offer, [question, offered], [choice, offered]
    gr.on([question.submit, question.blur], *made.opened, concurrency_limit=4, **PRIVATE)
    # Whoever presses the button right after typing has the choice of before still.
    act.click(*made.opened, concurrency_limit=4, **PRIVATE).success(
        press, [question, choice, made.prediction], [told, made.finished], concurrency_limit=4, **PRIVATE
    )
    return made
