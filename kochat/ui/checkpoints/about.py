"""A checkpoint for people: who it is, what it learned, how good it is in two sentences; and its face, to be changed."""

from __future__ import annotations

import html

import gradio as gr

from kochat.config import DEFAULT_CHECKPOINT
from kochat.labels import label_name
from kochat.model import checkpoint
from kochat.model.card_figures import evaluations
from kochat.model.cards import COLOURS, FACE_TEXTS, MAX_FACE_EXAMPLES, Card, source_title
from kochat.runs import library
from kochat.runs.verdict import FORGOTTEN
from kochat.ui.auth import owner_only
from kochat.ui.face import avatar_html, examples_of
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, label_word

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
        ("k_about_source", ", ".join(source_title(source) for source in (card.sources or [])[-1:])),
        ("k_about_rows", say(language, "k_about_pairs", n=card.data["rows"]) if card.data.get("rows") else ""),
        (None, ", ".join(labels[:MAX_LABELS_NAMED]) + more),
        ("k_about_when", str(card.created).partition("T")[0]),
    ]
    named = [(say(language, key) if key else label_word(language, card), fact) for key, fact in facts]
    return [(term, fact) for term, fact in named if fact]


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


def face_form(name: str | None) -> tuple:
    """What the form holds for a checkpoint: title, greeting, colour, examples; closed for the shipped one."""
    path = checkpoint.list_checkpoints(for_chat=False).get(name or "")
    face = checkpoint.read_card(path).face if path else {}
    own = bool(path) and name != DEFAULT_CHECKPOINT.name
    examples = face.get("examples") or (examples_of(name) if own and checkpoint.read_card(path).labels else ())
    values = face.get("title", ""), face.get("greeting", ""), face.get("colour"), "\n".join(examples)
    return gr.Accordion(visible=own), *values


@shows_errors
@owner_only
def save_face(name: str, title: str, greeting: str, colour: str | None, examples: str, request: gr.Request) -> str:
    """Keep the face in the card; what is empty is as the checkpoint has it by itself. Raises KochatError."""
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    face = {"title": title.strip(), "greeting": greeting.strip(), "colour": colour, "examples": lines}
    library.set_face(name, {key: value for key, value in face.items() if value})
    gr.Info(html.escape(say(language_of(request), "k_face_saved")), duration=4)
    return about_html(language_of(request), name)


def build(page: gr.Blocks, chosen: gr.Dropdown, tab: gr.Tab) -> None:
    """What there is to know of the checkpoint chosen, and the form for its face."""
    about = gr.HTML(elem_id="about")
    with gr.Accordion(t("k_face"), open=False, visible=False, elem_id="face-form") as form:
        title = gr.Textbox(label=t("k_face_title"), max_length=FACE_TEXTS["title"], elem_id="face-title")
        greeting = gr.Textbox(
            label=t("k_face_greeting"), max_length=FACE_TEXTS["greeting"], lines=2, elem_id="face-greeting"
        )
        colour = gr.Dropdown(
            [(t(f"k_colour_{one}"), one) for one in COLOURS],
            label=t("k_face_colour"),
            interactive=True,
            filterable=False,
            elem_id="face-colour",
        )
        examples = gr.Textbox(
            label=t("k_face_examples"),
            info=t("k_face_examples_info"),
            lines=4,
            max_lines=MAX_FACE_EXAMPLES,
            elem_id="face-examples",
        )
        save = gr.Button(t("k_save"), variant="primary", elem_id="face-save")

    def show(name: str | None, request: gr.Request) -> tuple:
        return about_html(language_of(request), name), *face_form(name)

    fields = [title, greeting, colour, examples]
    for event in (page.load, tab.select, chosen.change):
        event(show, chosen, [about, form, *fields], queue=False, **PRIVATE)
    save.click(save_face, [chosen, *fields], about, **PRIVATE)
