"""What a run looks like on the page, made from its journal alone: progress, curve, table, samples.

Knows events (see training.py) and HTML; no component and no process.
"""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

from ..errors import RunError
from ..labels import label_name
from .text import say

MOST_CATEGORIES = 15  # up to so many epochs the axis shows each; a phone has no room for more


def of_type(events: list[dict], kind: str) -> list[dict]:
    """The events of one type."""
    return [event for event in events if event["type"] == kind]


def progress_html(language: str, name: str, state: str, events: list[dict]) -> str:
    """The progress bar, the steps, the time left, and how it ended."""
    steps, epochs = of_type(events, "step"), of_type(events, "epoch")
    if state in ("failed", "interrupted"):
        return _banner(_failure(language, state, events), "bad")
    started = of_type(events, "started")
    if not started:
        return _banner(say(language, "k_preparing", name=name), "busy")
    done, total = (steps[-1]["step"], steps[-1]["steps"]) if steps else (0, started[0]["steps"])
    facts = [say(language, "k_steps", done=done, total=total)]
    facts.append(say(language, "k_epochs_done", done=len(epochs), total=started[0]["epochs"]))
    if state == "running" and steps and done < total:
        facts.append(say(language, "k_time_left", time=duration(language, _seconds_left(steps))))
    elif events[-1]["type"] == "finished":
        facts.append(duration(language, events[-1]["seconds"]))
    about = say(language, "k_about_data", pairs=started[0]["pairs"], held_out=started[0]["validation_pairs"])
    if started[0]["cut"]:
        about += " · " + say(language, "k_about_cut", cut=started[0]["cut"])
    return _banner(say(language, f"k_state_{state}", name=name), state) + _bar(done, total, " · ".join(facts), about)


def _failure(language: str, state: str, events: list[dict]) -> str:
    if state == "interrupted":
        return RunError("run_killed").text(language)
    return RunError(events[-1]["key"], **events[-1]["values"]).text(language)


def _seconds_left(steps: list[dict]) -> float:
    # The last steps tell the speed of now: the chat may have taken the processor before.
    recent = steps[-50:]
    if len(recent) > 1:
        a_step = (recent[-1]["seconds"] - recent[0]["seconds"]) / (len(recent) - 1)
    else:
        a_step = recent[0]["seconds"]
    return a_step * (recent[-1]["steps"] - recent[-1]["step"])


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


def curve(language: str, events: list[dict]) -> pd.DataFrame | None:
    """The points of the loss curve; None before the first (an empty table breaks the plot for good)."""
    rows = []
    for event in of_type(events, "epoch"):
        rows.append((event["epoch"], event["loss"], say(language, "k_training_loss")))
        if event["validation_loss"] is not None:
            rows.append((event["epoch"], event["validation_loss"], say(language, "k_validation_loss")))
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=["epoch", "loss", "kind"])
    # As texts the epochs are whole numbers on the axis, as numbers they are 1.0, 1.2, …
    return frame.astype({"epoch": str}) if frame["epoch"].max() <= MOST_CATEGORIES else frame


def epochs_table(language: str, events: list[dict]) -> dict[str, Any]:
    """The value of the table: a row an epoch, the newest first."""
    headers = [say(language, f"k_{name}") for name in ("epoch", "training_loss", "validation_loss", "since_start")]
    rows = []
    for event in reversed(of_type(events, "epoch")):
        validation = event["validation_loss"]
        losses = [f"{event['loss']:.3f}", "–" if validation is None else f"{validation:.3f}"]
        rows.append([event["epoch"], *losses, duration(language, event["seconds"])])
    return {"headers": headers, "data": rows}


def samples_html(language: str, events: list[dict]) -> str:
    """What the model answered after each epoch: a table a question, a column a label, newest first."""
    epochs = of_type(events, "epoch")
    if not epochs or not epochs[0]["samples"]:
        return ""
    questions = list(dict.fromkeys(sample["question"] for sample in epochs[0]["samples"]))
    tables = "".join(_question_table(language, question, epochs) for question in questions)
    return f'<h3>{html.escape(say(language, "k_samples"))}</h3><div class="samples">{tables}</div>'


def _question_table(language: str, question: str, epochs: list[dict]) -> str:
    labels = [sample["label"] for sample in epochs[0]["samples"] if sample["question"] == question]
    head = "".join(f"<th>{html.escape(label_name(label, language, labels))}</th>" for label in labels)
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
