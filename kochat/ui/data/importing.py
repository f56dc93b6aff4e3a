"""A file becomes a dataset: what it is told to be, which columns are what, how far it has come.

For the owner alone. A file that is refused leaves nothing behind.
"""

from __future__ import annotations

import html
import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from kochat.data import datasets
from kochat.data.checks import MAX_LABEL_LENGTH, clean
from kochat.data.importing import create
from kochat.data.pairs import Columns, find_columns
from kochat.data.tables import Chunk, Table, open_table
from kochat.errors import DataError
from kochat.files import MAX_NAME_LENGTH, safe_name
from kochat.ui import auth, models
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, bar_html

PREVIEW_ROWS, PREVIEW_COLUMNS = 5, 20
BETWEEN_PICTURES = 0.3  # seconds, of the progress bar
FORMATS = {"csv": "CSV", "xlsx": "Excel", "jsonl": "JSON Lines"}
ENCODINGS = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8 (BOM)", "cp949": "CP949"}
ENCODINGS |= dict.fromkeys(("utf-16", "utf-16-le", "utf-16-be"), "UTF-16")
DELIMITERS = {",": "k_comma", "\t": "k_tab", ";": "k_semicolon"}


@dataclass
class Importing:
    """The components of the import."""

    part: gr.Accordion
    upload: gr.File
    told: gr.HTML
    mapping: gr.Column
    question: gr.Dropdown
    answer: gr.Dropdown
    label: gr.Dropdown
    one_label: gr.Textbox
    name: gr.Textbox
    start: gr.Button
    empty: gr.Button
    cancel: gr.Button
    bar: gr.HTML

    @property
    def looked_at(self) -> list:
        """What `look` fills."""
        columns = [self.question, self.answer, self.label, self.one_label]
        return [self.told, self.mapping, *columns, self.name, self.start, self.empty]

    @property
    def chosen(self) -> list:
        """What `bring_in` takes."""
        return [self.upload, self.question, self.answer, self.label, self.one_label, self.name]


def told(language: str, table: Table, chunk: Chunk) -> str:
    """What a file was found to be, in one line, and its first rows."""
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
    return (
        f'<p class="quiet">{line}</p><div class="rows preview"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(f'<tr>{cells}</tr>' for cells in body)}</tbody></table></div>"
    )


def name_for(file: str, taken: set[str]) -> str:
    """A name for a dataset from that of a file, safe and not taken yet."""
    stem = re.sub(r"[^\w-]+", "-", Path(file).stem).strip("-")[: MAX_NAME_LENGTH - 4] or "data"
    return next(name for n in itertools.count(1) if (name := stem if n == 1 else f"{stem}-{n}") not in taken)


def columns_chosen(table: Table, question: str, answer: str, label: str, one_label: str) -> Columns:
    """The mapping as it was chosen. Raises DataError where question or answer was not, and cannot be told."""
    found = find_columns(table.columns, question or None, answer or None)
    return Columns(found.question, found.answer, label or None, clean(one_label) or Columns.one_label)


@shows_errors
def look(path: str | None, chatbot: str, request: gr.Request) -> list:
    """What the file is, and the columns that it probably has, in the order of Importing.looked_at."""
    auth.require_owner(request)
    if not path:
        return nothing()
    language, table, to_choose = language_of(request), open_table(path), ""
    try:
        found = find_columns(table.columns)
    except DataError:  # told by nobody's name; it is for the owner to choose
        if len(table.columns) < 2:
            raise
        found = Columns("", "")
        to_choose = f'<p class="banner">{html.escape(say(language, "k_choose_columns"))}</p>'
    if models.card(chatbot).labels:
        to_choose += f'<p class="quiet">{html.escape(say(language, "k_length_for", name=chatbot))}</p>'
    names = [(name, name) for name in table.columns]
    return [
        told(language, table, next(table.chunks(PREVIEW_ROWS))) + to_choose,
        gr.Column(visible=True),
        gr.Dropdown(choices=names, value=found.question or None),
        gr.Dropdown(choices=names, value=found.answer or None),
        gr.Dropdown(choices=[(t("k_no_label"), ""), *names], value=found.label or ""),
        gr.Textbox(visible=not found.label),
        name_for(path, set(datasets.list_datasets(auth.folder_of(request)))),
        gr.Button(visible=True),
        gr.Button(visible=False),
    ]


def nothing() -> list:
    """No file, in the order of Importing.looked_at."""
    columns = [gr.Dropdown(choices=[], value=None)] * 3
    shown = [gr.Textbox(visible=False), "", gr.Button(visible=False), gr.Button(visible=True)]
    return ["", gr.Column(visible=False), *columns, *shown]


@shows_errors
def bring_in(
    path: str | None, question: str, answer: str, label: str, one_label: str, name: str, chatbot: str,
    request: gr.Request,
) -> Iterator[tuple]:  # fmt: skip
    """Make a dataset of a file; yields the progress bar, in the end an empty one and its name. Raises KochatError."""
    auth.require_owner(request)
    if not path:
        raise DataError("no_upload")
    language, shown_at = language_of(request), 0.0
    yield bar_html(language, 0, say(language, "k_opening")), gr.skip()
    table = open_table(path)
    columns, prompt = columns_chosen(table, question, answer, label, one_label), models.prompt(chatbot)
    too_long = prompt.too_long if prompt else None
    for read in create(auth.folder_of(request), name, table, columns, too_long):
        if time.monotonic() - shown_at > BETWEEN_PICTURES:
            told = say(language, "k_rows_read", rows=f"{read.rows:,}", done=read.done)
            yield bar_html(language, read.done, told), gr.skip()
            shown_at = time.monotonic()
    yield "", safe_name(name)


@shows_errors
@auth.owner_only
def make_empty(name: str, request: gr.Request) -> str:
    """Make a dataset without a row; its name. Raises KochatError."""
    return datasets.empty(auth.folder_of(request), name).name


def build() -> Importing:
    """The components, and the events that stay among them."""
    with gr.Accordion(t("k_import"), open=False, visible=False, elem_id="import") as part:
        upload = gr.File(label=t("k_import_file"), height=130, elem_id="import-file")
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
        name = gr.Textbox(label=t("k_dataset_name"), max_length=MAX_NAME_LENGTH, elem_id="dataset-name")
        with gr.Row():
            start = gr.Button(t("k_bring_in"), variant="primary", visible=False, elem_id="bring-in")
            empty = gr.Button(t("k_make_empty"), elem_id="make-empty")
            cancel = gr.Button(t("k_cancel_import"), visible=False, elem_id="cancel-import")
        bar = gr.HTML(elem_id="import-bar")
    label.change(lambda chosen: gr.Textbox(visible=chosen == ""), label, one_label, queue=False, **PRIVATE)
    columns = (question, answer, label, one_label)
    return Importing(part, upload, told_html, mapping, *columns, name, start, empty, cancel, bar)
