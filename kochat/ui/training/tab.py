"""The training tab: start, watch the loss fall, stop, resume, talk to the result.

Every page shows the same run on the server's disk; nothing is kept in a page, so a reload or a
second device shows the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from kochat.model import checkpoint
from kochat.runs import queue, registry
from kochat.runs.journal import Record
from kochat.runs.registry import RESUMABLE
from kochat.runs.verdict import Verdict, verdict
from kochat.ui import empty, progress, sources
from kochat.ui.auth import is_owner, owner_only, require_owner_themselves
from kochat.ui.progress import empty_plot, loss_plot
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.training import form
from kochat.ui.widgets import PRIVATE, ChatTab, afterwards, checkpoint_dropdown, following


@dataclass
class TrainingTab:
    """What the page needs of this tab: what it shows of a run, and the inputs that tell what is new."""

    shown: list
    seen: gr.State
    waiting: gr.Dropdown
    name: gr.Textbox
    base: gr.Dropdown
    data: gr.Dropdown
    news: gr.HTML  # its `change` comes when runs or checkpoints have changed
    planning: dict


def act(do: Callable[[registry.Run], None]):
    """A handler that does something with the run that this page shows, even if another is on by now."""

    @shows_errors
    @owner_only
    def handler(seen: tuple, request: gr.Request):
        if seen and seen[1]:
            run = registry.find(seen[1])
            if run.is_elsewhere():  # the owner pays for it
                require_owner_themselves(request)
            do(run)

    return handler


def finish_early(run: registry.Run) -> None:
    """Make a chatbot of what a run has learned so far."""
    queue.resume(run, finish=True)


@shows_errors
@owner_only
def cancel(name: str | None, request: gr.Request):
    """Take a run out of the queue."""
    if name and (run := registry.find(name)).state() == "queued":
        queue.stop(run)


def view(language: str, chosen: str | None) -> list:
    """What every page shows of the runs, in the order of TrainingTab.shown.

    `chosen` is the waiting run that somebody has picked.
    """
    run = registry.shown()
    record = run.record() if run else Record()
    state, name = (run.state(), run.checkpoint_name) if run else ("none", "")
    running, stopping, has_epochs = state == "running", record.stopping, bool(record.epochs)
    ready = state == "finished" and name in checkpoint.list_checkpoints()
    waiting = registry.queued()
    names = [one.name for one in waiting]
    return [
        progress.progress_html(language, run) if run else empty.runs_html(language, "k_no_run"),
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
        progress.queue_html(language, [(one.checkpoint_name, queue.seconds_until_start(one)) for one in waiting]),
        gr.Dropdown(
            choices=[(one.checkpoint_name, one.name) for one in waiting],
            value=chosen if chosen in names else next(reversed(names), None),
            visible=bool(waiting),
        ),
        gr.Button(visible=bool(waiting)),
        progress.verdict_html(language, found := verdict(record)),
        gr.Button(visible=bool(found and found.changes), value=_again_text(language, found)),
        start_button_now(),
    ]


def start_button_now(**state) -> gr.Button:
    """The button that starts a run: while one is on, it says that the next one waits, and stays in the background.

    Whether it can be pressed is for whoever has pressed it: what was chosen may still be read.
    """
    is_busy = bool(registry.running() or registry.queued())
    name, variant = ("k_start_next", "secondary") if is_busy else ("k_start", "primary")
    return gr.Button(t(name), variant=variant, **state)


def _again_text(language: str, found: Verdict | None) -> str:
    settings = progress.changes_text(language, found) if found else ""
    return say(language, "k_train_again", settings=settings)


def train_again(run: registry.Run) -> None:
    """Train anew with the settings that the verdict on a run offers."""
    found = verdict(run.record())
    if found and found.changes:
        queue.again(run, **found.changes)


def version() -> tuple:
    """State of the runs and all else that changes whenever there is something new to show."""
    run = registry.shown()
    shown = (run.state(), run.name, len(run.events())) if run else ("none", "", 0)
    return *shown, len(registry.queued()), *checkpoint.list_checkpoints(for_chat=False)


def build(chat: ChatTab, tabs: gr.Tabs) -> TrainingTab:
    """The components and events of the tab."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            inputs, start_button, stop_button, planning = form.build()
            waiting_list = gr.HTML(elem_id="queue")
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
    afterwards(started, lambda: start_button_now(interactive=True), None, start_button, queue=False, **PRIVATE)
    seen = gr.State(())
    for button, do in (
        (stop_button, queue.stop),
        (resume, queue.resume),
        (finish, finish_early),
        (repeat, train_again),
    ):
        button.click(act(do), seen, None, **PRIVATE)
    cancel_button.click(cancel, waiting, None, **PRIVATE)

    def go_and_talk():
        ready = next((run.checkpoint_name for run in registry.list_runs() if run.state() == "finished"), None)
        return gr.Tabs(selected="chat"), checkpoint_dropdown(None, wanted=ready)

    talk.click(go_and_talk, None, [tabs, chat.checkpoint], queue=False, **PRIVATE)
    shown = [
        bar,
        plot,
        table,
        samples,
        stop_button,
        talk,
        resume,
        finish,
        waiting_list,
        waiting,
        cancel_button,
        told,
        repeat,
        start_button,
    ]
    parts = {"name": inputs[3], "base": inputs[2], "data": inputs[0], "planning": planning}
    return TrainingTab(shown, seen, waiting, **parts, news=following("runs"))


def refresh(language: str, chosen: str, base: str, waiting: str | None, offer_name: bool) -> list:
    """Everything that changes by itself: the run's view, and what the dropdowns and the name offer."""
    seen = version()  # first: what happens meanwhile is then looked at again
    names = [value for _, value in sources.base_choices()]
    return [
        *view(language, waiting),
        checkpoint_dropdown(chosen),
        gr.Dropdown(choices=sources.base_choices(), **({} if base in names else {"value": names[0]})),
        sources.free_name(language) if offer_name else gr.skip(),
        seen,
    ]


def watch(opened: gr.Tab, chat: ChatTab, tab: TrainingTab) -> None:
    """Show the newest run when the tab is opened, and what is new while it is open; offer the datasets there are."""
    opened.select(sources.data_dropdown, tab.data, tab.data, queue=False, **PRIVATE)
    inputs, outputs = (
        [chat.checkpoint, tab.base, tab.waiting],
        [*tab.shown, chat.checkpoint, tab.base, tab.name, tab.seen],
    )

    def poll(seen, chosen, base, waiting, request: gr.Request):
        now = version()
        if now == seen:
            return gr.skip()
        # Only at first and when a run has ended: nobody is typing a name for that one any more.
        offers_name = not seen or (now[0] != "running" and (seen[0] == "running" or seen[1] != now[1]))
        return refresh(language_of(request), chosen, base, waiting, offers_name)

    def get_ready(request: gr.Request):
        if is_owner(request):
            queue.warm_up()

    # One after the other: a machine that imports torch beside is measured too slow.
    opened.select(**tab.planning).then(get_ready, None, None, queue=False, **PRIVATE)
    # One event of both, so that the second waits for the first: beside it, it would put the offered name over one that
    # somebody has typed meanwhile.
    news = [opened.select, tab.news.change]
    gr.on(news, poll, [tab.seen, *inputs], outputs, queue=False, trigger_mode="always_last", **PRIVATE)
