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

from kochat.config import SHIPPED_CHECKPOINTS
from kochat.errors import CheckpointError, DataError
from kochat.evaluation import heldout
from kochat.model import checkpoint
from kochat.model.card_figures import FIGURE_NAMES, evaluations, is_cross_fitted
from kochat.model.cards import Card
from kochat.runs import evaluation_job
from kochat.runs.evaluation_job import Job
from kochat.ui import auth, sources
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, afterwards, bar_html, glossary_html

HELD_OUT = "held-out"
BASELINES = ("nearest_exact", "frequent_exact", "linear_label_accuracy", "nearest_label_accuracy")
BESIDE = (*BASELINES, "recogniser_accuracy")  # what the figure above is held against
CROSS_FITTED = ("recognised", "recogniser_accuracy")
NATS = ("nll_per_char", "perplexity_per_token", "true_label_gain")  # the others are shares
GLOSSARY = ("exact", "label_accuracy", "nll", "perplexity", "distinct", "recognised", "interval")
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
    card, job = checkpoint.read_card(path), evaluation_job.newest(path)
    recorded = card.metrics.get("evaluation")
    unkept = bool(job and job.figures and not job.recorded)
    # Of two tables about the same questions the newer one says it all.
    replaced = unkept and job.figures["held_out"]
    shown = table_html(language, recorded, card.data) if recorded and not replaced else ""
    if unkept:
        shown += table_html(language, job.figures, card.data)
        shown += f'<p class="quiet">{html.escape(say(language, "k_not_kept"))}</p>'
    shown = shown or f'<p class="quiet">{html.escape(say(language, "k_not_evaluated"))}</p>'
    return shown + glossary_html(language, GLOSSARY)


def table_html(language: str, recorded: dict[str, Any], data: dict[str, Any]) -> str:
    """One row a figure: what it is, its value and interval in each part; baselines below what they are held against.

    `recorded` is the evaluation of a card, `data` what that says of its data.
    """
    parts = evaluations({"evaluation": recorded})
    # Earlier versions measured no intervals, and of one question there are none.
    around = any(figures.get("intervals") for figures in parts.values())
    columns = ["k_figure"]
    for part in parts:
        value = f"k_part_{part}" if len(parts) > 1 else "k_value"
        columns += [value, *(["k_interval"] if around else []), "k_figure_questions"]
    head = "".join(f"<th>{html.escape(say(language, key))}</th>" for key in columns)
    keys = [key for key in FIGURE_NAMES if key != "questions" and any(key in figures for figures in parts.values())]
    body = "".join(_row(language, list(parts.values()), key, around) for key in keys)
    caption = html.escape(_caption(language, parts))
    table = f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return table + "".join(f'<p class="quiet">{html.escape(one)}</p>' for one in _caveats(language, data, parts))


def _caption(language: str, parts: dict[str, dict[str, Any]]) -> str:
    facts = [say(language, "k_on_given" if "given" in parts else "k_on_held_out")]
    for part, figures in parts.items():
        asked = say(language, "k_pairs_asked", n=figures["questions"])
        facts.append(f"{say(language, f'k_part_{part}')} {asked}" if len(parts) > 1 else asked)
    strengths = [figures["strength"] for figures in parts.values() if "strength" in figures]
    return " · ".join([*facts, *(say(language, "k_at_strength", strength=one) for one in strengths[:1])])


def _caveats(language: str, data: dict[str, Any], parts: dict[str, dict[str, Any]]) -> list[str]:
    if "validation" in parts and "test" not in parts:
        return [say(language, "k_no_test_part")]
    known = data.get("test_known_to_base") if "test" in parts else 0
    return [say(language, "k_test_known_to_base", known=known)] if known else []


def _row(language: str, parts: list[dict[str, Any]], key: str, around: bool) -> str:
    def shown(value: float) -> str:
        return f"{value:.3f}" if key in NATS else f"{value:.1%}"

    kind, cells = ' class="baseline"' if key in BESIDE else "", []
    for figures in parts:
        interval = " – ".join(map(shown, (figures.get("intervals") or {}).get(key, ())))
        cells += [shown(figures[key]) if key in figures else "", *([interval] if around else [])]
        cells.append(str(figures["questions"]))
    name = say(language, f"k_figure_{key}")
    if key in CROSS_FITTED:
        how = "k_cross_fitted" if all(map(is_cross_fitted, parts)) else "k_in_sample"
        name += f" ({say(language, how)})"
    body = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f"<tr{kind}><th>{html.escape(name)}</th>{body}</tr>"


def source_choices(name: str | None, request: gr.Request) -> tuple[gr.Dropdown, gr.File]:
    """What a checkpoint can be measured on: first what its training kept out, where that can be had again.

    With it the place for a file, since a choice that stays the same shows nothing by itself.
    """
    path = checkpoint.list_checkpoints().get(name or "")
    kept_out = bool(path) and any(heldout.own_data(checkpoint.read_card(path)))
    own = [(key, sources.PREFIX + key) for key in auth.datasets_of(request)]
    choices = [(t("k_on_held_out"), HELD_OUT)] * kept_out + own * auth.is_owner(request) + sources.data_choices()
    value = HELD_OUT if kept_out else sources.OWN_FILE
    return gr.Dropdown(choices=choices, value=value), gr.File(visible=not kept_out)


def show(name: str | None, request: gr.Request) -> str:
    """The figures of the checkpoint chosen."""
    return figures_html(language_of(request), name)


def data_for(card: Card, source: str | None, upload: str | None, request: gr.Request) -> tuple[str, bool]:
    """The file, or the known name, to measure on, and whether only what was kept out of it. Raises DataError."""
    if source == HELD_OUT:
        return heldout.own_source(card), True
    if source == sources.OWN_FILE:
        sources.check_upload(upload)
        data = str(upload)
    elif (source or "").startswith(sources.PREFIX):
        data = str(sources.snapshot(source.removeprefix(sources.PREFIX), request))
    elif source in [value for _, value in sources.data_choices()]:
        data = source
    else:
        raise DataError("no_file", path=source or "")
    # Of what it was trained on only the rest tells anything.
    return data, heldout.has_held_out(card, data)


@shows_errors
@auth.owner_only
def start(name: str | None, source: str | None, upload: str | None, request: gr.Request) -> None:
    """Start to measure the checkpoint chosen. Raises KochatError.

    The figures go into its card; but not into that of a shipped one, and those of a file never replace those
    of the questions that were kept out.
    """
    path = path_of(name)
    card = checkpoint.read_card(path)
    data, held_out = data_for(card, source, upload, request)
    keeps = held_out or not (card.metrics.get("evaluation") or {}).get("held_out")
    evaluation_job.start(path, data, held_out, record=keeps and path.parent != SHIPPED_CHECKPOINTS)


@shows_errors
def follow(request: gr.Request) -> Iterator[str]:
    """The progress bar of the evaluation that is on, whoever started it. Raises what ended it."""
    job, language = evaluation_job.running(), language_of(request)
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
        sources.data_choices(),
        value=sources.OWN_FILE,
        label=t("k_evaluate_on"),
        info=t("k_evaluate_info"),
        interactive=True,
        filterable=False,
        elem_id="evaluate-on",
    )
    upload = gr.File(label=t("k_upload"), visible=False, height=155, elem_id="evaluate-file")
    button = gr.Button(t("k_evaluate"), elem_id="evaluate")
    bar = gr.HTML(elem_id="evaluate-bar")
    source.change(lambda value: gr.File(visible=value == sources.OWN_FILE), source, upload, **QUICK)
    look = {"fn": show, "inputs": chosen, "outputs": shown, **QUICK}
    gr.on([chosen.change, tab.select], source_choices, chosen, [source, upload], **QUICK)
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
