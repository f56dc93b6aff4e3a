"""How steps train: one at a time, for the owner alone, with a line for each epoch, and ended with the page.

Knows experiments as generators and components; not what comes out of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from kochat.config import DEFAULT_CHECKPOINT
from kochat.ui.auth import require_owner
from kochat.ui.learn.frame import Step, outcome
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, afterwards, bar_html

if TYPE_CHECKING:
    from kochat.evaluation.experiments import Tick

BETWEEN_PICTURES = 0.5  # seconds, of the bar between epochs
QUICK = {"queue": False, **PRIVATE}
Experiment = Callable[[Any], Iterator]  # of a base
Told = Callable[[str, str | None, Any], str]  # of a language, a prediction and what came out: HTML
Drawn = Callable[[str, list], Any]  # of a language and the epochs so far: the value of a plot


def tick_html(language: str, tick: Tick) -> str:
    """How far it is: which training, which epoch, the loss, how many own answers are right."""
    event = tick.event
    told = say(language, "k_learn_run", run=tick.run, runs=tick.runs)
    told += f" · {say(language, 'k_loss')} {event.loss:.2f}"
    if hasattr(event, "epoch"):
        told += " · " + say(language, "k_epochs_done", done=event.epoch, total=event.epochs)
        if event.own_asked:
            told += " · " + say(language, "k_own_now", right=event.own_right, asked=event.own_asked)
    return bar_html(language, tick.done, told)


def run(experiment: Experiment, told: Told, drawn: Drawn | None, predicted: str | None, request: gr.Request):
    """Go through an experiment; yields what is shown and whether it is finished. Raises KochatError.

    It runs in this process, on its own only between two yields: whoever closes this generator ends it.
    """
    require_owner(request)
    from kochat.evaluation.experiments import Tick
    from kochat.training.trainer import with_own_random_numbers

    language, shown_at, epochs = language_of(request), 0.0, []
    with contextlib.closing(with_own_random_numbers(experiment(DEFAULT_CHECKPOINT))) as going:
        for event in going:
            if not isinstance(event, Tick):
                yield told(language, predicted, event), True, *([gr.skip()] if drawn else [])
                return
            is_epoch = hasattr(event.event, "epoch")
            epochs += [event.event] if is_epoch else []
            if is_epoch or time.monotonic() - shown_at > BETWEEN_PICTURES:
                shown_at = time.monotonic()
                plot = drawn(language, epochs) if drawn and is_epoch else gr.skip()
                yield tick_html(language, event), False, *([plot] if drawn else [])


def build(made: Step, key: str, experiment: Experiment, told: Told, drawn: Drawn | None = None, plot=None) -> None:
    """The button that trains, the one that stops it, the place for what happened, and the events."""
    with gr.Row():
        act = made.button(key)
        stop = gr.Button(
            t("k_stop"), variant="stop", visible=False, elem_id=f"learn-{made.number}-stop", elem_classes="action"
        )
    picture = [plot()] if plot else []
    shown = outcome()

    @shows_errors
    def go_through(predicted: str | None, request: gr.Request):
        yield from run(experiment, told, drawn, predicted, request)

    @shows_errors
    def busy(request: gr.Request):
        require_owner(request)  # before the queue, where somebody else's training may be on
        language = language_of(request)
        waiting = bar_html(language, 0, say(language, "k_compare_waiting"))
        return gr.Button(interactive=False), gr.Button(visible=True), waiting, False

    def idle(finished: bool):
        return gr.Button(interactive=True), gr.Button(visible=False), gr.skip() if finished else ""

    running = act.click(busy, None, [act, stop, shown, made.finished], **PRIVATE).success(
        go_through,
        made.prediction,
        [shown, made.finished, *picture],
        concurrency_id="learn-training",
        concurrency_limit=1,
        **PRIVATE,
    )
    afterwards(running, idle, made.finished, [act, stop, shown], **QUICK)
    stop.click(None, cancels=running, **PRIVATE)  # which ends it, so the buttons follow as they do after it
