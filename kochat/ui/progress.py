"""What a run looks like on the page, made from its journal alone: progress, curve, table, samples.

Knows runs and HTML; no component and no process.
"""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

from ..events import best_epoch
from ..journal import Record
from ..labels import label_name
from ..runs import Run
from ..splits import MAX_WITHHELD_NAMED
from .text import say

MOST_CATEGORIES = 15  # up to so many epochs the axis shows each; a phone has no room for more


def epochs_of(record: Record) -> list[dict]:
    """The events of the epochs that are done, in order."""
    return [epoch for _, epoch in sorted(record.epochs.items())]


def progress_html(language: str, run: Run) -> str:
    """The state, the progress bar, the steps, the time left, and how it ended."""
    record, state, name = run.record(), run.state(), run.checkpoint_name
    if state == "queued" and not record.finishing:
        return _banner(say(language, "k_state_queued", name=name), "busy")
    if state == "running" and not record.started and not record.finishing:
        return _banner(say(language, "k_preparing", name=name), "busy")
    failure = run.failure()
    banner = _banner(failure.text(language), "bad") if failure else _banner(_headline(language, run), state)
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
        f'<div class="bar" role="progressbar" aria-valuemin="0" aria-valuemax="{total}" aria-valuenow="{done}">'
        f'<div style="width:{100 * done / max(total, 1):.1f}%"></div></div>'
        f'<p class="quiet">{html.escape(facts)}<br>{html.escape(about)}</p>'
    )


def curve(language: str, record: Record) -> pd.DataFrame | None:
    """The points of the loss curve; None before the first (an empty table breaks the plot for good)."""
    training, validation, best = series(language)
    rows, chosen = [], best_epoch(epochs_of(record))
    for event in epochs_of(record):
        rows.append((event["epoch"], event["loss"], training))
        if event["validation_loss"] is not None:
            rows.append((event["epoch"], event["validation_loss"], validation))
        if event["epoch"] == chosen:
            rows.append((event["epoch"], event["validation_loss"], best))
    return as_frame(rows, last_epoch(record))


def last_epoch(*records: Record) -> int:
    """The number of the last epoch that any of these runs is to have, also of those that are not there yet."""
    return max((max(one["epoch"], one["epochs"]) for record in records for one in epochs_of(record)), default=0)


def as_frame(rows: list[tuple[int, float, str]], last: int) -> pd.DataFrame | None:
    """Rows of epoch, loss and series for the plot, `last` the end of its axis; None where there are none."""
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=["epoch", "loss", "kind"])
    # As texts the epochs are whole numbers on the axis, as numbers they are 1.0, 1.2, … Which of both it is stays
    # while a run goes on: a plot that is there keeps the axis that it began with, and loses the points of another.
    return frame.astype({"epoch": str}) if last <= MOST_CATEGORIES else frame


def series(language: str) -> list[str]:
    """What the curve's lines are called: training loss, validation loss, the best epoch."""
    return [say(language, key) for key in ("k_training_loss", "k_validation_loss", "k_best_epoch")]


TABLE_COLUMNS = ("k_epoch", "k_training_loss", "k_validation_loss", "k_perplexity", "k_speed", "k_since_start")


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
        rows.append([shown, *losses, *facts, duration(language, event["seconds"])])
    return {"headers": [say(language, key) for key in TABLE_COLUMNS], "data": rows}


def samples_html(language: str, record: Record) -> str:
    """What the model answered after each epoch: a table a question, a column a label, newest first."""
    epochs = epochs_of(record)
    if not epochs or not epochs[0]["samples"]:
        return ""
    questions = list(dict.fromkeys(sample["question"] for sample in epochs[0]["samples"]))
    names = (record.started or {}).get("label_names", {})
    tables = "".join(_question_table(language, question, epochs, names) for question in questions)
    return f'<h3>{html.escape(say(language, "k_samples"))}</h3><div class="samples">{tables}</div>'


def _question_table(language: str, question: str, epochs: list[dict], names: dict[str, str]) -> str:
    labels = [sample["label"] for sample in epochs[0]["samples"] if sample["question"] == question]
    shown = [label_name(label, language, labels, names) for label in labels]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in shown)
    rows = ""
    for event in reversed(epochs):
        replies = [sample["reply"] for sample in event["samples"] if sample["question"] == question]
        cells = "".join(f"<td>{html.escape(reply) or '–'}</td>" for reply in replies)
        rows += f"<tr><th>{event['epoch']}</th>{cells}</tr>"
    corner = html.escape(say(language, "k_epoch"))
    return (
        f"<table><caption>“{html.escape(question)}”</caption><thead><tr><th>{corner}</th>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )
