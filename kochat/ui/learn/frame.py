"""What the seven steps share: the question, the prediction, the verdict on it, the reason; what the browser keeps.

Knows texts and components; no bot and no training.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from kochat.config import DEFAULT_CHECKPOINT
from kochat.ui.text import say, t
from kochat.ui.widgets import level, percent, shown

NUM_STEPS = 7
BOT = DEFAULT_CHECKPOINT.name  # whom the steps ask, and what they train further
MAX_QUESTION_LENGTH = 200  # characters
# What the browser keeps: the step one is at, those that are done, what was predicted.
Progress = dict[str, Any]
Options = Mapping[str, str]  # what can be predicted: the key of the text of each


@dataclass
class Step:
    """The components of a step that the tab needs. Its buttons wait for a prediction."""

    number: int
    column: gr.Column
    prediction: gr.Radio
    finished: gr.State  # whether it came to its end on this page
    buttons: list[gr.Button] = field(default_factory=list)
    opened: tuple[Callable, list, list] | None = None  # what is done when one comes to the step, inputs, outputs

    def __enter__(self) -> Step:
        self.column.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self.column.__exit__(*error)

    def button(self, key: str) -> gr.Button:
        """A button that does the step's action."""
        made = gr.Button(
            t(key), variant="primary", interactive=False, elem_id=f"learn-{self.number}-act", elem_classes="action"
        )
        self.buttons.append(made)
        return made


def step(number: int, options: Options) -> Step:
    """A step with its question and its prediction; used with `with`, what follows comes below these."""
    with gr.Column(visible=number == 1, elem_id=f"learn-{number}") as column:
        gr.Markdown(t(f"k_learn_{number}_title"))
        gr.Markdown(t(f"k_learn_{number}_ask"))
        prediction = gr.Radio(
            [(t(key), value) for value, key in options.items()],
            label=t("k_learn_prediction"),
            info=t(f"k_learn_{number}_predict"),
            elem_id=f"learn-{number}-prediction",
        )
        finished = gr.State(False)
    return Step(number, column, prediction, finished)


def outcome() -> gr.HTML:
    """The place for what happened."""
    return gr.HTML(elem_classes="learn")


def paragraph(text: str, kind: str = "") -> str:
    """A text as HTML."""
    return f'<p class="{kind}">{html.escape(text)}</p>' if kind else f"<p>{html.escape(text)}</p>"


def verdict_html(language: str, options: Options, predicted: str | None, actual: str) -> str:
    """The prediction beside what came out."""
    key = "k_learn_right" if predicted == actual else "k_learn_wrong"
    texts = {"predicted": say(language, options[predicted]) if predicted in options else "–"}
    told = say(language, key, actual=say(language, options[actual]), **texts)
    return f'<p class="verdict {"good" if predicted == actual else ""}" role="status">{html.escape(told)}</p>'


def why_html(language: str, number: int) -> str:
    """Why it came out so."""
    title = html.escape(say(language, "k_learn_why"))
    return f"<h4>{title}</h4>" + paragraph(say(language, f"k_learn_{number}_why"))


def table_html(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts; the first of each row says what it is."""
    head = "".join(f'<th scope="col">{html.escape(one)}</th>' for one in heads)
    body = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    )
    return f'<div class="rows" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def chips_html(tokens: Iterable[tuple[str, float]], forced: int = -1) -> str:
    """Tokens with their probabilities, in order; the one at the place `forced` was not the bot's own choice."""
    return (
        '<ol class="chips">'
        + "".join(
            f'<li class="step p{level(p)}{" forced" if i == forced else ""}">'
            f"<span>{shown(token)}</span><b>{percent(p)}</b></li>"
            for i, (token, p) in enumerate(tokens)
        )
        + "</ol>"
    )
