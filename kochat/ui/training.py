"""The training tab: start, watch the loss fall, stop, resume, talk to the result.

Every page shows the same run on the server's disk; nothing is kept in a page, so a reload or a
second device shows the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr
import pandas as pd

from .. import checkpoint, launcher, runs
from ..journal import Record
from ..runs import RESUMABLE
from ..verdict import Verdict, verdict
from . import form, progress
from .chat import PRIVATE, ChatTab, afterwards, checkpoint_dropdown
from .text import language_of, say, shows_errors, t
from .visitors import is_owner, owner_only

COLORS = ("#2563eb", "#f97316", "#16a34a", "#93b4f5")


@dataclass
class TrainingTab:
    """What the page needs of this tab: what it shows of a run, and the inputs that tell what is new."""

    shown: list
    seen: gr.State
    waiting: gr.Dropdown
    name: gr.Textbox
    base: gr.Dropdown
    data: gr.Dropdown


def act(do: Callable[[runs.Run], None]):
    """A handler that does something with the run that this page shows, even if another is on by now."""

    @shows_errors
    @owner_only
    def handler(seen: tuple, request: gr.Request):
        if seen and seen[1]:
            do(runs.find(seen[1]))

    return handler


def finish_early(run: runs.Run) -> None:
    """Make a chatbot of what a run has learned so far."""
    launcher.resume(run, finish=True)


@shows_errors
@owner_only
def cancel(name: str | None, request: gr.Request):
    """Take a run out of the queue."""
    if name and (run := runs.find(name)).state() == "queued":
        launcher.stop(run)


def view(language: str, chosen: str | None) -> list:
    """What every page shows of the runs, in the order of TrainingTab.shown.

    `chosen` is the waiting run that somebody has picked.
    """
    run = runs.shown()
    record = run.record() if run else Record()
    state, name = (run.state(), run.checkpoint_name) if run else ("none", "")
    running, stopping, has_epochs = state == "running", record.stopping, bool(record.epochs)
    ready = state == "finished" and name in checkpoint.list_checkpoints()
    waiting = runs.queued()
    names = [one.name for one in waiting]
    return [
        progress.progress_html(language, run) if run else say(language, "k_no_run"),
        loss_plot(language, progress.curve(language, record), progress.series(language), progress.last_epoch(record)),
        gr.Dataframe(progress.epochs_table(language, record), visible=has_epochs),
        progress.samples_html(language, record),
        gr.Button(
            t("k_stopping") if stopping else t("k_stop"),
            visible=running and not record.finishing,
            interactive=not stopping,
        ),
        gr.Button(visible=ready, value=say(language, "k_talk_to", name=name)),
        gr.Button(visible=state in RESUMABLE),
        gr.Button(visible=state in RESUMABLE and run.has_state()),
        progress.queue_html(language, [(one.checkpoint_name, launcher.seconds_until_start(one)) for one in waiting]),
        gr.Dropdown(
            choices=[(one.checkpoint_name, one.name) for one in waiting],
            value=chosen if chosen in names else next(reversed(names), None),
            visible=bool(waiting),
        ),
        gr.Button(visible=bool(waiting)),
        progress.verdict_html(language, found := verdict(record)),
        gr.Button(visible=bool(found and found.changes), value=_again_text(language, found)),
    ]


def _again_text(language: str, found: Verdict | None) -> str:
    settings = progress.changes_text(language, found) if found else ""
    return say(language, "k_train_again", settings=settings)


def train_again(run: runs.Run) -> None:
    """Train anew with the settings that the verdict on a run offers."""
    found = verdict(run.record())
    if found and found.changes:
        launcher.again(run, **found.changes)


def loss_plot(language: str, frame: pd.DataFrame | None, names: list[str], last: int) -> gr.LinePlot:
    """The loss of each epoch up to the `last` one; `names` are the series in the order of their colours."""
    return gr.LinePlot(
        frame,
        color_map=dict(zip(names, itertools.cycle(COLORS), strict=False)),
        visible=frame is not None,
        x_lim=[0, last] if last else None,
        x_title=say(language, "k_epoch"),
        y_title=say(language, "k_loss"),
        color_title="",
    )


def version() -> tuple:
    """State of the runs and all else that changes whenever there is something new to show."""
    run = runs.shown()
    shown = (run.state(), run.name, len(run.events())) if run else ("none", "", 0)
    return *shown, len(runs.queued()), *checkpoint.list_checkpoints(for_chat=False)


def empty_plot(height: int = 280, **options) -> gr.LinePlot:
    """A loss curve that has nothing to show yet, `height` in pixels; "d" has ticks at whole epochs only."""
    return gr.LinePlot(
        x="epoch", y="loss", color="kind", title=t("k_curve"), height=height, show_label=False, tooltip="axis",
        buttons=[], x_axis_format="d", visible=False, **options,
    )  # fmt: skip


def build(page: gr.Blocks, chat: ChatTab, tabs: gr.Tabs) -> TrainingTab:
    """The components and events of the tab."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            inputs, start_button, stop_button = form.build(page)
            queue = gr.HTML(elem_id="queue")
            with gr.Row():
                waiting = gr.Dropdown(
                    label=t("k_queue"), visible=False, show_label=False, container=False, elem_id="waiting"
                )
                cancel_button = gr.Button(t("k_cancel"), visible=False, elem_id="cancel")
        with gr.Column(scale=3, min_width=300):
            bar = gr.HTML(elem_id="progress")
            told = gr.HTML(elem_id="verdict")
            with gr.Row():
                talk = gr.Button(variant="primary", visible=False, elem_id="talk")
                resume = gr.Button(t("k_resume"), variant="primary", visible=False, elem_id="resume")
                finish = gr.Button(t("k_finish"), visible=False, elem_id="finish")
                repeat = gr.Button(visible=False, elem_id="train-again")
            plot = empty_plot(elem_id="plot")
            table = gr.Dataframe(interactive=False, label=t("k_signs"), buttons=[], visible=False, elem_id="epochs")
            samples = gr.HTML(elem_id="samples")
    # Reading the data can take a while, with a download a long one.
    started = start_button.click(
        lambda: gr.Button(t("k_checking"), interactive=False), None, start_button, queue=False, **PRIVATE
    ).then(form.start, inputs, None, concurrency_limit=1, **PRIVATE)
    afterwards(started, lambda: gr.Button(t("k_start"), interactive=True), None, start_button, queue=False, **PRIVATE)
    seen = gr.State(())
    for button, do in (
        (stop_button, launcher.stop), (resume, launcher.resume), (finish, finish_early), (repeat, train_again),
    ):  # fmt: skip
        button.click(act(do), seen, None, **PRIVATE)
    cancel_button.click(cancel, waiting, None, **PRIVATE)

    def go_and_talk():
        ready = next((run.checkpoint_name for run in runs.list_runs() if run.state() == "finished"), None)
        return gr.Tabs(selected="chat"), checkpoint_dropdown(None, wanted=ready)

    talk.click(go_and_talk, None, [tabs, chat.checkpoint], queue=False, **PRIVATE)
    shown = [bar, plot, table, samples, stop_button, talk, resume, finish, queue, waiting, cancel_button, told, repeat]
    return TrainingTab(shown, seen, waiting, name=inputs[3], base=inputs[2], data=inputs[0])


def refresh(language: str, chosen: str, base: str, waiting: str | None, offer_name: bool) -> list:
    """Everything that changes by itself: the run's view, and what the dropdowns and the name offer."""
    names = [value for _, value in form.base_choices()]
    return [
        *view(language, waiting),
        checkpoint_dropdown(chosen),
        gr.Dropdown(choices=form.base_choices(), **({} if base in names else {"value": names[0]})),
        form.free_name(language) if offer_name else gr.skip(),
        version(),
    ]


def watch(page: gr.Blocks, opened: gr.Tab, chat: ChatTab, tab: TrainingTab) -> None:
    """Show the newest run when the page loads, and what is new once a second; offer the datasets there are."""
    for event in (page.load, opened.select):
        event(form.data_dropdown, tab.data, tab.data, queue=False, **PRIVATE)
    inputs, outputs = (
        [chat.checkpoint, tab.base, tab.waiting],
        [*tab.shown, chat.checkpoint, tab.base, tab.name, tab.seen],
    )

    def load(chosen, base, waiting, request: gr.Request):
        return refresh(language_of(request), chosen, base, waiting, offer_name=True)

    def poll(seen, chosen, base, waiting, request: gr.Request):
        now = version()
        if now == seen:
            return gr.skip()
        # Only when a run has ended: nobody is typing a name for that one any more.
        has_ended = bool(seen) and seen[0] == "running" and now[0] != "running"
        return refresh(language_of(request), chosen, base, waiting, has_ended)

    def get_ready(request: gr.Request):
        if is_owner(request):
            launcher.warm_up()

    opened.select(get_ready, None, None, queue=False, **PRIVATE)
    page.load(load, inputs, outputs, queue=False, **PRIVATE)
    gr.Timer(1.0).tick(poll, [tab.seen, *inputs], outputs, queue=False, trigger_mode="once", **PRIVATE)
