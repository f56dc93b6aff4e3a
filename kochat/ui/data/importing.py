"""A file becomes a dataset: what it is told to be, which columns are what, how far it has come.

For the owner alone. A file that is refused leaves nothing behind.
"""

from __future__ import annotations

import html
import itertools
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from kochat.data import datasets, hub_datasets
from kochat.data.checks import MAX_LABEL_LENGTH, clean
from kochat.data.columns import likely_label
from kochat.data.importing import create
from kochat.data.pairs import Columns, explained, find_columns, header_of, said_of
from kochat.data.remarks import Remark
from kochat.data.tables import Chunk, Table, open_table
from kochat.errors import DataError
from kochat.files import MAX_NAME_LENGTH, safe_name
from kochat.ui import auth, models
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, bar_html, downloads

PREVIEW_ROWS, PREVIEW_COLUMNS = 5, 20
LOOKED_AT = 200  # rows, for a label that the names of the columns do not tell
BETWEEN_PICTURES = 0.3  # seconds, of the progress bar
FORMATS = {"csv": "CSV", "xlsx": "Excel", "jsonl": "JSON", "parquet": "Parquet"}
MAX_HEADER_ROW = 10  # that can be chosen
ENCODINGS = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8 (BOM)", "cp949": "CP949"}
ENCODINGS |= dict.fromkeys(("utf-16", "utf-16-le", "utf-16-be"), "UTF-16")
DELIMITERS = {",": "k_comma", "\t": "k_tab", ";": "k_semicolon"}


@dataclass
class Importing:
    """The components of the import."""

    part: gr.Accordion
    upload: gr.File
    hub: gr.Textbox
    told: gr.HTML
    mapping: gr.Column
    question: gr.Dropdown
    answer: gr.Dropdown
    label: gr.Dropdown
    one_label: gr.Textbox
    context: gr.Dropdown
    sheet: gr.Dropdown
    header: gr.Dropdown
    name: gr.Textbox
    start: gr.Button
    empty: gr.Button
    cancel: gr.Button
    bar: gr.HTML

    @property
    def looked_at(self) -> list:
        """What `look` fills."""
        return [self.told, self.mapping, *self.columns, self.name, self.start, self.empty]

    @property
    def chosen(self) -> list:
        """What `bring_in` takes."""
        return [self.upload, *self.columns, self.name]

    @property
    def columns(self) -> list:
        """How the file is read."""
        return [self.question, self.answer, self.label, self.one_label, self.context, self.sheet, self.header]


def told(language: str, table: Table, chunk: Chunk, remarks: list[Remark]) -> str:
    """What a file was found to be, in one line, what is done with it, and its first rows."""
    kind = [FORMATS[table.format], ENCODINGS.get(table.encoding, table.encoding)]
    if table.delimiter:
        key = DELIMITERS.get(table.delimiter)
        kind.append(say(language, key) if key else table.delimiter)
    kind.append(say(language, "k_columns", columns=len(table.columns)))
    head, *body = (
        "".join(f"<{tag}>{html.escape(cell[:80])}</{tag}>" for cell in cells[:PREVIEW_COLUMNS])
        + f"<{tag}>…</{tag}>" * (len(cells) > PREVIEW_COLUMNS)
        for tag, cells in [("th", table.columns), *(("td", row) for row in chunk.frame.values.tolist())]
    )
    line = html.escape(f"{table.name}: " + " · ".join(part for part in kind if part))
    said = "".join(f"<li>{html.escape(remark.text(language))}</li>" for remark in remarks)
    said = f'<ul class="quiet">{said}</ul>' if said else ""
    return (
        f'<p class="quiet">{line}</p>{said}<div class="rows preview"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(f'<tr>{cells}</tr>' for cells in body)}</tbody></table></div>"
    )


def name_for(file: str, taken: set[str]) -> str:
    """A name for a dataset from that of a file, safe and not taken yet."""
    stem = re.sub(r"[^\w-]+", "-", clean(Path(file).stem)).strip("-")[: MAX_NAME_LENGTH - 4] or "data"
    return next(name for n in itertools.count(1) if (name := stem if n == 1 else f"{stem}-{n}") not in taken)


def columns_chosen(table: Table, question: str, answer: str, label: str, one_label: str, context: str = "") -> Columns:
    """The mapping as it was chosen. Raises DataError where question or answer was not, and cannot be told."""
    try:
        found = find_columns(table.columns, question or None, answer or None)
    except DataError as error:
        raise explained(error, table) from error
    joined = context if context not in (found.question, found.answer, label) else ""
    return Columns(
        found.question, found.answer, label or None, clean(one_label or "") or Columns.one_label, joined or None
    )


def opened(path: str, sheet: str, header: str) -> tuple[Table, Columns | None]:
    """The table of a file and the columns that it probably has; None where it is for the owner to choose them.

    Where the first row looks like data it is read without a header, which the page shows. Raises DataError.
    """
    table = open_table(path, sheet=sheet or None, header=header_of(header))
    if not header and table.seems_without_header:
        table = open_table(path, sheet=sheet or None, header=0)
    try:
        return table, find_columns(table.columns)
    except DataError as error:  # told by nobody's name
        if len(table.columns) < 2:
            raise explained(error, table) from error
        return table, None


@shows_errors
@auth.owner_themselves_only  # for it is asked with the server's token, which opens what is private
def from_hub(source: str, request: gr.Request) -> str:
    """The file that is meant by a dataset on the Hub, as if it had been uploaded: its id, with a revision if need be,
    or the address of its page. Raises DataError.
    """
    source = source.strip()
    for hub in hub_datasets.HUBS:
        source = source.removeprefix(f"{hub}/datasets/").rstrip("/")
    found = hub_datasets.fetch(source)
    folder = downloads() / auth.name_of(request)
    folder.mkdir(exist_ok=True)
    name = name_for(source.partition("@")[0].rpartition("/")[2], set())
    # A copy: what is looked at here is removed when it has become a dataset.
    return shutil.copyfile(found, folder / (name + found.suffix))


@shows_errors
def look(path: str | None, chatbot: str, sheet: str, header: str, request: gr.Request) -> list:
    """What the file is, and the columns that it probably has, in the order of Importing.looked_at."""
    auth.require_owner(request)
    if not path:
        return nothing()
    language, to_choose = language_of(request), ""
    table, found = opened(path, sheet, header)
    remarks = said_of(table, found) if found else list(table.remarks)
    if not found:
        found = Columns("", "")
        to_choose = f'<p class="banner">{html.escape(say(language, "k_choose_columns"))}</p>'
    label = found.label
    if found.answer and not label and (label := likely_label(next(table.chunks(LOOKED_AT)).frame, found)):
        to_choose += f'<p class="quiet">{html.escape(say(language, "k_likely_label", column=label))}</p>'
    if (card := models.card(chatbot)).labels:
        limit = say(language, "k_length_for", name=chatbot, most=card.max_length)
        to_choose += f'<p class="quiet">{html.escape(limit)}</p>'
    names = [(name, name) for name in table.columns]
    is_table = table.format in ("csv", "xlsx")
    at = header or ("" if table.header or not is_table else "0")
    sheets = [(t("k_all_sheets"), ""), *((name, name) for name in table.all_sheets)]
    return [
        told(language, table, next(table.chunks(PREVIEW_ROWS)), remarks) + to_choose,
        gr.Column(visible=True),
        gr.Dropdown(choices=names, value=found.question or None),
        gr.Dropdown(choices=names, value=found.answer or None),
        gr.Dropdown(choices=[(t("k_no_label"), ""), *names], value=label or ""),
        gr.Textbox(visible=not label),
        gr.Dropdown(choices=[(t("k_no_context"), ""), *names], value=found.context or "", visible=bool(found.context)),
        gr.Dropdown(choices=sheets, value=sheet or "", visible=len(table.all_sheets) > 1),
        gr.Dropdown(choices=header_choices(), value=at, visible=is_table),
        name_for(path, set(datasets.list_datasets(auth.folder_of(request)))),
        gr.Button(visible=True),
        gr.Button(visible=False),
    ]


def nothing() -> list:
    """No file, in the order of Importing.looked_at."""
    columns = [gr.Dropdown(choices=[], value=None)] * 3
    others = [gr.Textbox(visible=False), *[gr.Dropdown(choices=[("", "")], value="", visible=False)] * 2]
    others.append(gr.Dropdown(choices=header_choices(), value="", visible=False))
    return ["", gr.Column(visible=False), *columns, *others, "", gr.Button(visible=False), gr.Button(visible=True)]


@shows_errors
def bring_in(
    path: str | None,
    question: str,
    answer: str,
    label: str,
    one_label: str,
    context: str,
    sheet: str,
    header: str,
    name: str,
    chatbot: str,
    request: gr.Request,
) -> Iterator[tuple]:
    """Make a dataset of a file; yields the progress bar, in the end an empty one and its name. Raises KochatError."""
    auth.require_owner(request)
    if not path:
        raise DataError("no_upload")
    language, shown_at = language_of(request), 0.0
    yield bar_html(language, 0, say(language, "k_opening")), gr.skip()
    table, _ = opened(path, sheet, header)
    columns = columns_chosen(table, question, answer, label, one_label, context)
    prompt = models.prompt(chatbot)
    too_long = prompt.too_long if prompt else None
    for read in create(auth.folder_of(request), name, table, columns, too_long):
        if time.monotonic() - shown_at > BETWEEN_PICTURES:
            told = say(language, "k_rows_read", rows=f"{read.rows:,}", done=read.done)
            yield bar_html(language, read.done, told), gr.skip()
            shown_at = time.monotonic()
    for remark in read.remarks:
        gr.Info(remark.text(language))
    Path(path).unlink(missing_ok=True)  # it is a dataset now
    yield "", safe_name(name)


@shows_errors
@auth.owner_only
def make_empty(name: str, request: gr.Request) -> str:
    """Make a dataset without a row; its name. Raises KochatError."""
    return datasets.empty(auth.folder_of(request), name).name


def header_choices() -> list[tuple]:
    """Where the header can be said to be."""
    rows = [(str(row), str(row)) for row in range(1, MAX_HEADER_ROW + 1)]
    return [(t("k_header_auto"), ""), (t("k_header_none"), "0"), *rows]


def build() -> Importing:
    """The components, and the events that stay among them."""
    with gr.Accordion(t("k_import"), open=False, visible=False, elem_id="import") as part:
        upload = gr.File(label=t("k_import_file"), height=155, elem_id="import-file")
        hub = gr.Textbox(
            label=t("k_hub_dataset"), placeholder="owner/name", lines=1, submit_btn=True, elem_id="hub-dataset"
        )
        told_html = gr.HTML(elem_id="import-told")
        with gr.Column(visible=False) as mapping:
            with gr.Row():
                look = {"interactive": True, "filterable": False, "min_width": 110}
                question = gr.Dropdown([], label=t("k_question"), elem_id="map-question", **look)
                answer = gr.Dropdown([], label=t("k_answer"), elem_id="map-answer", **look)
            label = gr.Dropdown([], label=t("k_row_label"), elem_id="map-label", **look)
            one_label = gr.Textbox(
                Columns.one_label,
                label=t("k_one_label"),
                max_length=MAX_LABEL_LENGTH,
                visible=False,
                elem_id="one-label",
            )
            context = gr.Dropdown([], label=t("k_context"), visible=False, elem_id="map-context", **look)
            with gr.Row():
                sheet = gr.Dropdown([("", "")], value="", label=t("k_sheet"), elem_id="map-sheet", **look)
                header = gr.Dropdown(header_choices(), value="", label=t("k_header"), elem_id="map-header", **look)
        name = gr.Textbox(label=t("k_dataset_name"), max_length=MAX_NAME_LENGTH, elem_id="dataset-name")
        with gr.Row():
            start = gr.Button(t("k_bring_in"), variant="primary", visible=False, elem_id="bring-in")
            empty = gr.Button(t("k_make_empty"), elem_id="make-empty")
            cancel = gr.Button(t("k_cancel_import"), visible=False, elem_id="cancel-import")
        bar = gr.HTML(elem_id="import-bar")
    label.change(lambda chosen: gr.Textbox(visible=chosen == ""), label, one_label, queue=False, **PRIVATE)
    columns = (question, answer, label, one_label, context, sheet, header)
    return Importing(part, upload, hub, told_html, mapping, *columns, name, start, empty, cancel, bar)
