"""The figures of a checkpoint in the chatbots tab, and the button that measures them.

Everybody may look; the owner measures. The evaluation belongs to the server, not to a page: closing the page
does not end it, and every page that opens the tab meanwhile sees how far it is.
"""

from __future__ import annotations

import html
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from .. import checkpoint, evaluating, heldout
from ..cards import FIGURE_NAMES, Card
from ..config import SHIPPED_CHECKPOINTS
from ..errors import CheckpointError, DataError
from ..evaluating import Job
from . import form, visitors
from .chat import PRIVATE, afterwards
from .importing import bar_html
from .text import language_of, say, shows_errors, t

HELD_OUT = "held-out"
BASELINES = ("nearest_exact", "frequent_exact", "linear_label_accuracy", "nearest_label_accuracy")
BESIDE = (*BASELINES, "recogniser_accuracy")  # what the figure above is held against
NATS = ("nll_per_char", "perplexity_per_token", "true_label_gain")  # the others are shares
BETWEEN_LOOKS = 0.3  # seconds
QUICK = {"queue": False, **PRIVATE}


def path_of(name: str | None) -> Path:
    """The folder of a checkpoint that talks; only names count, never a path. Raises CheckpointError."""
    path = checkpoint.list_checkpoints().get(name or "")
    if path is None:
        raise CheckpointError("no_checkpoint", path=name or "")
    return path


def figures_html(language: str, name: str | None) -> str:
    """The figures in the card of a checkpoint, and those measured since that are not in it."""
    path = checkpoint.list_checkpoints().get(name or "")
    if path is None:
        return ""
    card, job = checkpoint.read_card(path), evaluating.newest(path)
    recorded = card.metrics.get("evaluation")
    unkept = bool(job and job.figures and not job.recorded)
    # Of two tables about the same questions the newer one says it all.
    replaced = unkept and job.figures["held_out"]
    shown = table_html(language, recorded) if recorded and not replaced else ""
    if unkept:
        shown += table_html(language, job.figures) + f'<p class="quiet">{html.escape(say(language, "k_not_kept"))}</p>'
    shown = shown or f'<p class="quiet">{html.escape(say(language, "k_not_evaluated"))}</p>'
    title = html.escape(say(language, "k_figures"))
    return f"<h3>{title}</h3>{shown}"


def table_html(language: str, figures: dict[str, Any]) -> str:
    """One row a figure: what it is, its value, its interval; baselines stand below what they are held against."""
    where = say(language, "k_on_held_out" if figures.get("held_out") else "k_on_given")
    facts = [where, say(language, "k_pairs_asked", n=figures["questions"])]
    if "strength" in figures:
        facts.append(say(language, "k_at_strength", strength=figures["strength"]))
    # Earlier versions measured no intervals, and of one question there are none.
    columns = ["k_figure", "k_value", *(["k_interval"] if figures.get("intervals") else []), "k_figure_questions"]
    head = "".join(f"<th>{html.escape(say(language, key))}</th>" for key in columns)
    body = "".join(_row(language, figures, key) for key in FIGURE_NAMES if key in figures and key != "questions")
    caption = html.escape(" · ".join(facts))
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(language: str, figures: dict[str, Any], key: str) -> str:
    def shown(value: float) -> str:
        return f"{value:.3f}" if key in NATS else f"{value:.1%}"

    kind, intervals = ' class="baseline"' if key in BESIDE else "", figures.get("intervals")
    around = [" – ".join(map(shown, intervals.get(key, ())))] if intervals else []
    cells = [shown(figures[key]), *around, str(figures["questions"])]
    name = html.escape(say(language, f"k_figure_{key}"))
    return f"<tr{kind}><th>{name}</th>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def sources(name: str | None, request: gr.Request) -> tuple[gr.Dropdown, gr.File]:
    """What a checkpoint can be measured on: first what its training kept out, where that can be had again.

    With it the place for a file, since a choice that stays the same shows nothing by itself.
    """
    path = checkpoint.list_checkpoints().get(name or "")
    kept_out = bool(path) and any(heldout.own_data(checkpoint.read_card(path)))
    own = [(visitors.shown_name(language_of(request), key), form.PREFIX + key) for key in visitors.datasets_of(request)]
    choices = [(t("k_on_held_out"), HELD_OUT)] * kept_out + own * visitors.is_owner(request) + form.data_choices()
    value = HELD_OUT if kept_out else form.OWN_FILE
    return gr.Dropdown(choices=choices, value=value), gr.File(visible=not kept_out)


def show(name: str | None, request: gr.Request) -> str:
    """The figures of the checkpoint chosen."""
    return figures_html(language_of(request), name)


def data_for(card: Card, source: str | None, upload: str | None, request: gr.Request) -> tuple[str, bool]:
    """The file, or the known name, to measure on, and whether only what was kept out of it. Raises DataError."""
    if source == HELD_OUT:
        return heldout.own_source(card), True
    if source == form.OWN_FILE:
        form.check_upload(upload)
        data = str(upload)
    elif (source or "").startswith(form.PREFIX):
        data = str(form.snapshot(source.removeprefix(form.PREFIX), request))
    elif source in [value for _, value in form.data_choices()]:
        data = source
    else:
        raise DataError("no_file", path=source or "")
    # Of what it was trained on only the rest tells anything.
    return data, heldout.has_held_out(card, data)


@shows_errors
@visitors.owner_only
def start(name: str | None, source: str | None, upload: str | None, request: gr.Request) -> None:
    """Start to measure the checkpoint chosen. Raises KochatError.

    The figures go into its card; but not into that of a shipped one, and those of a file never replace those
    of the questions that were kept out.
    """
    path = path_of(name)
    card = checkpoint.read_card(path)
    data, held_out = data_for(card, source, upload, request)
    keeps = held_out or not (card.metrics.get("evaluation") or {}).get("held_out")
    evaluating.start(path, data, held_out, record=keeps and path.parent != SHIPPED_CHECKPOINTS)


@shows_errors
def follow(request: gr.Request) -> Iterator[str]:
    """The progress bar of the evaluation that is on, whoever started it. Raises what ended it."""
    job, language = evaluating.running(), language_of(request)
    while job and not job.over:
        text = say(language, "k_evaluating", name=job.checkpoint.name, done=job.done)
        yield bar_html(language, job.done, text)
        time.sleep(BETWEEN_LOOKS)
    yield ""
    _complain(job)


def _complain(job: Job | None) -> None:
    if job and job.failure:
        raise job.failure


def build(chosen: gr.Dropdown, tab: gr.Tab) -> None:
    """The components and events, below the card of the checkpoint chosen."""
    shown = gr.HTML(elem_id="figures")
    source = gr.Dropdown(
        form.data_choices(), value=form.OWN_FILE, label=t("k_evaluate_on"), info=t("k_evaluate_info"),
        interactive=True, filterable=False, elem_id="evaluate-on",
    )  # fmt: skip
    upload = gr.File(label=t("k_upload"), visible=False, height=130, elem_id="evaluate-file")
    button = gr.Button(t("k_evaluate"), elem_id="evaluate")
    bar = gr.HTML(elem_id="evaluate-bar")
    source.change(lambda value: gr.File(visible=value == form.OWN_FILE), source, upload, **QUICK)
    look = {"fn": show, "inputs": chosen, "outputs": shown, **QUICK}
    gr.on([chosen.change, tab.select], sources, chosen, [source, upload], **QUICK)
    chosen.change(**look)
    watching = {"outputs": bar, "concurrency_limit": 32, "concurrency_id": "watch evaluation", **PRIVATE}
    afterwards(tab.select(**look).then(follow, None, **watching), **look)
    running = button.click(lambda: gr.Button(interactive=False), None, button, **QUICK).then(
        start, [chosen, source, upload], None, concurrency_limit=1, **PRIVATE
    )
    # A failed start ends here; there is nothing to follow, but perhaps one that somebody else has started.
    followed = running.success(follow, None, **watching)
    for event in (running.failure, followed.then, followed.failure):
        event(lambda: gr.Button(interactive=True), None, button, **QUICK).then(**look)
