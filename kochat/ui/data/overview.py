"""A dataset as a whole: counts that add up, what is wrong, plots, the list of changes.

Knows a dataset and HTML; what a click does is for data.py.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import gradio as gr

from kochat.data.datasets import Change, Counts, Dataset
from kochat.files import MAX_NAME_LENGTH
from kochat.labels import in_order
from kochat.ui.text import say, t
from kochat.ui.widgets import confirm, label_class

MAX_NAMED = 200  # problems that are listed at once; the table pages through all
MAX_BARS = 12  # labels in the plot
MAX_CHANGES = 200


def counts_html(language: str, counts: Counts) -> str:
    """How many rows there are, good and bad, and how often each thing is wrong."""
    told = say(language, "k_rows_all", rows=f"{counts.rows:,}")
    parts = say(language, "k_rows_parts", good=f"{counts.good:,}", bad=f"{counts.bad:,}")
    if counts.notes:
        parts += " " + say(language, "k_rows_notes", notes=f"{counts.notes:,}")
    reasons = "".join(
        f"<li>{html.escape(say(language, f'k_reason_{reason}'))} <b>{rows:,}</b></li>"
        for reason, rows in counts.reasons.items()
        if rows
    )
    return f'<p class="counts"><b>{html.escape(told)}</b> = {html.escape(parts)}</p>' + (
        f'<ul class="reasons">{reasons}</ul>' if reasons else ""
    )


def problems_html(language: str, dataset: Dataset, counts: Counts) -> str:
    """Every problem in a line of its own: row, column, reason; the first ones of very many."""
    if not counts.bad + counts.notes:
        return ""
    named = list(itertools.islice(dataset.problems(MAX_NAMED + 1), MAX_NAMED + 1))
    lines = "".join(f"<li>{html.escape(one.text(language))}</li>" for one in named[:MAX_NAMED])
    if len(named) > MAX_NAMED:
        more = say(language, "k_more_problems", most=MAX_NAMED)
        lines += f"<li>{html.escape(more)}</li>"
    return (
        f'<details class="problems"><summary>{html.escape(say(language, "k_name_problems"))}</summary>'
        f"<ul>{lines}</ul></details>"
    )


def labels_bars(language: str, labels: dict[str, int]) -> list[tuple[str, int]]:
    """A bar for each of the most frequent labels, and one for all others."""
    bars = [(label or "–", rows) for label, rows in labels.items()]
    if len(bars) > MAX_BARS:
        others = sum(rows for _, rows in bars[MAX_BARS - 1 :])
        return [*bars[: MAX_BARS - 1], (say(language, "k_other_labels"), others)]
    return bars


def states(language: str, changes: list[Change]) -> list[tuple[str, int]]:
    """What the dataset was like after each change, the newest first, with the change that came next.

    Going back to before that one makes it so again. How it is now is left out: nothing came next.
    """
    known = [(change_text(language, change), change.id) for change in changes]
    if changes and changes[-1].what != "import":
        known.append((say(language, "k_change_none"), 0))
    return [(text, after) for (text, _), (_, after) in zip(known[1:], known[:-1], strict=True)][:MAX_CHANGES]


def change_text(language: str, change: Change) -> str:
    """When, what, how many rows."""
    when = datetime.fromisoformat(change.time).astimezone()
    rows = say(language, "k_n_rows", rows=f"{change.rows:,}")
    return f"{when:%Y-%m-%d %H:%M} · {say(language, f'k_change_{change.what}')} · {rows}"


def lengths_bars(bins: list[tuple[int, int, int]]) -> list[tuple[str, int]]:
    """A bar for each bin of lengths, from the first that has a row."""
    bins = list(itertools.dropwhile(lambda one: not one[2], bins))
    return [(str(first) if first == last else f"{first}–{last}", rows) for first, last, rows in bins]


def plots(language: str, labels: dict[str, int], lengths: dict[str, list[tuple[int, int, int]]]) -> list[str]:
    """How many rows have each label, and questions and answers of each length."""
    return [
        bars_html(language, "k_label_plot", "k_row_label", labels_bars(language, labels), in_order(labels)),
        bars_html(language, "k_question_plot", "k_characters", lengths_bars(lengths["question"])),
        bars_html(language, "k_answer_plot", "k_characters", lengths_bars(lengths["answer"])),
    ]


def bars_html(language: str, title: str, group: str, bars: list[tuple[str, int]], labels: Sequence[str] = ()) -> str:
    """A table of groups, each with a bar and its number of rows; groups that are among `labels` have their colours.

    gradio's own plots print long names over each other and count in fractions of a row.
    """
    most = max((rows for _, rows in bars), default=0) or 1
    body = "".join(
        f'<tr class="{label_class(labels.index(name)) if name in labels else ""}">'
        f'<th scope="row" title="{html.escape(name)}">{html.escape(name)}</th>'
        f'<td>{rows:,}</td><td><div style="width:{100 * rows / most:.1f}%"></div></td></tr>'
        for name, rows in bars
    )
    title, group, rows = (html.escape(say(language, key)) for key in (title, group, "k_rows_axis"))
    return (
        f'<table class="bars"><caption>{title}</caption><thead><tr><th scope="col">{group}</th>'
        f'<th scope="col">{rows}</th><td></td></tr></thead><tbody>{body}</tbody></table>'
    )


@dataclass
class Overview:
    """The components; `shown` are those that `view` fills."""

    summary: gr.HTML
    choice: gr.Row
    leave_out: gr.Button
    mend: gr.Button
    train: gr.Button
    csv: gr.Button
    file: gr.DownloadButton
    changes: gr.Dropdown
    back: gr.Button
    renaming: gr.Column
    new_name: gr.Textbox
    rename: gr.Button
    delete: gr.Button
    sure: gr.Column
    yes: gr.Button

    @property
    def shown(self) -> list:
        """What `view` fills."""
        return [self.summary, self.choice, self.changes, self.back, self.train]


def view(language: str, dataset: Dataset) -> list:
    """The dataset as it is now, in the order of Overview.shown."""
    counts, before = dataset.counts(), states(language, dataset.changes())
    return [
        counts_html(language, counts) + problems_html(language, dataset, counts),
        gr.Row(visible=counts.bad > 0),
        gr.Dropdown(choices=before, value=before[0][1] if before else None),
        gr.Button(interactive=bool(before)),
        gr.Button(variant="primary" if counts.good and not counts.bad else "secondary"),
    ]


def build() -> Overview:
    """The components."""
    summary = gr.HTML(elem_id="counts")
    with gr.Row(visible=False) as choice:
        mend = gr.Button(t("k_mend"), variant="primary", min_width=130, elem_id="mend")
        leave_out = gr.Button(t("k_leave_out"), min_width=130, elem_id="leave-out")
    with gr.Row():
        train = gr.Button(t("k_train_on"), visible=False, min_width=130, elem_id="train-on")
        csv = gr.Button(t("k_to_csv"), min_width=130, elem_id="to-csv")
        # In the page but not to be seen: page.js presses it when the file is there.
        file = gr.DownloadButton(elem_id="csv-file")
    with gr.Accordion(t("k_changes"), open=False, elem_id="changes"):
        changes = gr.Dropdown([], label=t("k_change"), interactive=True, elem_id="change")
        back = gr.Button(t("k_go_back"), elem_id="go-back")
    with gr.Accordion(t("k_manage"), open=False, elem_id="manage"):
        with gr.Column(visible=False) as renaming:
            new_name = gr.Textbox(label=t("k_new_name"), max_length=MAX_NAME_LENGTH, elem_id="dataset-new-name")
            rename = gr.Button(t("k_rename"), elem_id="dataset-rename")
        delete = gr.Button(t("k_delete_dataset"), elem_id="dataset-delete")
        sure, yes = confirm("k_sure_dataset", elem_id="dataset-delete-yes")
    of_changes = changes, back, renaming, new_name, rename, delete, sure, yes
    return Overview(summary, choice, leave_out, mend, train, csv, file, *of_changes)


def build_plots() -> list[gr.HTML]:
    """The components that `plots` fills."""
    return [gr.HTML(elem_id=f"{of}-plot") for of in ("label", "question", "answer")]
