"""What was taught in the chat and is to be learned: how much that is, and the training that learns it.

A checkpoint is asked each taught question once; what it answers otherwise is to be learned.
"""

from __future__ import annotations

import functools
import html
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pandas as pd

from kochat.config import TrainingConfig, home
from kochat.data import pairs, review, taught
from kochat.data.pairs import Pair
from kochat.errors import DataError
from kochat.model import checkpoint
from kochat.runs import queue
from kochat.runs.registry import Run
from kochat.training import teaching
from kochat.ui import auth, lessons, models, progress, sources
from kochat.ui.progress import loss_plot
from kochat.ui.text import language_of, say, shows_errors
from kochat.ui.widgets import checkpoint_dropdown

BETWEEN_LOOKS = 1.0  # seconds


def rows_of(request: gr.Request) -> list:
    """What a visitor taught, the newest first."""
    dataset = lessons.opened(request)
    if not dataset:
        return []
    total = dataset.counts().rows
    rows, _ = dataset.page(max(0, total - taught.MAX_SHOWN), taught.MAX_SHOWN)
    return rows[::-1]


def others(name: str | None) -> set[str]:
    """The checkpoints whose corrections are not for this one: all but itself and what it was trained from.

    One that is gone is not among them: what it was taught is nobody else's any more.
    """
    there, own = checkpoint.list_checkpoints(), set()
    while name in there and name not in own:
        own.add(name)
        name = checkpoint.read_card(there[name]).base
    return there.keys() - own


def lesson(name: str | None, request: gr.Request):
    """All that the button lets a checkpoint learn. What visitors taught is among it when the owner has accepted it."""
    return taught.learnable(auth.folder_of(request), others(name))


@functools.lru_cache(maxsize=8)
def _known_of(folder: Path, changed: float) -> teaching.Known:
    """What a checkpoint has been asked so far; a card that changed makes it another one."""
    return {}


@functools.lru_cache(maxsize=4)
def _pairs_of(folder: Path, changed: float) -> frozenset[Pair]:
    return frozenset(checkpoint.read_pairs(folder, folder.name))


def waiting_for(name: str | None, table: pd.DataFrame) -> tuple[pd.DataFrame, list[Pair]]:
    """The taught pairs that a checkpoint answers otherwise, and those that it has to be asked before all is known."""
    if name not in checkpoint.list_checkpoints():
        return table, []
    version = models.version(name)
    known = _known_of(*version)
    trained_on = _pairs_of(*version) if len(table) > teaching.MAX_ASKED else frozenset()
    return teaching.not_learned(table, known, trained_on), teaching.to_ask(table, known)


def asked(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The taught pairs that a checkpoint answers otherwise; it is asked what it was not asked yet."""
    waiting, to_ask = waiting_for(name, table)
    if not to_ask:
        return waiting
    known = _known_of(*models.version(name))
    for _ in teaching.ask(models.bot(name), to_ask, known):
        pass
    return waiting_for(name, table)[0]


def summary_of(name: str | None, num_taught: int, waiting: int | None, request: gr.Request) -> str:
    """What is left to do with what was taught: learned, corrected, or nothing; `waiting` None: the bot is being asked.

    One number at a time: first what it can learn now, then what lacks a better answer; to the owner also how much of
    the visitors' is to be decided on.
    """
    if not auth.may_teach(request):
        return ""
    language, not_its_own = language_of(request), others(name)
    num_open = sum(row.is_bad and taught.taught_to(row) not in not_its_own for row in rows_of(request))
    if num_taught and not auth.is_owner(request):
        return say(language, "k_taught_by_visitor", n=num_taught)
    if num_taught and waiting is None:
        own = say(language, "k_taught_asking")
    elif waiting:
        own = say(language, "k_taught_waiting", n=waiting)
    elif num_open:
        own = say(language, "k_taught_open", n=num_open)
    else:
        own = say(language, "k_taught_all" if num_taught else "k_taught_none")
    to_review = len(review.waiting(auth.datasets(), auth.visitors())) if auth.is_owner_themselves(request) else 0
    return own + ("  \n" + say(language, "k_review_waiting", n=to_review) if to_review else "")


def learn_button(waiting: int, request: gr.Request) -> gr.Button:
    """The button that learns what was taught, with how much that is; only where there is something, for the owner."""
    text = say(language_of(request), "k_learn", n=waiting)
    return gr.Button(text, visible=waiting > 0 and auth.is_owner(request))


def config_of(name: str, request: gr.Request) -> TrainingConfig:
    """The settings of a training of checkpoint `name` on what was taught. Raises KochatError."""
    table = lesson(name, request)
    if table.empty:
        raise DataError("nothing_taught")
    table = teaching.lesson(table, asked(name, table))
    data = pairs.keep(pairs.as_csv(table), f"{taught.NAME}.csv", home() / "uploads")
    output = checkpoint.folder_of(sources.free_name(language_of(request), "k_taught_stem"))
    config = teaching.config_for(str(data), len(table), sources.base_source(name), str(output))
    # Everybody sees the samples of a run, so no visitor's words are among them.
    own = [row.Q for row in rows_of(request) if not row.is_bad and review.is_owners(row)]
    samples = dict.fromkeys([*own, *config.sample_questions])
    return replace(config, sample_questions=tuple(samples)[:4])


@shows_errors
def learn(name: str, request: gr.Request) -> Iterator[tuple]:
    """Train the checkpoint of the chat on what was taught, show how, and go on with the result.

    The last of what it yields says whether the training is over.
    """
    auth.require_owner(request)
    language, run, drawn = language_of(request), queue.start(config_of(name, request)), -1
    while run.state() in ("queued", "running"):
        # Drawing takes the browser longer than anything else here, so it draws what is new.
        epochs = len(run.record().epochs)
        curve = curve_of(language, run, epochs != drawn)
        yield bar_of(language, run), curve, gr.skip(), gr.Button(interactive=False), False
        drawn = epochs
        time.sleep(BETWEEN_LOOKS)
    chosen, finished = checkpoint_dropdown(name, run.checkpoint_name), run.state() == "finished"
    # What the new checkpoint does not say either, it is asked next.
    yield (
        bar_of(language, run),
        curve_of(language, run),
        chosen,
        gr.Button(interactive=True, visible=not finished),
        True,
    )
    if finished:
        gr.Info(html.escape(say(language, "k_learned", name=run.checkpoint_name)))


def put_away(is_over: bool) -> tuple:
    """Progress bar and curve of a training that is over make room for the next reply."""
    return (gr.HTML(visible=False), gr.LinePlot(visible=False)) if is_over else (gr.skip(), gr.skip())


def bar_of(language: str, run: Run) -> gr.HTML:
    """How far a run is."""
    return gr.HTML(progress.progress_html(language, run), visible=True)


def curve_of(language: str, run: Run, is_new: bool = True):
    """The loss of a run, epoch by epoch; nothing where nothing is new."""
    record = run.record()
    curve, last = progress.curve(language, record), progress.last_epoch(record)
    return loss_plot(language, curve, progress.series(language), last) if is_new else gr.skip()
