"""A checkpoint for people: what it learned, how good it is in two sentences, and its profile, to be changed."""

from __future__ import annotations

import html
from dataclasses import replace

import gradio as gr

from kochat.config import DEFAULT_CHECKPOINT
from kochat.labels import label_name
from kochat.model import checkpoint
from kochat.model.card_figures import evaluations
from kochat.model.cards import COLOURS, MAX_PROFILE_EXAMPLES, PROFILE_TEXTS, Card, source_title
from kochat.runs import library
from kochat.runs.verdict import FORGOTTEN
from kochat.ui.auth import owner_only
from kochat.ui.profile import avatar_html, examples_of, label_dropdown, looks
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import (
    PRIVATE,
    ChatTab,
    chat_choices,
    checkpoint_choices,
    label_choices,
    label_title,
    label_word,
)

MAX_LABELS_NAMED = 12
NAMED_FIGURES = {"questions", "exact", "label_accuracy"}


def about_html(language: str, name: str | None) -> str:
    """Avatar, facts and verdict of a checkpoint."""
    path = checkpoint.list_checkpoints(for_chat=False).get(name or "")
    if path is None:
        return ""
    card = checkpoint.read_card(path)
    facts = "".join(
        f"<div><dt>{html.escape(term)}</dt><dd>{html.escape(fact)}</dd></div>" for term, fact in _facts(language, card)
    )
    verdict = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in verdict_of(language, card))
    return f'{avatar_html(path.name, card)}<dl class="facts">{facts}</dl><div class="verdict">{verdict}</div>'


def _facts(language: str, card: Card) -> list[tuple[str, str]]:
    labels = [label_name(label, language, card.labels, card.label_names) for label in card.labels]
    more = f" … ({len(labels)})" if len(labels) > MAX_LABELS_NAMED else ""
    facts = [
        ("k_about_base", card.base or ""),
        ("k_about_source", ", ".join(source_title(source, language) for source in _learned_from(card))),
        ("k_about_rows", say(language, "k_about_pairs", n=card.data["rows"]) if card.data.get("rows") else ""),
        (None, " / ".join(labels[:MAX_LABELS_NAMED]) + more),
        ("k_about_when", str(card.created).partition("T")[0]),
    ]
    named = [(say(language, key) if key else label_word(language, card), fact) for key, fact in facts]
    return [(term, fact) for term, fact in named if fact]


def _learned_from(card: Card) -> list[str]:
    """The data of its last training; where these were put together of several, all but its base's."""
    return card.sources[-1:] if card.data.get("source") in card.sources else card.sources[1:] or card.sources


def verdict_of(language: str, card: Card) -> list[str]:
    """What the figures of a card mean: its own answers, new questions, what its base knew. Not more than three."""
    sentences = []
    if (own := card.metrics.get("own_answers")) and own.get("asked"):
        sentences.append(say(language, "k_about_own", asked=own["asked"], right=own["right"]))
    measured = evaluations(card.metrics)
    figures = next((measured[part] for part in ("test", "validation", "given") if part in measured), None)
    if figures and figures.keys() >= NAMED_FIGURES:
        key = "k_about_given" if "given" in measured else "k_about_new"
        sentences.append(say(language, key, **{name: figures[name] for name in NAMED_FIGURES}))
    if base := card.metrics.get("base_nll"):
        forgot = base["after"] > FORGOTTEN * base["before"]
        sentences.append(say(language, "k_verdict_forgot" if forgot else "k_verdict_kept", **_rounded(base)))
    return sentences or [say(language, "k_about_nothing")]


def _rounded(base: dict) -> dict[str, str]:
    return {when: f"{base[when]:.2f}" for when in ("before", "after")}


def profile_form(name: str | None) -> tuple:
    """What the form holds for a checkpoint, in the order of `build`; nothing for the shipped one.

    Where nothing was chosen it shows, as a hint, what the checkpoint has by itself.
    """
    path = checkpoint.list_checkpoints(for_chat=False).get(name or "")
    card = checkpoint.read_card(path) if path else Card()
    is_own, profile = bool(path) and name != DEFAULT_CHECKPOINT.name, card.profile
    return (
        gr.Accordion(visible=is_own),
        name,
        gr.Textbox(profile.get("title", ""), placeholder=name),
        gr.Textbox(profile.get("greeting", ""), placeholder=t("k_hello")),
        profile.get("colour", ""),
        gr.Textbox("\n".join(profile.get("examples", ())), placeholder="\n".join(examples_of(name))),
        gr.CheckboxGroup(
            choices=label_choices(replace(card, profile={}))[1:],
            value=card.offered_labels,
            visible=len(card.labels) > 1,
            label=label_title(card),
        ),
    )


@shows_errors
@owner_only
def save_profile(
    name: str, title: str, greeting: str, colour: str, examples: str, labels: list[str], request: gr.Request
) -> str:
    """Keep the profile in the card; what is empty is as the checkpoint has it by itself. Raises KochatError."""
    path = checkpoint.list_checkpoints(for_chat=False).get(name or "")
    by_itself = replace(checkpoint.read_card(path), profile={}).offered_labels if path else []
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    profile = {"title": title.strip(), "greeting": greeting.strip(), "colour": colour, "examples": lines}
    if labels and set(labels) != set(by_itself):
        profile["hidden_labels"] = [label for label in checkpoint.read_card(path).labels if label not in labels]
    library.set_profile(name, {key: value for key, value in profile.items() if value})
    gr.Info(html.escape(say(language_of(request), "k_profile_saved")), duration=4)
    return about_html(language_of(request), name)


def build(chosen: gr.Dropdown, tab: gr.Tab, chat: ChatTab) -> None:
    """What there is to know of the checkpoint chosen, and the form for its profile."""
    about = gr.HTML(elem_id="about")
    with gr.Accordion(t("k_profile"), open=False, visible=False, elem_id="profile-form") as form:
        title = gr.Textbox(label=t("k_profile_title"), max_length=PROFILE_TEXTS["title"], elem_id="profile-title")
        greeting = gr.Textbox(
            label=t("k_profile_greeting"), max_length=PROFILE_TEXTS["greeting"], lines=2, elem_id="profile-greeting"
        )
        # A radio, since a dropdown cannot show what a colour looks like: style.css paints them, in this order.
        colour = gr.Radio(
            [(t("k_colour_auto"), ""), *((t(f"k_colour_{one}"), one) for one in COLOURS)],
            value="",
            label=t("k_profile_colour"),
            elem_id="profile-colour",
        )
        examples = gr.Textbox(
            label=t("k_profile_examples"),
            info=t("k_profile_examples_info"),
            lines=4,
            max_lines=MAX_PROFILE_EXAMPLES,
            elem_id="profile-examples",
        )
        labels = gr.CheckboxGroup(
            [], label=t("k_label_plain"), info=t("k_profile_labels_info"), visible=False, elem_id="profile-labels"
        )
        save = gr.Button(t("k_save"), variant="primary", elem_id="profile-save")

    whose = gr.State(None)  # what is chosen may be another one before its form is there

    def renamed() -> tuple[gr.Dropdown, gr.Dropdown]:
        return gr.Dropdown(choices=checkpoint_choices(for_chat=False)), gr.Dropdown(choices=chat_choices())

    def show(name: str | None, request: gr.Request) -> str:
        return about_html(language_of(request), name)

    quick, fields = {"queue": False, **PRIVATE}, [whose, title, greeting, colour, examples, labels]
    for event in (tab.select, chosen.change):
        event(show, chosen, about, **quick)
    chosen.change(profile_form, chosen, [form, *fields], **quick)
    saved = save.click(save_profile, fields, about, **PRIVATE)
    saved.success(looks, chat.checkpoint, [chat.profile, chat.conversation], **quick)
    saved.success(label_dropdown, [chat.checkpoint, chat.label], chat.label, **quick)
    saved.success(renamed, None, [chosen, chat.checkpoint], **quick)
