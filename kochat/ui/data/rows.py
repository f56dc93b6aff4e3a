"""The rows of a dataset: a table to page through, and one row to mend, with the tokens it becomes.

Knows a dataset and HTML. What is looked at is five plain values: dataset, page, search, label and which rows.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass

import gradio as gr

from kochat.data.datasets import Dataset
from kochat.data.rows import Row
from kochat.errors import KochatError
from kochat.labels import in_order, is_plain_column
from kochat.model.prompt import Piece, Prompt
from kochat.ui.text import say, t
from kochat.ui.widgets import label_class

ROWS_A_PAGE = 25
LAST = 2**31  # a page behind every last one
MAX_LABELS = 500  # that a dropdown offers
MAX_PIECES = 400  # tokens of one row that are shown
MAX_SHOWN = 300  # characters of a cell in the table
COLUMNS = ("k_number", "k_question", "k_answer", "k_row_label")
Place = tuple[str, int | None] | None  # of what is in the form: its dataset's key, its number or None for a new row
# A click, or Enter on the row that has the focus.
PICK = """
const pick = event => {
  const row = event.target.closest("tr[data-row]");
  if (row && (event.type === "click" || event.key === "Enter")) trigger("click", {row: Number(row.dataset.row)});
};
element.addEventListener("click", pick);
element.addEventListener("keydown", pick);
"""


@dataclass
class Table:
    """The components of the table; `shown` are those that `view` fills."""

    number: gr.Number
    pages: gr.HTML
    search: gr.Textbox
    label: gr.Dropdown
    only: gr.Radio
    table: gr.HTML
    turns: list[tuple[gr.Button, int]]  # buttons, and by how many pages each turns

    @property
    def looked(self) -> list:
        """What is looked at, in the order of `view`'s last arguments."""
        return [self.number, self.search, self.label, self.only]

    @property
    def shown(self) -> list:
        """What `view` fills."""
        return [self.table, self.number, self.pages, *(button for button, _ in self.turns)]


def view(language: str, dataset: Dataset, number: float | None, search: str | None, label: str, only: str) -> list:
    """One page of the rows that match, in the order of Table.shown; a page behind the last becomes the last."""
    asked = {"search": (search or "").strip(), "label": label[1:] if label else None, "only": only}
    number = min(max(int(number or 1), 1), LAST)
    rows, matching = dataset.page((number - 1) * ROWS_A_PAGE, ROWS_A_PAGE, **asked)
    pages = max(1, math.ceil(matching / ROWS_A_PAGE))
    if number > pages:
        number = pages
        rows, matching = dataset.page((number - 1) * ROWS_A_PAGE, ROWS_A_PAGE, **asked)
    back, on = gr.Button(interactive=number > 1), gr.Button(interactive=number < pages)
    places = {label: place for place, label in enumerate(in_order(dataset.counts().labels))}
    title = dataset.label_column()
    return [table_html(language, rows, matching, places, title), number, f"/ {pages:,}", back, back, on, on]


def table_html(
    language: str, rows: list[Row], matching: int, places: dict[str, int], label_column: str | None = None
) -> str:
    """The rows as a table, the problems of each below it in its row; `places` of the labels give their colours.

    `label_column` is what the data call their labels.
    """
    if not rows:
        return f'<p class="quiet">{html.escape(say(language, "k_no_rows"))}</p>'
    names = [say(language, key) for key in COLUMNS]
    if label_column and not is_plain_column(label_column):
        names[-1] = label_column
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(_row_html(language, row, places) for row in rows)
    found = html.escape(say(language, "k_found", rows=f"{matching:,}"))
    return (
        f'<p class="quiet">{found}</p><div class="rows"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row_html(language: str, row: Row, places: dict[str, int]) -> str:
    mark = f' class="mark {label_class(places[row.label])}"' if row.label in places else ""
    cells = "".join(f"<td>{_cell(text)}</td>" for text in (row.Q, row.A)) + f"<td{mark}>{_cell(row.label)}</td>"
    kind = "" if not row.problems else "note" if all(one.is_note for one in row.problems) else "bad"
    line = f'<tr data-row="{row.id}" tabindex="0" class="{kind}"><td>{row.id}</td>{cells}</tr>'
    if kind:
        why = f'<td></td><td colspan="3"><span class="why">{_why(language, row)}</span></td>'
        line += f'<tr data-row="{row.id}" class="{kind} why">{why}</tr>'
    return line


def _cell(text: str) -> str:
    return html.escape(text[:MAX_SHOWN]) + ("…" if len(text) > MAX_SHOWN else "")


def _why(language: str, row: Row) -> str:
    return "<br>".join(html.escape(one.text_in_row(language)) for one in row.problems)


def label_choices(labels: dict[str, int]) -> list[tuple]:
    """Dropdown choices: all rows, and each label with how many rows have it. A label's value begins with "="."""
    shown = list(labels.items())[:MAX_LABELS]
    return [(t("k_all_labels"), ""), *((f"{label or '–'} ({rows:,})", f"={label}") for label, rows in shown)]


# One row.


def tokens_html(
    language: str, prompt: Prompt | None, question: str | None, answer: str | None, label: str | None
) -> str:
    """The tokens that a pair becomes, as chips; where it becomes none, why."""
    if prompt is None or not (question or answer):
        return ""
    try:
        pieces = prompt.explain(question or "", answer or "", label or "")
    except KochatError as error:
        return f'<p class="quiet">{html.escape(error.text(language))}</p>'
    cut = sum(not one.kept for one in pieces)
    told = say(language, "k_tokens", tokens=len(pieces), most=prompt.max_length)
    if cut:
        told += " · " + say(language, "k_tokens_cut", cut=cut)
    parts = "".join(
        f'<span class="piece {part}">{html.escape(say(language, key))}</span> '
        for part, key in (("question", "k_question"), ("label", "k_row_label"), ("answer", "k_answer"))
    )
    chips = " ".join(_chip(piece) for piece in pieces[:MAX_PIECES])
    more = " …" if len(pieces) > MAX_PIECES else ""
    return f'<p class="quiet">{parts}{html.escape(told)}</p><div class="tokens" dir="ltr">{chips}{more}</div>'


def _chip(piece: Piece) -> str:
    text = html.escape(piece.text.replace("\n", "⏎"))
    kind = f"piece {piece.part.name.lower()}"
    return f'<span class="{kind}">{text}</span>' if piece.kept else f'<del class="{kind}">{text}</del>'


@dataclass
class Form:
    """The components of the form of one row; `filled` are those that `filled_with` fills."""

    column: gr.Column
    title: gr.HTML
    question: gr.Textbox
    answer: gr.Textbox
    label: gr.Dropdown
    tokens: gr.HTML
    save: gr.Button
    delete: gr.Button
    close: gr.Button
    row: gr.State  # a Place; None where the form is closed

    @property
    def filled(self) -> list:
        """What `filled_with` and `closed` fill."""
        return [self.column, self.title, self.question, self.answer, self.label, self.tokens, self.delete, self.row]

    @property
    def texts(self) -> list:
        """What a person types."""
        return [self.question, self.answer, self.label]


def filled_with(language: str, key: str, dataset: Dataset, row: Row | None, prompt: Prompt | None) -> list:
    """The form for a row, or for a new one, of the dataset known by `key`, in the order of Form.filled."""
    labels = [label for label in dataset.counts().labels if label][:MAX_LABELS]
    title = say(language, "k_row_number", row=row.id) if row else say(language, "k_new_row")
    shown = f'<h3 class="row-title">{html.escape(title)}</h3>'
    if row and row.problems:
        shown += f'<p class="why">{_why(language, row)}</p>'
    question, answer, label = (row.Q, row.A, row.label) if row else ("", "", next(iter(labels), ""))
    return [
        gr.Column(visible=True),
        shown,
        question,
        answer,
        gr.Dropdown(choices=labels, value=label),
        tokens_html(language, prompt, question, answer, label),
        gr.Button(visible=bool(row)),
        (key, row.id if row else None),
    ]


def closed() -> list:
    """No row, in the order of Form.filled."""
    return [gr.Column(visible=False), *[gr.skip()] * 6, None]


def build_table() -> Table:
    """The components of the table."""
    with gr.Row():
        search = gr.Textbox(label=t("k_search"), max_length=200, min_width=140, elem_id="search")
        label = gr.Dropdown(
            [(t("k_all_labels"), "")],
            value="",
            label=t("k_row_label"),
            interactive=True,
            min_width=140,
            elem_id="by-label",
        )
    only = gr.Radio(
        [(t(f"k_only_{name}"), name) for name in ("all", "bad", "notes")],
        value="all",
        label=t("k_only"),
        show_label=False,
        container=False,
        elem_id="only",
    )
    table = gr.HTML(js_on_load=PICK, elem_id="rows")
    with gr.Row(elem_id="pages"):
        first = gr.Button("«", size="sm", min_width=40, elem_id="first-page")
        previous = gr.Button("‹", size="sm", min_width=40, elem_id="previous-page")
        number = gr.Number(
            1,
            minimum=1,
            precision=0,
            label=t("k_page_number"),
            show_label=False,
            container=False,
            min_width=60,
            elem_id="page-number",
        )
        pages = gr.HTML(elem_id="page-count")
        following = gr.Button("›", size="sm", min_width=40, elem_id="next-page")
        last = gr.Button("»", size="sm", min_width=40, elem_id="last-page")
    turns = [(first, -LAST), (previous, -1), (following, 1), (last, LAST)]
    return Table(number, pages, search, label, only, table, turns)


def build_form() -> Form:
    """The components of the form of one row."""
    with gr.Column(visible=False, elem_id="row") as column:
        title = gr.HTML()
        question = gr.Textbox(label=t("k_question"), lines=1, max_lines=8, elem_id="row-question")
        answer = gr.Textbox(label=t("k_answer"), lines=1, max_lines=8, elem_id="row-answer")
        label = gr.Dropdown(
            [],
            label=t("k_row_label"),
            allow_custom_value=True,
            interactive=True,
            elem_id="row-label",
            info=t("k_row_label_info"),
        )
        with gr.Row():
            save = gr.Button(t("k_save"), variant="primary", min_width=80, elem_id="row-save")
            delete = gr.Button(t("k_delete"), min_width=80, elem_id="row-delete")
            close = gr.Button(t("k_close"), min_width=80, elem_id="row-close")
        tokens = gr.HTML(elem_id="tokens")
    return Form(column, title, question, answer, label, tokens, save, delete, close, gr.State(None))
