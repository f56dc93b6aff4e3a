"""What the tabs share: buttons that ask first, downloads, a progress bar, the checkpoint dropdown, labels, tokens."""

from __future__ import annotations

import contextlib
import functools
import html
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from kochat.errors import CheckpointError
from kochat.labels import AUTO, CHATBOT_DATA_LABELS, are_emotions, has_names
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.runs.watcher import Subject
from kochat.ui import models
from kochat.ui.text import say, t

EXAMPLES = ("안녕", "12시 땡!", "잠이 안 와", "심심해", "여행 가고 싶어", "고백할까?")
DOWNLOADS_KEPT = 3600  # seconds
LABEL_COLOURS = 8  # in style.css
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # of probability, where the colour of a token changes
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}


@dataclass
class ChatTab:
    """What other tabs need of this one."""

    label: gr.Dropdown
    checkpoint: gr.Dropdown
    strength: gr.Slider
    profile: gr.HTML
    conversation: gr.Chatbot
    below: gr.Column  # the place between the conversation and the question
    drawer: gr.Column  # the place beside it
    settled: list  # events after which no reply is on its way
    restored: gr.events.Dependency  # the conversation of the last visit is there


def afterwards(event, *do, **options) -> None:
    """Do something when an event has ended, well or not: `then` alone does nothing after an error."""
    event.then(*do, **options)
    event.failure(*do, **options)


def label_choices(of: Card) -> list[tuple]:
    """Dropdown choices for the labels of a checkpoint's chat; names that are ours are translated by the browser."""
    ours = {AUTO, *(CHATBOT_DATA_LABELS if has_names(of.labels) else ())} - of.label_names.keys()
    return [
        (t(f"k_label_{one}") if one in ours else of.label_names.get(one, one), one) for one in (AUTO, *of.chat_labels)
    ]


def checkpoint_choices(for_chat: bool = True) -> list[tuple[str, str]]:
    """Dropdown choices for the checkpoints there are: what its owner calls each, and its name, which is the value."""
    return [(_named(name, path), name) for name, path in checkpoint.list_checkpoints(for_chat=for_chat).items()]


def chat_choices() -> list[tuple]:
    """Dropdown choices of the chat: the engine, where there is one, before the checkpoints."""
    elsewhere = [(t("k_engine"), models.ENGINE)] if models.engine() else []
    return [*elsewhere, *checkpoint_choices()]


def _named(name: str, path: Path) -> str:
    title = ""
    with contextlib.suppress(CheckpointError):  # deleted since it was listed
        title = checkpoint.read_card(path).profile.get("title", "").strip()
    return f"{title} · {name}" if title and title != name else name


def label_title(of: Card) -> str:
    """What the labels of a checkpoint are called, for the browser to translate."""
    return of.label_column or t(_label_key(of))


def label_word(language: str, of: Card) -> str:
    """The same as text: emotions where they are ChatbotData's, else as the data call them."""
    return of.label_column or say(language, _label_key(of))


def label_class(place: int) -> str:
    """The CSS class with the colour of a label, by its place among those of its checkpoint or its data."""
    return f"label-{place % LABEL_COLOURS}"


def _label_key(of: Card) -> str:
    return "k_label" if are_emotions(of.labels) else "k_label_plain"


def following(subject: Subject) -> gr.HTML:
    """What is not seen, and has a `change` whenever runs or checkpoints have changed on the server.

    Only while the tab that it is in is open, and once when it is opened: see `follow` in page.js.
    """
    script = f"kochat.follow(element, '{subject}', () => trigger('change'))"
    return gr.HTML(js_on_load=script, elem_classes="unseen")


def checkpoint_dropdown(chosen: str | None, wanted: str | None = None) -> gr.Dropdown:
    """The checkpoint dropdown of the chat with what is there now; a choice that is gone becomes the first.

    `wanted`, where it is there, is chosen instead.
    """
    choices = chat_choices()
    names = [name for _, name in choices]
    if wanted in names:
        return gr.Dropdown(choices=choices, value=wanted)
    if chosen in names:
        return gr.Dropdown(choices=choices)
    return gr.Dropdown(choices=choices, value=names[0] if names else None)


@functools.cache
def _downloads() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="kochat-")  # goes when this process ends


def downloads() -> Path:
    """Where files wait to be downloaded, each name once, for an hour: gradio copies what it offers."""
    folder = Path(_downloads().name)
    for path in folder.rglob("*.*"):
        with contextlib.suppress(FileNotFoundError):  # two visitors at once
            if path.is_file() and time.time() - path.stat().st_mtime > DOWNLOADS_KEPT:
                path.unlink()
    return folder


def confirm(question: str, elem_id: str) -> tuple[gr.Column, gr.Button]:
    """A hidden part of the page that asks before something is deleted, and its yes button."""
    with gr.Column(visible=False) as asking:
        gr.Markdown(t(question))
        with gr.Row():
            yes = gr.Button(t("k_yes_delete"), variant="stop", min_width=120, elem_id=elem_id)
            no = gr.Button(t("k_no"), min_width=120)
    no.click(lambda: gr.Column(visible=False), None, asking, queue=False, **PRIVATE)
    return asking, yes


def bar_html(language: str, done: float, text: str) -> str:
    """A progress bar with a line below; `done` is from 0 to 1."""
    percent = f"{100 * done:.0f}"
    return (
        f'<div class="bar" role="progressbar" aria-label="{html.escape(text)}" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}">'
        f'<div style="width:{percent}%"></div></div><p class="quiet" role="status">{html.escape(text)}</p>'
    )


def glossary_html(language: str, words: Sequence[str]) -> str:
    """What words mean, on tap: of each the texts "k_word_…" and "k_means_…"."""

    def told(key: str) -> str:
        return html.escape(say(language, key))

    meanings = "".join(f"<dt>{told(f'k_word_{word}')}</dt><dd>{told(f'k_means_{word}')}</dd>" for word in words)
    return f'<details class="glossary"><summary>{told("k_glossary")}</summary><dl>{meanings}</dl></details>'


def percent(p: float) -> str:
    """A probability for people: 82%, 1.2%, 0.03%, and below that 1/32,000."""
    if p >= 0.0995:
        return f"{p:.0%}"
    if p >= 0.0001:
        return f"{100 * p:.2g}%"
    return f"1/{round(1 / p):,}" if p > 1e-12 else "0%"


def level(p: float) -> int:
    """The shade of a probability, from 0 to 5: the number of its class in the style sheet."""
    return sum(p >= edge for edge in LEVELS)


def shown(token: str) -> str:
    """A token to the letter, escaped: ▁ where a word begins, ⏎ for a new line."""
    return html.escape(token.replace(" ", "▁", 1) if token.startswith(" ") else token).replace("\n", "⏎")
