"""Named endpoints for gradio_client, and with KOCHAT_MCP=1 three of them as tools of an MCP server.

/reply, /predict_label and /explain, which are those tools; /train, /runs, /checkpoints and /check.
"""

from __future__ import annotations

import importlib.util
import os
import time

import gradio as gr

from kochat.config import DEFAULT_CHECKPOINT
from kochat.data import pairs
from kochat.errors import DataError, LimitError, SettingsError
from kochat.labels import AUTO
from kochat.model import checkpoint
from kochat.runs import queue, registry
from kochat.ui import auth, limits
from kochat.ui.models import ENGINE, bot, engine
from kochat.ui.monitor import replies
from kochat.ui.sources import make_config
from kochat.ui.text import shows_errors
from kochat.ui.uploads import read_once

MAX_PROBLEMS = 10_000  # in one answer; all are counted


def _check_length(question: str, request: gr.Request) -> None:
    if len(question) > limits.MAX_QUESTION_LENGTH and not auth.is_owner(request):
        raise LimitError("question_too_long", most=limits.MAX_QUESTION_LENGTH)


@shows_errors
def reply(
    question: str,
    label: str = AUTO,
    checkpoint: str | None = None,
    strength: float | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    rerank: bool = False,
    request: gr.Request = None,
) -> str:
    """What a small Korean chatbot replies to a question. It knows no earlier turn.

    Args:
        question: The question, in Korean.
        label: What the reply is conditioned on: a label of the checkpoint, or "auto" for the one that it reads itself.
        checkpoint: The name of the chatbot; without it kochat-mini, or the engine in front of which the page stands.
        strength: How much the label is strengthened, from 0; without it, as the checkpoint has it.
        temperature: Above 0 the reply is drawn; at 0 it is always the same.
        top_p: Draw among the likeliest tokens of this probability in all.
        seed: Draws the same reply again; without it, it is another each time.
        rerank: Choose between this reply and the answers written to the nearest questions.
    """
    _check_length(question, request)
    drawn = {"temperature": temperature, "top_p": top_p, "seed": seed, "rerank": rerank}
    start = time.monotonic()
    if checkpoint is None:
        checkpoint = ENGINE if engine() else DEFAULT_CHECKPOINT.name
    said = bot(checkpoint).reply(question, label, strength, **drawn)
    replies.add(time.monotonic() - start)
    return said


@shows_errors
def predict_label(
    question: str, checkpoint: str = DEFAULT_CHECKPOINT.name, request: gr.Request = None
) -> dict[str, float]:
    """The probability of each label of a Korean chatbot, given a question alone: what it takes the question to be.

    Args:
        question: The question, in Korean.
        checkpoint: The name of the chatbot.
    """
    _check_length(question, request)
    return bot(checkpoint).predict_label(question)


@shows_errors
def explain(
    question: str,
    label: str = AUTO,
    checkpoint: str = DEFAULT_CHECKPOINT.name,
    strength: float | None = None,
    runners_up: int = 3,
    request: gr.Request = None,
) -> list[dict]:
    """Why a Korean chatbot replies as it does: each token with its probability, and what else it might have said.

    Args:
        question: The question, in Korean.
        label: What the reply is conditioned on: a label of the checkpoint, or "auto" for the one that it reads itself.
        checkpoint: The name of the chatbot.
        strength: How much the label is strengthened, from 0; without it, as the checkpoint has it.
        runners_up: How many other tokens of each step are named, at most 10.
    """
    _check_length(question, request)
    steps = bot(checkpoint).explain(question, label, strength, max(0, min(10, runners_up)))
    return [{"token": one.token, "probability": one.probability, "runners_up": one.runners_up} for one in steps]


@shows_errors
@auth.owner_only
def train(
    data: str,
    name: str,
    base: str = DEFAULT_CHECKPOINT.name,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    validation_share: float | None = None,
    rows: int | None = None,
    keep_labels: bool | None = None,
    label_names: list[str] | None = None,
    rehearsal: int | None = None,
    test_share: float | None = None,
    request: gr.Request = None,
) -> dict:
    """Queue a run on a known dataset (ChatbotData, everyday, emotions, jobs); follow it with /runs."""
    if data not in pairs.DATASETS:  # a path of the server's own disk is nobody's business
        raise DataError("no_file", path=data)
    settings = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "rows": rows}
    settings |= {"keep_labels": keep_labels, "label_names": label_names or (), "rehearsal": rehearsal}
    settings |= {"validation_share": validation_share, "test_share": test_share}
    return {"run": queue.start(make_config(data, base, name, **settings)).name}


def list_runs() -> list[dict]:
    """All runs, newest first: name, state, progress and the losses of each epoch."""
    wanted = ("epoch", "loss", "validation_loss")
    return [
        {
            "run": run.name,
            "state": run.state(),
            "progress": run.progress(),
            "epochs": [{k: e[k] for k in wanted} for _, e in sorted(run.record().epochs.items())],
        }
        for run in registry.list_runs()
    ]


def list_checkpoints() -> list[dict]:
    """All checkpoints that can be talked to, with their labels."""
    found = checkpoint.list_checkpoints()
    return [{"checkpoint": name, "labels": checkpoint.read_card(path).labels} for name, path in found.items()]


@shows_errors
def check(
    file: str | None,
    checkpoint: str,
    question_column: str,
    answer_column: str,
    label_column: str,
    sheet: str,
    header: str,
    request: gr.Request,
) -> dict:
    """What a file of pairs holds, with its first problems, as `python -m kochat check --json` says it.

    What is longer than the checkpoint can take is a problem. What is empty, of columns, sheet and header (a row's
    number, 0 for none), is found.
    """
    if not file:
        raise DataError("no_upload")
    chosen = [one or None for one in (question_column, answer_column, label_column, sheet)]
    with read_once(file, request):
        table, columns = pairs.open_pairs(file, *chosen, pairs.header_of(header))
        return pairs.examine(table, columns, MAX_PROBLEMS, bot(checkpoint).prompt.too_long).to_dict()


def is_mcp() -> bool:
    """Whether the page is to be an MCP server, too. Raises SettingsError where the package for it is missing."""
    if os.environ.get("KOCHAT_MCP", "") in ("", "0"):
        return False
    if importlib.util.find_spec("mcp") is None:
        raise SettingsError("no_mcp")
    return True


def build() -> None:
    """Register the endpoints with the page around."""
    # Whatever gradio documents, it offers as a tool; the others are there for programs as always.
    others = {"api_visibility": "undocumented" if is_mcp() else "public"}
    for tool in (reply, predict_label, explain):
        gr.api(tool, api_name=tool.__name__, concurrency_id="reply", concurrency_limit=32)
    gr.api(train, api_name="train", concurrency_limit=1, **others)
    gr.api(list_runs, api_name="runs", **others)
    gr.api(list_checkpoints, api_name="checkpoints", **others)
    # Not gr.api: a File takes what the caller uploaded, and nothing else of the server's disk.
    file, report = gr.File(visible=False), gr.JSON(visible=False)
    checkpoint = gr.Textbox(DEFAULT_CHECKPOINT.name, label="checkpoint", visible=False)
    columns = [gr.Textbox("", label=f"{one}_column", visible=False) for one in ("question", "answer", "label")]
    places = [gr.Textbox("", label=one, visible=False) for one in ("sheet", "header")]
    given = [file, checkpoint, *columns, *places]
    file.upload(check, given, report, api_name="check", concurrency_limit=2, **others)
