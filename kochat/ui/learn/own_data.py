"""Step 7: one's own data: what a file needs, which rows can be used, a template, and the way to the other tabs."""

from __future__ import annotations

import html
import tempfile
from pathlib import Path
from urllib.parse import quote

import gradio as gr
import pandas as pd

from kochat.data import pairs
from kochat.data.pairs import Report
from kochat.ui.learn.frame import Step, outcome, paragraph, step, table_html, verdict_html, why_html
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE

NUMBER = 7
OPTIONS = {"6": "k_learn_7_6", "5": "k_learn_7_5", "4": "k_learn_7_4", "3": "k_learn_7_3"}
GOOD = (
    ("몇 시에 열어요?", "아침 열 시에 열어요.", "손님"),
    ("주차할 수 있어요?", "가게 뒤에 두 대 자리가 있어요.", "손님"),
    ("또 왔어요", "어서 오세요. 늘 드시던 걸로 드릴까요?", "단골"),
)
BAD = (
    ("쉬는 날은 언제예요?", "", "손님"),
    ("몇 시에 열어요?", "아침 열 시에 열어요.", "손님"),
    ("배달도 돼요?", "가까운 곳은 걸어서 가져다드려요.", ""),
)
ROWS = (*GOOD[:2], BAD[0], GOOD[2], *BAD[1:])


def checked() -> Report:
    """What is in the file, as `kochat check` finds it."""
    with tempfile.TemporaryDirectory(prefix="kochat-") as folder:
        path = Path(folder) / "shop.csv"
        path.write_bytes(pairs.as_csv(pd.DataFrame(ROWS, columns=pairs.COLUMNS)))
        return pairs.examine(*pairs.open_pairs(path))


def file_html(language: str) -> str:
    """The rows of the file, numbered as a spreadsheet does, and a link to a file of the good ones."""
    heads = [say(language, "k_number"), *(f"{say(language, key)} ({column})" for key, column in _COLUMNS)]
    rows = [(str(number), *row) for number, row in enumerate(ROWS, 2)]
    # With the mark in front Excel reads it as UTF-8.
    template = "\ufeff" + pairs.as_csv(pd.DataFrame(GOOD, columns=pairs.COLUMNS)).decode()
    link = f'<a download="kochat-template.csv" href="data:text/csv;charset=utf-8,{quote(template)}">'
    name = html.escape(say(language, "k_learn_7_template"))
    return table_html(heads, rows) + f"<p>{link}{name}</a></p>"


_COLUMNS = tuple(zip(("k_question", "k_answer", "k_row_label"), pairs.COLUMNS, strict=True))


def report_html(language: str, report: Report, predicted: str | None) -> str:
    """How many rows can be used, and each one that cannot with its reason."""
    good = report.rows - report.bad
    named = "".join(f"<li>{html.escape(problem.text(language))}</li>" for problem in report.problems)
    return (
        paragraph(say(language, "k_rows_parts", good=good, bad=report.bad))
        + f'<ul class="reasons">{named}</ul>'
        + verdict_html(language, OPTIONS, predicted, str(good))
        + why_html(language, NUMBER)
    )


@shows_errors
def press(predicted: str | None, request: gr.Request):
    """Check the file."""
    return report_html(language_of(request), checked(), predicted), True


def build(tabs: gr.Tabs) -> Step:
    """The components and events of the step."""
    with step(NUMBER, OPTIONS) as made:
        file = outcome()
        act = made.button("k_learn_7_act")
        told = outcome()
        with gr.Row():
            to_data = gr.Button(t("k_learn_7_to_data"), min_width=200, elem_id="learn-to-data")
            to_training = gr.Button(t("k_learn_7_to_training"), min_width=200, elem_id="learn-to-training")
    made.opened = (lambda request: file_html(language_of(request)), [], [file])
    act.click(press, made.prediction, [told, made.finished], **PRIVATE)
    for button, tab in ((to_data, "data"), (to_training, "training")):
        button.click(lambda tab=tab: gr.Tabs(selected=tab), None, tabs, queue=False, **PRIVATE)
    return made
