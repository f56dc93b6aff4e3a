"""What a run looks like on the page, made from its journal alone: progress, curve, table, samples.

Knows runs, HTML and the plot; no process.
"""

from __future__ import annotations

import html
import itertools
from typing import Any

import gradio as gr
import pandas as pd

from kochat.data.splits import MAX_WITHHELD_NAMED
from kochat.labels import label_name
from kochat.runs.journal import Record
from kochat.runs.registry import Run
from kochat.runs.verdict import Verdict
from kochat.training.events import best_epoch
from kochat.ui.text import say, t, without_places

COLORS = ("#2563eb", "#f97316", "#16a34a", "#93b4f5")


def epochs_of(record: Record) -> list[dict]:
    """The events of the epochs that are done, in order."""
    return [epoch for _, epoch in sorted(record.epochs.items())]


def progress_html(language: str, run: Run) -> str:
    """The state, the progress bar, the steps, the time left, and how it ended."""
    record, state, name = run.record(), run.state(), run.checkpoint_name
    if state == "queued" and not record.finishing:
        return _banner(say(language, "k_state_queued", name=name), "busy")
    if state == "running" and not record.finishing and (record.preparing or not record.started):
        doing = say(language, f"k_preparing_{record.preparing or 'starting'}")
        return _banner(say(language, "k_preparing", name=name) + " " + doing, "busy")
    failure = run.failure()
    told = without_places(failure.text(language)) if failure else _headline(language, run)
    banner = _banner(told, "bad" if failure else state)
    return banner + (_facts(language, run) if record.started else "")


def _headline(language: str, run: Run) -> str:
    record, name, state = run.record(), run.checkpoint_name, run.state()
    if run.is_finishing():
        return say(language, "k_finishing", name=name)
    if state != "finished":
        return say(language, f"k_state_{state}", name=name)
    epoch, is_whole = kept_epoch(record)
    return say(language, "k_state_finished_epoch" if is_whole else "k_state_finished_within", name=name, epoch=epoch)


def kept_epoch(record: Record) -> tuple[int | None, bool]:
    """The epoch that the checkpoint is of, and whether it was gone through; None where there is no checkpoint."""
    if record.state != "finished":
        return None, False
    epoch = record.final.get("epoch")
    return (epoch, True) if epoch else (max(record.epochs, default=0) + 1, False)


def _facts(language: str, run: Run) -> str:
    record, state = run.record(), run.state()
    started, step = record.started, record.last_step()
    done, total = (step["step"], step["steps"]) if step else (0, started["steps"])
    facts = [say(language, "k_steps", done=done, total=total)]
    facts.append(say(language, "k_epochs_done", done=len(record.epochs), total=started["epochs"]))
    asked = [event for event in epochs_of(record) if event.get("own_asked")]
    if asked and state != "finished":  # then the verdict tells
        facts.append(say(language, "k_own_now", right=asked[-1]["own_right"], asked=asked[-1]["own_asked"]))
    left = run.seconds_left()
    if state == "running" and left and done < total:
        facts.append(say(language, "k_time_left", time=duration(language, left)))
    elif state != "running":
        facts.append(duration(language, record.seconds()))
    about = say(language, "k_about_data", pairs=started["pairs"], held_out=started["validation_pairs"])
    if started.get("test_pairs"):  # runs of before had no test part
        about += " · " + say(language, "k_about_test", test=started["test_pairs"])
    if started["cut"]:
        about += " · " + say(language, "k_about_cut", cut=started["cut"])
    if moved := started.get("near_duplicates"):
        about += " · " + say(language, "k_about_near_duplicates", moved=moved)
    return _bar(done, total, " · ".join(facts), about)


def withheld_html(language: str, record: Record) -> str:
    """The first questions that a training withheld, a list a part; empty where there are none."""
    started, lists = record.started or {}, ""
    for part, questions in (started.get("withheld") or {}).items():
        if questions:
            more = " …" if len(questions) == MAX_WITHHELD_NAMED else ""
            items = "".join(f"<li>{html.escape(question)}</li>" for question in questions)
            lists += f"<h4>{html.escape(say(language, f'k_part_{part}'))}</h4><ul>{items}</ul>{more}"
    if known := started.get("test_known_to_base"):
        lists += f'<p class="quiet">{html.escape(say(language, "k_test_known_to_base", known=known))}</p>'
    title = html.escape(say(language, "k_withheld"))
    return f"<h3>{title}</h3>{lists}" if lists else ""


def queue_html(language: str, waiting: list[tuple[str, float | None]]) -> str:
    """The runs that wait for their turn, with their place and about when they start (seconds from now)."""
    if not waiting:
        return ""
    rows = "".join(
        f"<li>{html.escape(name)}"
        + (f' <span class="quiet">{html.escape(_starts_in(language, seconds))}</span>' if seconds is not None else "")
        + "</li>"
        for name, seconds in waiting
    )
    head = html.escape(say(language, "k_queue"))
    return f"<h3>{head}</h3><ol>{rows}</ol>"


def _starts_in(language: str, seconds: float) -> str:
    return say(language, "k_starts_in", time=duration(language, seconds))


def duration(language: str, seconds: float) -> str:
    """A length of time for people."""
    if seconds < 60:
        return say(language, "k_seconds", n=max(1, round(seconds)))
    if seconds < 3600:
        return say(language, "k_minutes", n=round(seconds / 60))
    return say(language, "k_hours", hours=int(seconds // 3600), minutes=int(seconds % 3600 // 60))


def _banner(text: str, kind: str) -> str:
    return f'<p class="banner {kind}" role="status">{html.escape(text)}</p>'


def _bar(done: int, total: int, facts: str, about: str) -> str:
    return (
        f'<div class="bar" role="progressbar" aria-label="{html.escape(facts)}" '
        f'aria-valuemin="0" aria-valuemax="{total}" aria-valuenow="{done}">'
        f'<div style="width:{100 * done / max(total, 1):.1f}%"></div></div>'
        f'<p class="quiet">{html.escape(facts)}<br>{html.escape(about)}</p>'
    )


def curve(language: str, record: Record) -> pd.DataFrame | None:
    """The points of the loss curve; None before the first (an empty table breaks the plot for good).

    An epoch's own points stand at its end; in between there is the running loss of its steps.
    """
    training, validation, best, running = series(language)
    rows, chosen = [], best_epoch(epochs_of(record))
    for event in epochs_of(record):
        rows.append((event["epoch"], event["loss"], training))
        if event["validation_loss"] is not None:
            rows.append((event["epoch"], event["validation_loss"], validation))
        if event["epoch"] == chosen:
            rows.append((event["epoch"], event["validation_loss"], best))
    if record.started:
        an_epoch = record.started["steps"] / record.started["epochs"]
        rows += [(round(step / an_epoch, 3), loss, running) for step, loss in sorted(record.running_loss.items())]
    return as_frame(rows)


def last_epoch(*records: Record) -> int:
    """The number of the last epoch that any of these runs is to have, also of those that are not there yet."""
    planned = [record.started["epochs"] for record in records if record.started]
    done = [max(one["epoch"], one["epochs"]) for record in records for one in epochs_of(record)]
    return max([*planned, *done], default=0)


def as_frame(rows: list[tuple[float, float, str]]) -> pd.DataFrame | None:
    """Rows of epoch, loss and series for the plot; None where there are none."""
    return pd.DataFrame(rows, columns=["epoch", "loss", "kind"]).astype({"epoch": float}) if rows else None


SERIES = ("k_line_training", "k_line_validation", "k_best_epoch", "k_running_loss")


def series(language: str) -> list[str]:
    """What the curve's lines are called: training loss, validation loss, the best epoch, the running loss."""
    return [say(language, key) for key in SERIES]


TABLE_COLUMNS = (
    "k_epoch",
    "k_training_loss",
    "k_validation_loss",
    "k_own_answers",
    "k_base_nll",
    "k_perplexity",
    "k_speed",
    "k_since_start",
)


def epochs_table(language: str, record: Record) -> dict[str, Any]:
    """The value of the table: a row an epoch, the newest first, the best one and the one that was kept marked."""
    rows, best = [], best_epoch(epochs_of(record))
    kept, is_whole = kept_epoch(record)
    for event in reversed(epochs_of(record)):
        validation = event["validation_loss"]
        signs = ["★"] * (event["epoch"] == best) + ["✔"] * (is_whole and event["epoch"] == kept)
        shown = " ".join([str(event["epoch"]), *signs])
        losses = [f"{event['loss']:.3f}", "–" if validation is None else f"{validation:.3f}"]
        facts = [f"{event['perplexity']:.1f}", f"{event['tokens_per_second']:.0f}"]
        rows.append([shown, *losses, *_asked(event), *facts, duration(language, event["seconds"])])
    if (record.started or {}).get("own_asked"):
        rows.append([say(language, "k_before"), "–", "–", *_asked(record.started), "–", "–", "–"])
    # Where no question was withheld there is no validation loss, and the perplexity says no more than the loss.
    validated = any(event["validation_loss"] is not None for event in epochs_of(record))
    shown = [
        i
        for i, key in enumerate(TABLE_COLUMNS)
        if (validated or key != "k_perplexity") and any(row[i] != "–" for row in rows)
    ]
    return {
        "headers": [say(language, TABLE_COLUMNS[i]) for i in shown],
        "data": [[row[i] for i in shown] for row in rows],
    }


def _asked(event: dict) -> list[str]:
    """How many own answers were right, and how likely the base's validation answers still are."""
    right = f"{event['own_right']} / {event['own_asked']}" if event.get("own_asked") else "–"
    return [right, "–" if event.get("base_nll") is None else f"{event['base_nll']:.3f}"]


def verdict_html(language: str, found: Verdict | None) -> str:
    """Whether a training worked, in a sentence or three."""
    if not found:
        return ""
    own = {"right": found.own_right, "asked": found.own_asked, "before": found.own_before or 0}
    sentences = [say(language, f"k_verdict_{found.learned}", **own)]
    if found.base_before is not None and found.base_after is not None:
        base = {"before": f"{found.base_before:.2f}", "after": f"{found.base_after:.2f}"}
        sentences.append(say(language, "k_verdict_forgot" if found.forgot else "k_verdict_kept", **base))
    sentences += [say(language, f"k_advice_{name}") for name in found.changes]
    kind = "good" if found.kind == "learned" else "bad" if found.forgot else ""
    return f'<p class="verdict {kind}">{html.escape(" ".join(sentences))}</p>'


def changes_text(language: str, found: Verdict) -> str:
    """The settings of another try, short."""
    return " · ".join(
        say(language, f"k_try_{name}", value=f"{value:g}" if isinstance(value, float) else value)
        for name, value in found.changes.items()
    )


def samples_html(language: str, record: Record) -> str:
    """What the model answered: a table a question, a column a label; before the training, then the newest epoch first.

    Answers that are the data's own are marked.
    """
    started = record.started or {}
    asked = [(say(language, "k_before"), started.get("samples"))]
    asked += [(str(event["epoch"]), event["samples"]) for event in reversed(epochs_of(record))]
    asked = [(when, samples) for when, samples in asked if samples]
    if not asked:
        return ""
    questions = list(dict.fromkeys(sample["question"] for sample in asked[-1][1]))
    labels = started.get("labels") or list(dict.fromkeys(sample["label"] for sample in asked[-1][1]))
    names = {label: label_name(label, language, labels, started.get("label_names", {})) for label in labels}
    tables = "".join(_question_table(language, question, asked, names) for question in questions)
    title = html.escape(say(language, "k_samples"))
    # It scrolls by itself, so it must be reached by keyboard.
    return f'<h3>{title}</h3><div class="samples" role="region" aria-label="{title}" tabindex="0">{tables}</div>'


def _question_table(language: str, question: str, asked: list[tuple[str, list[dict]]], names: dict[str, str]) -> str:
    own = [sample for sample in asked[-1][1] if sample["question"] == question]
    head = "".join(f"<th>{html.escape(names[one['label']])}{_answer(language, one)}</th>" for one in own)
    rows = ""
    for when, samples in asked:
        cells = "".join(_cell(language, sample) for sample in samples if sample["question"] == question)
        rows += f"<tr><th>{html.escape(when)}</th>{cells}</tr>"
    corner = html.escape(say(language, "k_epoch"))
    return (
        f"<table><caption>“{html.escape(question)}”</caption><thead><tr><th>{corner}</th>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _answer(language: str, sample: dict) -> str:
    """The data's own answer to a sample question, small; nothing where they have none."""
    answer = sample.get("answer")
    return f'<div class="quiet">{html.escape(say(language, "k_own_answer", answer=answer))}</div>' if answer else ""


def _cell(language: str, sample: dict) -> str:
    reply = html.escape(sample["reply"]) or "–"
    if not sample.get("answer") or sample["reply"] != sample["answer"]:
        return f"<td>{reply}</td>"
    return f'<td class="own" title="{html.escape(say(language, "k_is_own_answer"))}">✔ {reply}</td>'


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


def empty_plot(height: int = 280, **options) -> gr.LinePlot:
    """A loss curve that has nothing to show yet, `height` in pixels; "d" has ticks at whole epochs only."""
    return gr.LinePlot(
        x="epoch",
        y="loss",
        color="kind",
        title=t("k_curve"),
        height=height,
        show_label=False,
        tooltip="axis",
        buttons=[],
        x_axis_format="d",
        visible=False,
        **options,
    )
