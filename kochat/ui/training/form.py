"""The form of the training tab: which data, which base, which settings; what it says becomes a run."""

from __future__ import annotations

import functools
import re
import time
from dataclasses import replace
from pathlib import Path

import gradio as gr

from kochat.config import TrainingConfig, home
from kochat.data import pairs
from kochat.data.datasets import Dataset
from kochat.data.splits import withheld_shares
from kochat.errors import KochatError
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.kept_pairs import PAIRS_FILE
from kochat.runs import queue, registry
from kochat.sharing import jobs
from kochat.sharing.package import Hardware
from kochat.training import recipe
from kochat.ui import auth, progress, zero_gpu
from kochat.ui.sources import (
    MAX_MEGABYTES,
    OWN_FILE,
    PREFIX,
    base_choices,
    check_upload,
    data_choices,
    make_config,
    snapshot,
)
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE

KEEP_LABELS = {"auto": None, "yes": True, "no": False}
KOGPT2_SIZE = (768, 125e6)  # its width and parameters
AUTO_SHARE = "auto"  # of validation: what the number of pairs says
PRICES_HOLD = 3600  # seconds until they are asked for again
HERE = "here"  # on this machine; else the name of a hardware of Hugging Face


@shows_errors
@auth.owner_only
def start(
    data,
    upload,
    base,
    name,
    epochs,
    batch_size,
    rate,
    share,
    rows,
    keep,
    patience,
    keep_labels,
    label_names,
    where,
    request: gr.Request,
):
    """Queue a run with what the form says."""
    if where != HERE:
        auth.require_owner_themselves(request)  # who pays, whatever visitors may do
        jobs.offered(where)  # what is in the way of it is said now
    if data == OWN_FILE:
        check_upload(upload)
    settings = {"epochs": _number(epochs), "batch_size": _number(batch_size), "rows": _number(rows)}
    settings |= {"learning_rate": rate or None, "validation_share": None if share == AUTO_SHARE else share}
    settings |= {"keep": keep, "patience": _number(patience)}
    settings |= {"keep_labels": KEEP_LABELS[keep_labels], "label_names": names_in(label_names)}
    config = make_config(upload if data == OWN_FILE else data, base, name, **settings)
    if data.startswith(PREFIX):
        config = replace(config, data=str(snapshot(data.removeprefix(PREFIX), request)))
    if data == OWN_FILE:  # gradio's copy goes some day; a run may be looked at, or continued, later
        config = replace(config, data=str(pairs.keep(Path(upload).read_bytes(), upload, home() / "uploads")))
    queue.start(config, *([] if where == HERE else [{"flavor": where}]))


def names_in(text: str | None) -> tuple[str, ...]:
    """Each label=name that somebody typed, a line each or with commas between; None where nobody saw the box."""
    return tuple(part.strip() for part in re.split(r"[\n,，]", text or "") if part.strip())


def _number(number: float | None) -> int | float | None:
    """A number that was set; None for 0, which leaves it open: gradio makes a 0 of nothing when it is first seen."""
    # The page may send 5 as 5.0; 5.5 is refused by the settings, with a sentence.
    return (int(number) if isinstance(number, float) and number.is_integer() else number) or None


@shows_errors
def plan(data: str, upload: str | None, base: str, epochs, rows, where: str, request: gr.Request) -> str:
    """What a training with these choices would be: its pairs, its epochs, about how long; empty where nothing tells.

    On a machine of Hugging Face, what that costs. For the owner, who alone can start one.
    """
    if not auth.is_owner(request):
        return ""
    if where != HERE and auth.is_owner_themselves(request):
        return _price(language_of(request), where)
    try:
        num_pairs = _num_pairs(data, upload, _number(rows), request)
        folder = checkpoint.list_checkpoints(for_chat=False).get(base)
        card = checkpoint.read_card(folder) if folder else Card()
        has_earlier = bool(folder) and (folder / PAIRS_FILE).is_file()
        width, parameters = checkpoint.size_of(folder) if folder else KOGPT2_SIZE
        config = TrainingConfig(data="-", output="-", epochs=_number(epochs))
    except KochatError:  # whoever presses start is told
        return ""
    if not num_pairs:
        return ""
    config = recipe.filled(config, card, num_pairs, has_earlier, width)
    language = language_of(request)
    a_visit = _seconds_a_visit()
    if a_visit is None:
        return ""
    time = progress.duration(language, recipe.seconds(config, num_pairs, parameters, a_visit))
    said = say(language, "k_plan", pairs=num_pairs, epochs=config.epochs, time=time)
    return said + (" " + say(language, "k_plan_rehearsal", n=config.rehearsal) if config.rehearsal else "")


def _price(language: str, flavor: str) -> str:
    try:
        hardware = _offered(flavor, int(time.time() // PRICES_HOLD))
    except KochatError as error:  # say it before somebody presses start
        return error.text(language)
    if hardware.price is None:
        return say(language, "k_job_price_unknown", hardware=hardware.title, hours=jobs.MAX_HOURS)
    price = f"{hardware.price:.2f}"
    return say(language, "k_job_price", hardware=hardware.title, price=price, hours=jobs.MAX_HOURS)


@functools.lru_cache(maxsize=2 * len(jobs.FLAVORS))
def _offered(flavor: str, hour: int) -> Hardware:
    return jobs.offered(flavor)


def _seconds_a_visit() -> float | None:
    """Of the last run on this machine; before the first one it is measured, where its GPU is not a lent one."""
    known = registry.seconds_a_visit()
    if known or zero_gpu.IS_ON:
        return known
    from kochat.training import speed  # torch takes seconds; the page is there before

    return speed.seconds_a_visit()


def _num_pairs(data: str, upload: str | None, rows: int | None, request: gr.Request) -> int:
    """About how many pairs there are to learn; 0 where that is not known yet. Raises KochatError."""
    if data.startswith(PREFIX):
        found = Dataset(auth.path_of(data.removeprefix(PREFIX), request)).counts().good
    elif data == OWN_FILE:
        auth.require_owner(request)
        if not upload or Path(upload).stat().st_size > MAX_MEGABYTES * 2**20:
            return 0
        found = len(pairs.read_pairs(upload, bad_rows="skip"))
    else:
        found = len(pairs.read_pairs(data)) if pairs.is_here(data) else 0
    found = min(found, rows or found)
    return round(found * (1 - sum(withheld_shares(None, None, found))))


def build() -> tuple[list, gr.Button, gr.Button, dict]:
    """The inputs of `start`, in its order, the buttons to start and to stop, and the event that fills the plan."""
    data = gr.Dropdown(
        data_choices(),
        value="emotions",
        label=t("k_data"),
        info=t("k_data_info"),
        interactive=True,
        filterable=False,
        elem_id="data",
    )
    # What may be in a file or a number is checked by the core: its sentences are in the visitor's language.
    upload = gr.File(label=t("k_upload"), visible=False, height=155, elem_id="upload")
    first = base_choices()[0][1]
    base = gr.Dropdown(
        base_choices(), value=first, label=t("k_base"), info=t("k_base_info"), interactive=True, elem_id="base"
    )
    name = gr.Textbox(label=t("k_name"), info=t("k_name_info"), max_length=checkpoint.MAX_NAME_LENGTH, elem_id="name")
    # 0 leaves a number open: gradio would make a 0 of nothing anyway, when it is first seen.
    epochs = gr.Number(0, label=t("k_epochs"), info=t("k_epochs_info"), elem_id="epoch-number")
    with gr.Accordion(t("k_more"), open=False, elem_id="more"):
        batch_size, rate, share, rows, *more = build_more()
    planned = gr.Markdown(elem_classes="quiet", elem_id="plan")
    with gr.Row():
        start_button = gr.Button(t("k_start"), variant="primary", elem_id="start")
        stop_button = gr.Button(t("k_stop"), variant="stop", visible=False, elem_id="stop")
    data.change(lambda chosen: gr.File(visible=chosen == OWN_FILE), data, upload, queue=False, **PRIVATE)

    chosen = [data, upload, base, epochs, rows, more[-1]]
    for one in chosen:
        one.change(plan, chosen, planned, queue=False, trigger_mode="always_last", **PRIVATE)
    planning = {"fn": plan, "inputs": chosen, "outputs": planned, "queue": False, **PRIVATE}
    return [data, upload, base, name, epochs, batch_size, rate, share, rows, *more], start_button, stop_button, planning


def build_more() -> list:
    """The inputs that most people leave as they are, in the order of `start`."""
    rows = gr.Number(0, label=t("k_rows"), info=t("k_rows_info"))
    batch_size = gr.Number(0, label=t("k_batch_size"), info=t("k_open_info"))
    rate = gr.Number(0, label=t("k_learning_rate"), info=t("k_learning_rate_info"))
    share = gr.Dropdown(
        [(t("k_share_auto"), AUTO_SHARE), *((f"{share:.0%}", share) for share in (0.0, 0.05, 0.1, 0.2, 0.3))],
        value=AUTO_SHARE,
        label=t("k_share"),
        info=t("k_share_info"),
        interactive=True,
        filterable=False,
        elem_id="share",
    )
    keep = gr.Dropdown(
        [(t(f"k_keep_{name}"), name) for name in ("auto", "best", "last")],
        value=TrainingConfig.keep,
        label=t("k_keep"),
        info=t("k_keep_info"),
        interactive=True,
        filterable=False,
        elem_id="keep",
    )
    patience = gr.Number(0, label=t("k_patience"), info=t("k_patience_info"))
    keep_labels = gr.Dropdown(
        [(t(f"k_keep_labels_{name}"), name) for name in KEEP_LABELS],
        value="auto",
        label=t("k_keep_labels"),
        info=t("k_keep_labels_info"),
        interactive=True,
        filterable=False,
        elem_id="keep-labels",
    )
    label_names = gr.Textbox(
        label=t("k_label_names"),
        info=t("k_label_names_info"),
        placeholder=t("k_label_names_example"),
        lines=2,
        elem_id="label-names",
    )
    where = gr.Dropdown(
        [(t("k_where_here"), HERE), *((f"Hugging Face Jobs: {flavor}", flavor) for flavor in jobs.FLAVORS)],
        value=HERE,
        label=t("k_where"),
        info=t("k_where_info"),
        interactive=True,
        filterable=False,
        elem_id="where",
    )
    return [batch_size, rate, share, rows, keep, patience, keep_labels, label_names, where]
