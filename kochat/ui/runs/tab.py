"""The runs tab: every run that was started, one looked at closely, several compared."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import gradio as gr

from kochat.data import pairs
from kochat.runs import queue, registry
from kochat.runs.journal import Record
from kochat.runs.registry import RESUMABLE, Run
from kochat.runs.verdict import verdict
from kochat.training.events import best_epoch
from kochat.ui import empty, progress
from kochat.ui.auth import is_owner_themselves, owner_only, require_owner_themselves
from kochat.ui.progress import empty_plot, loss_plot
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, confirm, downloads, following

COLUMNS = (
    "k_run",
    "k_state",
    "k_base",
    "k_data",
    "k_row_count",
    "k_best_short",
    "k_lowest_loss",
    "k_kept_epoch",
    "k_took",
    "k_when",
)

ASKED = (
    "data",
    "base",
    "epochs",
    "batch_size",
    "learning_rate",
    "rows",
    "keep",
    "patience",
    "keep_labels",
    "label_names",
)
SETTING_TEXTS = {name: f"k_{name}" for name in ASKED} | {"validation_share": "k_share", "test_share": "k_test_share"}


def table(language: str) -> dict:
    """The value of the list: a row a run, the newest first."""
    rows = [_row(language, run) for run in registry.list_runs()]
    return {"headers": [say(language, key) for key in COLUMNS], "data": rows}


def _row(language: str, run: Run) -> list[str]:
    record, config = run.record(), run.config
    epochs = progress.epochs_of(record)
    best = best_epoch(epochs)
    loss = f"{record.epochs[best]['validation_loss']:.3f}" if best else "–"
    data = config.data if config.data in pairs.DATASETS else Path(config.data).name
    if record.started:
        data += f" ({record.started['data_sha256'][:8]})"
    return [
        run.name,
        say(language, "k_is_finishing" if run.is_finishing() else f"k_is_{run.state()}"),
        Path(config.base).name,
        data,
        str(record.pairs),
        f"{best or '–'} / {len(epochs)}",
        loss,
        _kept(language, record),
        progress.duration(language, record.seconds()) if record.started else "–",
        f"{datetime.fromtimestamp(record.begun_at):%Y-%m-%d %H:%M}",
    ]


def _kept(language: str, record: Record) -> str:
    epoch, is_whole = progress.kept_epoch(record)
    return str(epoch or "–") if is_whole or not epoch else say(language, "k_within", epoch=epoch)


def chosen_runs(names: list[str]) -> list[Run]:
    """The runs of these names that are still there."""
    there = {run.name: run for run in registry.list_runs()}
    return [there[name] for name in names or [] if name in there]


def compared(language: str, chosen: list[Run]) -> tuple:
    """The curves of several runs, the validation loss where there is one: the plot's points, series and last epoch."""
    rows = []
    for run in chosen:
        for epoch in progress.epochs_of(run.record()):
            validation = epoch["validation_loss"]
            rows.append((epoch["epoch"], epoch["loss"] if validation is None else validation, run.name))
    last = progress.last_epoch(*(run.record() for run in chosen))
    return progress.as_frame(rows), [run.name for run in chosen], last


def settings_table(language: str, chosen: list[Run]) -> dict:
    """One run: all its settings. Several: a column a run, only what differs."""
    if len(chosen) == 1:
        values = {name: [value] for name, value in asdict(chosen[0].config).items() if name not in registry.PLACES}
    else:
        values = registry.differing_settings(chosen)
    rows = [
        [_setting(language, name), *("–" if value is None else _short(name, value) for value in row)]
        for name, row in values.items()
    ]
    return {"headers": [say(language, "k_setting"), *(run.name for run in chosen)], "data": rows}


def _setting(language: str, name: str) -> str:
    """A setting as the form calls it, its own name beside; those that the form does not ask for have only that."""
    return f"{say(language, SETTING_TEXTS[name])} ({name})" if name in SETTING_TEXTS else name


def _short(name: str, value: object) -> str:
    # Where a file lies on the server's disk is nobody's business.
    return Path(str(value)).name if name in ("data", "base") else str(value)


def details(language: str, names: list[str], with_log: bool = False) -> list:
    """Everything below the list for the runs chosen, in the order of `build`; the log says much of the server."""
    chosen = chosen_runs(names)
    one = chosen[0] if len(chosen) == 1 else None
    state = one.state() if one else ""
    if one:
        record = one.record()
        curve = progress.curve(language, record), progress.series(language), progress.last_epoch(record)
    else:
        curve = compared(language, chosen)
    at_rest = bool(one) and state not in ("queued", "running")
    return [
        progress.progress_html(language, one) + progress.verdict_html(language, verdict(one.record())) if one else "",
        loss_plot(language, *curve),
        gr.Dataframe(settings_table(language, chosen), visible=bool(chosen)),
        progress.samples_html(language, one.record()) if one else "",
        gr.Accordion(visible=bool(one)),
        _log_html(one, with_log) + progress.withheld_html(language, record) if one else "",
        gr.Button(visible=state in RESUMABLE),
        gr.Button(visible=state in ("queued", "running") and not one.record().finishing),
        gr.Button(visible=at_rest),
        gr.DownloadButton(visible=bool(one and one.record().epochs), value=_csv(one) if one else None),
        gr.Button(visible=at_rest),
    ]


def _log_html(run: Run, is_shown: bool) -> str:
    return f'<pre class="log">{html.escape(run.log())}</pre>' if is_shown else ""


def _csv(run: Run) -> str:
    path = downloads() / f"{run.name}.csv"
    path.write_text(run.curve_csv(), "utf-8")
    return str(path)


def version(names: list[str]) -> tuple:
    """What changes whenever there is something new to show."""
    all_runs = tuple((run.name, run.state(), len(run.record().epochs)) for run in registry.list_runs())
    return all_runs, tuple((run.name, len(run.events())) for run in chosen_runs(names))


def refresh(names: list[str], request: gr.Request) -> list:
    """The list, what can be chosen, and the details of what is chosen, as they are now."""
    language, there = language_of(request), [run.name for run in registry.list_runs()]
    left = [name for name in names or [] if name in there]
    # Set only where it has to be: somebody may be choosing more just now.
    chosen = {"choices": there} | ({} if left == names else {"value": left})
    seen = version(left)  # first: what happens meanwhile is then looked at again
    is_any, shown = bool(there), details(language, left, is_owner_themselves(request))
    if not is_any:
        shown[0] = empty.runs_html(language, "k_no_runs")
    listed = gr.Dataframe(table(language), visible=is_any)
    return [listed, gr.Dropdown(visible=is_any, **chosen), *shown, seen]


def poll(seen: tuple, names: list[str], request: gr.Request):
    """What `refresh` gives, where there is something new."""
    return gr.skip() if version(names) == seen else refresh(names, request)


def show(names: list[str], request: gr.Request) -> list:
    """The details of what is chosen."""
    return details(language_of(request), names, is_owner_themselves(request))


def pick(event: gr.SelectData) -> list[str]:
    """The run in whose row somebody clicked."""
    return [event.row_value[0]]


def act(do: Callable[[Run], object]):
    """A handler that does something with the run chosen."""

    @shows_errors
    @owner_only
    def handler(names: list[str], request: gr.Request):
        for run in chosen_runs(names)[:1]:
            if run.is_elsewhere():  # the owner pays for it
                require_owner_themselves(request)
            do(run)

    return handler


def build(tab: gr.Tab) -> None:
    """The components and events of the tab."""
    listed = gr.Dataframe(interactive=False, show_label=False, buttons=[], wrap=True, max_height=320, elem_id="runs")
    chosen = gr.Dropdown(
        [], value=[], multiselect=True, label=t("k_choose_runs"), info=t("k_choose_runs_info"), elem_id="chosen-runs"
    )
    bar = gr.HTML(elem_id="run-progress")
    with gr.Row():
        resume = gr.Button(t("k_resume"), variant="primary", visible=False, elem_id="run-resume")
        stop = gr.Button(t("k_stop"), variant="stop", visible=False, elem_id="run-stop")
        repeat = gr.Button(t("k_again"), visible=False, elem_id="run-again")
        csv = gr.DownloadButton(t("k_csv"), visible=False, elem_id="run-csv")
        delete = gr.Button(t("k_delete"), visible=False, elem_id="run-delete")
    sure, yes = confirm("k_sure_run", elem_id="run-delete-yes")
    plot = empty_plot(elem_id="run-plot")
    settings = gr.Dataframe(interactive=False, show_label=False, buttons=[], visible=False, elem_id="settings")
    samples = gr.HTML()
    with gr.Accordion(t("k_log"), open=False, visible=False) as log:
        text = gr.HTML(elem_id="run-log")
    below = [bar, plot, settings, samples, log, text, resume, stop, repeat, csv, delete]
    seen = gr.State(())
    everything = [listed, chosen, *below, seen]
    quick = {"queue": False, **PRIVATE}

    for news in (tab.select, following("runs").change):
        news(poll, [seen, chosen], everything, trigger_mode="always_last", **quick)
    # A plot that stays keeps the series it had; one that goes and comes back draws the new ones.
    hide = {"fn": lambda: gr.LinePlot(visible=False), "inputs": None, "outputs": plot, **quick}
    chosen.input(**hide).then(show, chosen, below, **quick)
    listed.select(pick, None, chosen, **quick).then(**hide).then(show, chosen, below, **quick)
    for button, do in (
        (resume, queue.resume),
        (stop, queue.stop),
        (repeat, queue.again),
        (yes, queue.delete),
    ):
        button.click(act(do), chosen, None, **PRIVATE).then(refresh, chosen, everything, **quick)
    for event in (yes.click, chosen.input, listed.select):  # the question was about another run
        event(lambda: gr.Column(visible=False), None, sure, **quick)
    delete.click(lambda: gr.Column(visible=True), None, sure, **quick)
