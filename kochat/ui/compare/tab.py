"""The comparison tab: the same questions to several chatbots, emotions and strengths, one table, a CSV of it.

A comparison asks a few questions at a time and two run at once, so that the chat goes on meanwhile. Who starts
another one ends the one before: nobody can take both places.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from kochat.errors import DataError, SettingsError
from kochat.evaluation import comparison
from kochat.evaluation.comparison import MAX_QUESTION_LENGTH, Comparison
from kochat.labels import AUTO, AUTO_NAMES, label_name
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.ui import auth, models
from kochat.ui.compare.table import table_html, words_of
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.uploads import read_once
from kochat.ui.widgets import EXAMPLES, PRIVATE, afterwards, bar_html, checkpoint_choices, downloads

MAX_QUESTIONS, MAX_COLUMNS, AT_ONCE = 200, 24, 2
FIRST_LABELS = 3  # of a chatbot, chosen by themselves
OWN = "own"  # strength
STRENGTHS = ("0", "1", "2", "3", "4", "5", "6")
BETWEEN_PICTURES = 0.7  # seconds, of the progress bar
TABLE_EVERY = 1e-3  # seconds a cell: a large table takes the browser a while to draw
QUICK = {"queue": False, **PRIVATE}

_newest: dict[str, Comparison] = {}  # of each visitor


@dataclass
class CompareTab:
    """The components of the tab."""

    questions: gr.Textbox
    file: gr.UploadButton
    checkpoints: gr.Dropdown
    labels: gr.Dropdown
    strengths: gr.Dropdown
    start: gr.Button
    stop: gr.Button
    csv: gr.Button
    link: gr.DownloadButton
    bar: gr.HTML
    table: gr.HTML
    state: gr.State  # the Comparison shown


def cards_of(names: list[str] | None) -> dict[str, Card]:
    """The cards of those among these checkpoints that are still there."""
    there = checkpoint.list_checkpoints()
    return {name: checkpoint.read_card(there[name]) for name in names or [] if name in there}


def label_choices(language: str, cards: dict[str, Card]) -> list[tuple[str, str]]:
    """Automatic and every label that some of these checkpoints know, called as they call it."""
    names: dict[str, dict[str, None]] = {AUTO: {AUTO_NAMES[language]: None}}
    for card in cards.values():
        for label in card.labels:
            names.setdefault(label, {})[label_name(label, language, card.labels, card.label_names)] = None
    return [(" / ".join(shown), label) for label, shown in names.items()]


def label_dropdown(
    names: list[str] | None, chosen: list[str] | None, before: list[str], request: gr.Request
) -> gr.Dropdown:
    """The labels of the checkpoints chosen; of what was chosen stays what is still among them.

    A checkpoint that was not there `before` and that none of them suits brings its own: it would have nothing to say.
    """
    cards = cards_of(names)
    choices = label_choices(language_of(request), cards)
    known = [value for _, value in choices]
    kept = [one for one in chosen or [] if one in known]
    for name, card in cards.items():
        if name not in before and not {AUTO, *card.labels} & set(kept):
            kept += card.labels[:FIRST_LABELS]
    return gr.Dropdown(choices=choices, value=kept, multiselect=True)


def refresh(names: list[str] | None, chosen: list[str] | None, request: gr.Request) -> list:
    """What can be compared now, and which of it is chosen; at first the labels of the first checkpoint."""
    choices = checkpoint_choices()
    there = [name for _, name in choices]
    kept = [name for name in names or [] if name in there] or there[:1]
    before = kept if names or chosen else []
    return [
        gr.Dropdown(choices=choices, value=kept, multiselect=True),
        label_dropdown(kept, chosen, before, request),
        kept,
    ]


@shows_errors
def take_over(path: str | None, request: gr.Request) -> str:
    """The questions of a file, for the text box."""
    if not path:
        raise DataError("no_upload")
    with read_once(path, request):
        found = comparison.read_questions(path, MAX_QUESTIONS + 1)
    language, questions = language_of(request), found[:MAX_QUESTIONS]
    key = "k_compare_first" if len(found) > MAX_QUESTIONS else "k_compare_taken"
    gr.Info(say(language, key, most=MAX_QUESTIONS, questions=len(questions)))
    return "\n".join(questions)


def planned(text: str, names: list[str], labels: list[str], strengths: list[str], language: str) -> Comparison:
    """The table to be filled, of at most so many rows and columns. Raises KochatError."""
    questions = comparison.questions_of(text.splitlines())
    if len(questions) > MAX_QUESTIONS:
        gr.Info(say(language, "k_compare_first", most=MAX_QUESTIONS))
    wanted = [None if one == OWN else float(one) for one in strengths or []]
    made = comparison.plan(questions[:MAX_QUESTIONS], cards_of(names), labels or [], wanted)
    if len(made.columns) > MAX_COLUMNS:
        raise SettingsError("too_many_columns", columns=len(made.columns), most=MAX_COLUMNS)
    return made


@shows_errors
def run(
    text: str, names: list[str], labels: list[str], strengths: list[str], request: gr.Request
) -> Iterator[tuple[str, str, Comparison]]:
    """Ask everything; yields bar, table and what they show as it grows. Raises KochatError."""
    language, visitor = language_of(request), auth.name_of(request)
    made = planned(text, names, labels, strengths, language)
    cards, shown_at = cards_of(names), time.monotonic()
    drawn_at, between = shown_at, max(BETWEEN_PICTURES, TABLE_EVERY * len(made.questions) * len(made.columns))
    _newest[visitor] = made
    try:
        yield bar_of(language, made), table_html(language, made, cards), made
        for _ in comparison.compare(made, models.borrow):
            if _newest.get(visitor) is not made:
                gr.Info(say(language, "k_compare_replaced"))
                break
            now = time.monotonic()
            if now - shown_at > BETWEEN_PICTURES:
                draw, shown_at = now - drawn_at > between, now
                drawn_at = now if draw else drawn_at
                yield bar_of(language, made), table_html(language, made, cards) if draw else gr.skip(), made
        yield "", table_html(language, made, cards), made
    finally:
        if _newest.get(visitor) is made:
            del _newest[visitor]


def bar_of(language: str, made: Comparison) -> str:
    """How far it is."""
    return bar_html(language, made.done, say(language, "k_compare_running", done=made.done))


@shows_errors
def to_csv(made: Comparison | None, request: gr.Request) -> str:
    """The table as a file to download, in a folder that only this visitor's downloads are in."""
    folder = downloads() / auth.name_of(request)
    folder.mkdir(exist_ok=True)
    path = folder / "kochat-compare.csv"
    made.write_csv(path, words_of(language_of(request), cards_of([column.checkpoint for column in made.columns])))
    return str(path)


def build(tab: gr.Tab) -> None:
    """The components and events of the tab."""
    gr.Markdown(t("k_compare_intro"), elem_classes="quiet")
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            questions = gr.Textbox(
                "\n".join(EXAMPLES),
                label=t("k_compare_questions"),
                info=t("k_compare_questions_info"),
                lines=7,
                max_lines=12,
                max_length=MAX_QUESTIONS * MAX_QUESTION_LENGTH,
                elem_id="compare-questions",
            )
            file = gr.UploadButton(t("k_compare_file"), size="sm", elem_id="compare-file")
        with gr.Column(scale=1, min_width=300):
            several = {"multiselect": True, "interactive": True}
            checkpoints = gr.Dropdown([], label=t("k_compare_checkpoints"), elem_id="compare-checkpoints", **several)
            labels = gr.Dropdown([], label=t("k_compare_labels"), elem_id="compare-labels", **several)
            strengths = gr.Dropdown(
                [(t("k_compare_own"), OWN), *((one, one) for one in STRENGTHS)],
                value=[OWN],
                label=t("k_compare_strengths"),
                info=t("k_compare_strengths_info"),
                elem_id="compare-strengths",
                **several,
            )
    with gr.Row():
        start = gr.Button(t("k_compare_start"), variant="primary", min_width=120, elem_id="compare-start")
        stop = gr.Button(t("k_stop"), variant="stop", visible=False, min_width=120, elem_id="compare-stop")
        csv = gr.Button(t("k_compare_csv"), visible=False, min_width=120, elem_id="compare-csv")
    link = gr.DownloadButton(elem_id="compare-link")
    bar, table = gr.HTML(elem_id="compare-bar"), gr.HTML(elem_id="comparison", padding=False)
    parts = [questions, file, checkpoints, labels, strengths, start, stop, csv, link, bar, table, gr.State(None)]
    watch(tab, CompareTab(*parts))


def watch(tab: gr.Tab, it: CompareTab) -> None:
    """The events of the tab."""
    before = gr.State([])  # the checkpoints that were chosen until now
    tab.select(refresh, [it.checkpoints, it.labels], [it.checkpoints, it.labels, before], **QUICK)

    def choose(names: list[str] | None, chosen: list[str] | None, before: list[str], request: gr.Request):
        return label_dropdown(names, chosen, before, request), names or []

    it.checkpoints.input(choose, [it.checkpoints, it.labels, before], [it.labels, before], **QUICK)
    it.file.upload(take_over, it.file, it.questions, concurrency_limit=2, **PRIVATE)
    buttons = [it.start, it.stop, it.csv, it.bar]

    def busy(request: gr.Request):
        waiting = bar_html(language_of(request), 0, say(language_of(request), "k_compare_waiting"))
        return gr.Button(interactive=False), gr.Button(visible=True), gr.Button(visible=False), waiting

    def idle(made: Comparison | None):
        has_replies = bool(made and made.done and made.columns)
        return gr.Button(interactive=True), gr.Button(visible=False), gr.Button(visible=has_replies), ""

    running = it.start.click(busy, None, buttons, **QUICK).then(
        run,
        [it.questions, it.checkpoints, it.labels, it.strengths],
        [it.bar, it.table, it.state],
        concurrency_id="compare",
        concurrency_limit=AT_ONCE,
        **PRIVATE,
    )
    ready = {"fn": idle, "inputs": it.state, "outputs": buttons, **QUICK}
    afterwards(running, **ready)
    it.stop.click(None, cancels=running, **PRIVATE)  # which ends it, so the buttons follow as they do after it
    it.csv.click(to_csv, it.state, it.link, **PRIVATE).then(None, js="kochat.saveComparison")
