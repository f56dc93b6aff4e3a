"""How training sees a pair: its tokens and ids, what is masked, what is predicted from what, and what it costs.

Knows a Chatbot and HTML. It is what the notebook prints as tensors, made a table.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import gradio as gr

from kochat.data import pairs
from kochat.labels import AUTO
from kochat.model import checkpoint
from kochat.model.prompt import IGNORE, Part
from kochat.ui.models import bot, card
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, checkpoint_choices, label_choices, percent, shown

if TYPE_CHECKING:
    from kochat.inference.chatbot import Chatbot, ExaminedToken

MAX_TEXT_LENGTH = 2000  # characters
MAX_ROWS = 400  # tokens of one pair that are shown
TOKENS_BEFORE = 4  # shown of those that a token is predicted from
COLUMNS = ("k_position", "k_token", "k_token_loss", "k_part", "k_target", "k_predicted_from", "k_token_id")
WEIGHTS = {Part.LABEL: "label_loss", Part.QUESTION: "question_loss"}  # the settings
PARTS = {Part.STRUCTURE: "k_structure", Part.QUESTION: "k_question", Part.LABEL: "k_row_label", Part.ANSWER: "k_answer"}


def pair_html(language: str, chatbot: Chatbot, question: str, answer: str, label: str) -> str:
    """A pair as a table of its tokens, with what it costs and what that means. Raises ReplyError, DataError."""
    tokens = chatbot.examine(question, answer, label)
    kept = [one for one in tokens if one.kept]
    said = [one.nats for one in kept if one.learned_as == Part.ANSWER]
    mean, weights = sum(said) / len(said), _weights(chatbot)
    told = [say(language, "k_pair_loss"), say(language, "k_pair_mask")]
    if shares := " · ".join(f"{say(language, PARTS[part])} {one:g}" for part, one in weights.items() if one):
        told.append(say(language, "k_pair_beside", weights=shares))
    if weights[Part.LABEL]:
        told.append(say(language, "k_pair_read"))
    if len(kept) < len(tokens):
        most = chatbot.prompt.max_length
        told.append(say(language, "k_pair_cut", all=len(tokens), most=most, cut=len(tokens) - len(kept)))
    rows, before = [], []
    for place, one in enumerate(tokens[:MAX_ROWS], 1):
        rows.append(_row(language, place, one, before, weights))
        if one.kept:
            before.append(one)
    heads = "".join(f"<th>{html.escape(say(language, key))}</th>" for key in COLUMNS)
    mean = say(language, "k_pair_mean", tokens=len(said), mean=f"{mean:.2f}", p=percent(math.exp(-mean)))
    more = f'<p class="quiet">… {len(tokens) - MAX_ROWS:,}</p>' if len(tokens) > MAX_ROWS else ""
    return (
        "".join(f'<p class="quiet">{html.escape(one)}</p>' for one in told)
        + f'<div class="rows pair"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        + f"{more}<p><b>{html.escape(mean)}</b></p>"
    )


def _weights(chatbot: Chatbot) -> dict[Part, float]:
    """How much a label token and a question token counted in its training; 0 where its card does not say."""
    found = {part: chatbot.card.config.get(name) for part, name in WEIGHTS.items()}
    return {part: one if type(one) in (int, float) and 0 < one < math.inf else 0 for part, one in found.items()}


def _row(
    language: str, place: int, one: ExaminedToken, before: Sequence[ExaminedToken], weights: dict[Part, float]
) -> str:
    part = one.part.name.lower()
    chip = f'<span class="piece {part}">{shown(one.text)}</span>'
    if not one.kept:
        chip, loss, target, context = f"<del>{chip}</del>", "–", say(language, "k_is_cut"), ""
    else:
        weight = weights.get(one.learned_as, 0)
        masked = say(language, "k_beside", weight=f"{weight:g}") if weight else say(language, "k_masked")
        learned = say(language, "k_predicted")
        target = f"{IGNORE} · {masked}" if one.label == IGNORE else f"{one.label} · {learned}"
        loss, context = "–", "–"
        if weight or one.learned_as == Part.ANSWER:
            loss = f"{one.nats:.2f} <small>({percent(math.exp(-one.nats))})</small>"
            context = ("… " if len(before) > TOKENS_BEFORE else "") + " ".join(
                shown(earlier.text) for earlier in before[-TOKENS_BEFORE:]
            )
    name = html.escape(say(language, PARTS[one.part]))
    cells = [chip, loss, name, html.escape(target), context, one.token_id]
    shades = f"{part} {'' if one.kept else 'cut'} {'masked' if one.label == IGNORE else ''}"
    return (
        f'<tr class="{" ".join(shades.split())}"><td>{place}</td>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
    )


@shows_errors
def looked_at(question: str, answer: str, label: str, name: str, request: gr.Request) -> str:
    """The table for a pair under a checkpoint in the list."""
    return pair_html(language_of(request), bot(name), question, answer, label)


def bot_dropdown(chosen: str | None) -> gr.Dropdown:
    """The checkpoints there are now; a choice that is gone becomes the first."""
    choices = checkpoint_choices()
    names = [name for _, name in choices]
    return gr.Dropdown(choices=choices, value=chosen if chosen in names else next(iter(names), None))


def label_dropdown(name: str | None, chosen: str | None) -> gr.Dropdown:
    """The labels of a checkpoint; a choice that it does not know becomes the first."""
    choices = [choice for choice in label_choices(card(name)) if choice[1] != AUTO]
    values = [value for _, value in choices]
    return gr.Dropdown(choices=choices, value=chosen if chosen in values else next(iter(values), None))


def build() -> None:
    """The panel of the training tab and its events."""
    names = list(checkpoint.list_checkpoints())
    first = names[0] if names else None
    example = pairs.read_pairs("emotions", rows=1).iloc[0]
    with gr.Accordion(t("k_pair_view"), open=False, elem_id="pair") as panel:
        gr.Markdown(t("k_pair_intro"), elem_classes="quiet")
        with gr.Row():
            question = gr.Textbox(
                example["Q"], label=t("k_question"), max_length=MAX_TEXT_LENGTH, max_lines=4, elem_id="pair-question"
            )
            answer = gr.Textbox(
                example["A"], label=t("k_answer"), max_length=MAX_TEXT_LENGTH, max_lines=4, elem_id="pair-answer"
            )
        with gr.Row():
            choices = [choice for choice in label_choices(card(first)) if choice[1] != AUTO]
            label = gr.Dropdown(
                choices,
                value=example["label"],
                label=t("k_row_label"),
                interactive=True,
                min_width=200,
                elem_id="pair-label",
            )
            chosen = gr.Dropdown(
                names, value=first, label=t("k_checkpoint"), interactive=True, min_width=200, elem_id="pair-checkpoint"
            )
        look = gr.Button(t("k_pair_look"), variant="primary", elem_id="pair-look")
        table = gr.HTML(elem_id="pair-table")
    quick = {"queue": False, **PRIVATE}
    showing = {
        "fn": looked_at,
        "inputs": [question, answer, label, chosen],
        "outputs": table,
        "concurrency_limit": 4,
        **PRIVATE,
        "show_progress": "minimal",
    }
    panel.expand(bot_dropdown, chosen, chosen, **quick).then(label_dropdown, [chosen, label], label, **quick).then(
        **showing
    )
    chosen.input(label_dropdown, [chosen, label], label, **quick).then(**showing)
    gr.on([question.submit, answer.submit, label.input, look.click], **showing)
