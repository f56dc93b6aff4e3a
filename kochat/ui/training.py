"""The training tab: choose data and base, start, watch the loss fall, stop, talk to the result.

Every page shows the newest run on the server's disk; nothing is kept in a page, so a reload or a
second device shows the same.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr

from .. import checkpoint, hub, pairs, runs
from ..config import KOGPT2, NOTEBOOK_DEFAULTS, TrainingConfig, home
from ..errors import CheckpointError, DataError
from . import progress
from .chat import PRIVATE, ChatTab, checkpoint_dropdown
from .text import language_of, say, shows_errors, t

OWN_FILE = "own"
READY = ("finished", "stopped")
COLORS = ("#2563eb", "#f97316")


@dataclass
class TrainingTab:
    """What the page needs of this tab: what it shows of a run, and the inputs that tell what is new."""

    shown: list
    seen: gr.State
    name: gr.Textbox
    base: gr.Dropdown


def data_choices() -> list[tuple]:
    """The datasets by name, and a file of one's own."""
    return [(t(f"k_data_{name}"), name) for name in ("emotions", "jobs", "ChatbotData", OWN_FILE)]


def base_choices() -> list[tuple[str, str]]:
    """What can be trained further: every checkpoint here, and KoGPT2 on the Hub."""
    names = list(checkpoint.list_checkpoints(for_chat=False))
    return [(name, name) for name in names] + [(f"KoGPT2 ({KOGPT2})", KOGPT2)]


def base_source(base: str) -> str:
    """The folder of a checkpoint in the list, or a Hub id; never a path. Raises CheckpointError."""
    path = checkpoint.list_checkpoints(for_chat=False).get(base)
    if path:
        return str(path)
    if hub.looks_like_hub_id(base):
        return base
    raise CheckpointError("no_checkpoint", path=base)


def defaults_of(base: str) -> dict:
    """The settings that a base brings: its own, else the notebook's."""
    path = checkpoint.list_checkpoints(for_chat=False).get(base)
    return {**NOTEBOOK_DEFAULTS, **(checkpoint.read_card(path).defaults if path else {})}


def free_name(language: str) -> str:
    """A name that no checkpoint has yet."""
    stem, taken = say(language, "k_name_stem"), checkpoint.names_taken()
    return next(name for number in itertools.count(1) if (name := f"{stem}-{number}") not in taken)


def make_config(source: str, base: str, name: str, **settings) -> TrainingConfig:
    """The settings of a run, its data read once so that what is wrong with them is said at once."""
    config = TrainingConfig(data=source, base=base_source(base), output=str(checkpoint.folder_of(name)), **settings)
    if checkpoint.safe_name(name) in checkpoint.names_taken():
        raise CheckpointError("name_taken", name=name)
    pairs.read_pairs(source, rows=config.rows)
    return config


@shows_errors
def start(data, upload, base, name, epochs, batch_size, learning_rate, share, rows, request: gr.Request):
    """Start a run with what the form says."""
    runs.check_idle()
    if data == OWN_FILE and not upload:
        raise DataError("no_upload")
    settings = {"epochs": _whole(epochs), "batch_size": _whole(batch_size), "rows": _whole(rows)}
    settings |= {"learning_rate": learning_rate, "validation_share": share}
    config = make_config(upload if data == OWN_FILE else data, base, name, **settings)
    if data == OWN_FILE:  # gradio's copy goes some day; a run may be looked at, or continued, later
        config = replace(config, data=str(pairs.keep(Path(upload).read_bytes(), upload, home() / "uploads")))
    runs.start(config)


def _whole(number: float | None) -> int | float | None:
    # The page may send 5 as 5.0; 5.5 is refused by the settings, with a sentence.
    return int(number) if isinstance(number, float) and number.is_integer() else number


def stop_active():
    """Stop the run that is on, if there is one."""
    run = runs.active()
    if run:
        run.stop()


@functools.lru_cache(maxsize=4)
def _events(path: Path, size: int) -> list[dict]:
    return runs.Run(path).events()


def newest() -> tuple[runs.Run | None, list[dict], str]:
    """The newest run, its events and its state."""
    found = runs.list_runs()
    if not found:
        return None, [], "none"
    run = found[0]
    events = _events(run.path, run.journal_size())
    return run, events, run.state(events)


def view(language: str) -> list:
    """What every page shows of the newest run, in the order of TrainingTab.shown."""
    run, events, state = newest()
    name = run.checkpoint_name if run else ""
    running, ready = state == "running", state in READY and name in checkpoint.list_checkpoints()
    names = [say(language, "k_training_loss"), say(language, "k_validation_loss")]
    axes = {"x_title": say(language, "k_epoch"), "y_title": say(language, "k_loss"), "color_title": ""}
    stopping = running and run.should_stop()
    return [
        progress.progress_html(language, name, state, events) if run else say(language, "k_no_run"),
        gr.LinePlot(
            progress.curve(language, events),
            color_map=dict(zip(names, COLORS, strict=True)),
            visible=bool(progress.of_type(events, "epoch")),
            **axes,
        ),
        gr.Dataframe(progress.epochs_table(language, events), visible=bool(progress.of_type(events, "epoch"))),
        progress.samples_html(language, events),
        gr.Button(t("k_stopping") if stopping else t("k_stop"), visible=running, interactive=not stopping),
        gr.Button(visible=ready, value=say(language, "k_talk_to", name=name)),
    ]


def version() -> tuple:
    """State of the newest run and all else that changes whenever there is something new to show."""
    run, events, state = newest()
    return state, len(events), run and (run.name, run.should_stop()), *checkpoint.list_checkpoints(for_chat=False)


def build(chat: ChatTab, tabs: gr.Tabs) -> TrainingTab:
    """The components and events of the tab."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            form, start_button, stop_button = _form()
        with gr.Column(scale=3, min_width=300):
            bar = gr.HTML(elem_id="progress")
            talk = gr.Button(variant="primary", visible=False, elem_id="talk")
            plot = gr.LinePlot(
                x="epoch", y="loss", color="kind", title=t("k_curve"), height=280, show_label=False, tooltip="axis",
                buttons=[], sort=[str(i + 1) for i in range(progress.MOST_CATEGORIES)], visible=False, elem_id="plot",
            )  # fmt: skip
            table = gr.Dataframe(interactive=False, show_label=False, buttons=[], visible=False, elem_id="epochs")
            samples = gr.HTML(elem_id="samples")
    # Reading the data can take a while, with a download a long one.
    start_button.click(
        lambda: gr.Button(t("k_checking"), interactive=False), None, start_button, queue=False, **PRIVATE
    ).then(start, form, None, concurrency_limit=1, **PRIVATE).then(
        lambda: gr.Button(t("k_start"), interactive=True), None, start_button, queue=False, **PRIVATE
    )
    stop_button.click(stop_active, None, None, queue=False, **PRIVATE)

    def go_and_talk():
        ready = next((run.checkpoint_name for run in runs.list_runs() if run.state() in READY), None)
        return gr.Tabs(selected="chat"), checkpoint_dropdown(None, wanted=ready)

    talk.click(go_and_talk, None, [tabs, chat.checkpoint], queue=False, **PRIVATE)
    shown = [bar, plot, table, samples, stop_button, talk]
    return TrainingTab(shown, gr.State(()), name=form[3], base=form[2])


def _form() -> tuple[list, gr.Button, gr.Button]:
    data = gr.Dropdown(
        data_choices(), value="emotions", label=t("k_data"), info=t("k_data_info"),
        interactive=True, filterable=False, elem_id="data",
    )  # fmt: skip
    # What may be in a file or a number is checked by the core: its sentences are in the visitor's language.
    upload = gr.File(label=t("k_upload"), visible=False, height=130, elem_id="upload")
    first = base_choices()[0][1]
    base = gr.Dropdown(
        base_choices(), value=first, label=t("k_base"), info=t("k_base_info"), interactive=True, elem_id="base"
    )
    name = gr.Textbox(label=t("k_name"), info=t("k_name_info"), max_length=checkpoint.LONGEST_NAME, elem_id="name")
    own = defaults_of(first)
    epochs = gr.Number(own["epochs"], label=t("k_epochs"), info=t("k_epochs_info"))
    with gr.Accordion(t("k_more"), open=False):
        rows = gr.Number(None, label=t("k_rows"), info=t("k_rows_info"))
        batch_size = gr.Number(own["batch_size"], label=t("k_batch_size"))
        rate = gr.Number(own["learning_rate"], label=t("k_learning_rate"), info=t("k_learning_rate_info"))
        share = gr.Slider(
            0, 0.5, TrainingConfig.validation_share, step=0.01, label=t("k_share"), info=t("k_share_info")
        )
    with gr.Row():
        start_button = gr.Button(t("k_start"), variant="primary", elem_id="start")
        stop_button = gr.Button(t("k_stop"), variant="stop", visible=False, elem_id="stop")
    data.change(lambda chosen: gr.File(visible=chosen == OWN_FILE), data, upload, queue=False, **PRIVATE)

    def take_defaults(chosen: str):
        own = defaults_of(chosen)
        return own["epochs"], own["batch_size"], own["learning_rate"]

    base.change(take_defaults, base, [epochs, batch_size, rate], queue=False, **PRIVATE)
    return [data, upload, base, name, epochs, batch_size, rate, share, rows], start_button, stop_button


def refresh(language: str, chosen: str, base: str, offer_name: bool) -> list:
    """Everything that changes by itself: the run's view, and what the dropdowns and the name offer."""
    names = [value for _, value in base_choices()]
    return [
        *view(language),
        checkpoint_dropdown(chosen),
        gr.Dropdown(choices=base_choices(), **({} if base in names else {"value": names[0]})),
        free_name(language) if offer_name else gr.skip(),
        version(),
    ]


def watch(page: gr.Blocks, chat: ChatTab, tab: TrainingTab) -> None:
    """Show the newest run when the page loads, and what is new once a second."""
    inputs, outputs = [chat.checkpoint, tab.base], [*tab.shown, chat.checkpoint, tab.base, tab.name, tab.seen]

    def load(chosen, base, request: gr.Request):
        return refresh(language_of(request), chosen, base, offer_name=True)

    def poll(seen, chosen, base, request: gr.Request):
        now = version()
        if now == seen:
            return gr.skip()
        # Only when a run has ended: nobody is typing a name for that one any more.
        has_ended = bool(seen) and seen[0] == "running" and now[0] != "running"
        return refresh(language_of(request), chosen, base, has_ended)

    page.load(load, inputs, outputs, queue=False, **PRIVATE)
    gr.Timer(1.0).tick(poll, [tab.seen, *inputs], outputs, queue=False, trigger_mode="once", **PRIVATE)
