"""The profile of a chatbot: its avatar, its name, its greeting and the examples, as its card has them.

Where the owner chose none, they come from the checkpoint: its name, a colour by its name, its own questions.
"""

from __future__ import annotations

import functools
import hashlib
import html
import string
from pathlib import Path

import gradio as gr

from kochat.errors import CheckpointError
from kochat.labels import AUTO, has_names
from kochat.model import checkpoint
from kochat.model.cards import COLOURS, Card
from kochat.model.kept_pairs import newest
from kochat.ui import models
from kochat.ui.text import t
from kochat.ui.widgets import EXAMPLES, label_choices, label_title

MAX_EXAMPLES, MAX_EXAMPLE_LENGTH = 6, 24  # questions, characters


def title_of(name: str, card: Card) -> str:
    """What the chatbot of a checkpoint is called."""
    return card.profile.get("title", "").strip() or name


def letter_of(title: str) -> str:
    """The letter of an avatar."""
    return title[:1].upper()[:1]  # of a ß it makes two


def colour_of(name: str, card: Card) -> str:
    """One of COLOURS: the owner's choice, else always the same one for a name."""
    digest = hashlib.sha256(name.encode()).digest()
    return card.profile.get("colour") or COLOURS[digest[0] % len(COLOURS)]


def avatar_html(name: str, card: Card) -> str:
    """Avatar and name of a checkpoint."""
    title = title_of(name, card)
    return (
        f'<div class="profile tone-{colour_of(name, card)}"><span class="avatar" aria-hidden="true">'
        f"{html.escape(letter_of(title))}</span><b>{html.escape(title)}</b></div>"
    )


def profile_html(name: str | None) -> str:
    """Who one talks to; with it the avatar's letter for the style sheet, which draws it beside each reply."""
    if not name:
        return ""
    card = models.card(name)
    letter = letter_of(title_of(name, card))
    return f'<style>#chat {{ --letter: "\\{ord(letter):x} " }}</style>{avatar_html(name, card)}'


def welcome(name: str | None) -> dict:
    """What an empty conversation shows: a greeting, and questions to begin with."""
    card = models.card(name)
    examples = card.profile.get("examples") or examples_of(name)
    greeting = card.profile.get("greeting")
    return {
        "placeholder": as_text(greeting) if greeting else t("k_hello"),
        "examples": [{"text": text} for text in examples],
    }


def as_text(text: str) -> str:
    """A text for a place that gradio reads as Markdown: it stays to the letter, and asks for no picture."""
    return "".join(f"&#{ord(one)};" if one in string.punctuation else one for one in text)


def looks(name: str | None) -> tuple[str, gr.Chatbot]:
    """The profile of a checkpoint, and what its empty conversation shows."""
    return profile_html(name), gr.Chatbot(**welcome(name))


def label_dropdown(name: str, chosen: str) -> gr.Dropdown:
    """The label dropdown of the chat for a checkpoint; a label that it does not offer becomes automatic."""
    card = models.card(name)
    value = chosen if chosen in card.chat_labels else AUTO
    return gr.Dropdown(choices=label_choices(card), value=value, label=label_title(card))


def examples_of(name: str | None) -> tuple[str, ...]:
    """Questions that a checkpoint knows: its own, from all over its data, then general ones if it knows ChatbotData."""
    card = models.card(name)
    try:
        own = _own_questions(*models.version(name)) if card.labels else ()
    except CheckpointError:  # its pairs are damaged: the chat says so where one talks to it
        own = ()
    general = EXAMPLES if not card.labels or has_names(card.labels) else ()
    return tuple(dict.fromkeys((*own, *general)))[:MAX_EXAMPLES]


@functools.lru_cache(maxsize=32)
def _own_questions(folder: Path, changed: float) -> tuple[str, ...]:
    card, pairs = checkpoint.read_card(folder), checkpoint.read_pairs(folder, folder.name)
    # Without further trainings its first data are its own; of ChatbotData the page has examples.
    own = newest(pairs, card.data) or ([] if has_names(card.labels) else pairs)
    short = list(dict.fromkeys(question for question, _, _ in own if len(question) <= MAX_EXAMPLE_LENGTH))
    step = max(1, len(short) // MAX_EXAMPLES)
    return tuple(short[::step][:MAX_EXAMPLES])
