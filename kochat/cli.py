"""`python -m kochat …`: the command line over the same core as the page.

Knows the core and typer; errors of ours become one sentence on stderr and exit status 1.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

from . import runs
from .config import DEFAULT_CHECKPOINT, PretrainingConfig, TrainingConfig
from .errors import KochatError, RunError
from .labels import AUTO

app = typer.Typer(
    help="Talk to a Korean chatbot and fine-tune it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

CheckpointOption = Annotated[str, typer.Option(help="A checkpoint folder or a Hub id.")]
LabelOption = Annotated[str, typer.Option(help='A label of the checkpoint, or "auto".')]
StrengthOption = Annotated[float | None, typer.Option(help="How much the label is strengthened; 0 is plain greedy.")]


def language() -> str:
    """ "ko" where the terminal is set to Korean, else "en"."""
    setting = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "ko" if setting.startswith("ko") else "en"


def main() -> None:
    """Run the command line; a KochatError is printed as its sentence, with exit status 1."""
    if sys.stdout.encoding and sys.stdout.encoding.lower() != "utf-8":
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        app()
    except KochatError as error:
        typer.echo(error.text(language()), err=True)
        raise SystemExit(1) from error


def _load(checkpoint: str):
    from .chatbot import load
    from .model import quiet

    quiet()
    return load(checkpoint)


@app.command()
def reply(
    question: str,
    label: LabelOption = AUTO,
    checkpoint: CheckpointOption = str(DEFAULT_CHECKPOINT),
    strength: StrengthOption = None,
) -> None:
    """Print one reply."""
    typer.echo(_load(checkpoint).reply(question, label, strength))


@app.command()
def chat(
    label: LabelOption = AUTO,
    checkpoint: CheckpointOption = str(DEFAULT_CHECKPOINT),
    strength: StrengthOption = None,
) -> None:
    """Talk until you write 'quit' (the notebook's loop)."""
    bot = _load(checkpoint)
    while True:
        try:
            question = input("user > ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo()
            return
        if question == "quit":
            return
        if not question:
            continue
        typer.echo("Chatbot > ", nl=False)
        for piece in bot.stream(question, label, strength):
            typer.echo(piece, nl=False)
        typer.echo()


def _with_options(settings: type) -> Callable:
    """Give a command an option for each field of a config dataclass: name, type, default and help."""

    def decorate(command: Callable) -> Callable:
        hints = get_type_hints(settings)
        own = [p for p in inspect.signature(command).parameters.values() if p.kind != p.VAR_KEYWORD]
        options = [
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=one.default,
                annotation=Annotated[hints[one.name], typer.Option(help=one.metadata["help"])],
            )
            for one in fields(settings)
            if one.name != "sample_questions"
        ]
        command.__signature__ = inspect.Signature([*own, *options])
        command.__annotations__ = {p.name: p.annotation for p in (*own, *options)}
        return command

    return decorate


@app.command()
@_with_options(TrainingConfig)
def train(run: Annotated[str, typer.Option(help="Train a run that the page has made.", hidden=True)] = "", **settings):
    """Fine-tune a base on pairs and write a checkpoint."""
    from .model import quiet

    quiet()
    if run:
        runs.lower_priority()
        made = runs.find(run)
    elif not (settings["data"] and settings["output"]):
        raise typer.BadParameter("--data and --output are needed.")
    elif os.environ.get("RANK", "0") != "0":
        _help_training(TrainingConfig(**settings))
        return
    else:
        made = runs.create(TrainingConfig(**settings))
    runs.execute(made, on_event=_print_event)


def _help_training(config: TrainingConfig) -> None:
    """Be one of the other processes of `accelerate launch`; the first one keeps the journal."""
    from .training import fine_tune

    for _ in fine_tune(config):
        pass


def _print_event(event: dict) -> None:
    match event["type"]:
        case "started":
            typer.echo(
                f"{event['pairs']} pairs, {event['validation_pairs']} for validation, {event['cut']} cut; "
                f"{event['parameters'] / 1e6:.1f} M parameters, {event['device']}, {event['precision']}"
            )
        case "epoch":
            validation = event["validation_loss"]
            losses = f"loss {event['loss']:.3f}" + ("" if validation is None else f"  validation {validation:.3f}")
            typer.echo(f"epoch {event['epoch']}/{event['epochs']}  {losses}  {event['seconds']:.0f} s")
        case "finished":
            typer.echo(f"{event['checkpoint']} is ready ({event['seconds']:.0f} s)")


@app.command("eval")
def evaluate(
    data: Annotated[str, typer.Option(help="Pairs with answers; a CSV file, a URL or a known name.")],
    checkpoint: CheckpointOption = str(DEFAULT_CHECKPOINT),
    held_out: Annotated[bool, typer.Option(help="Only the pairs that this checkpoint's training kept out.")] = False,
    rows: Annotated[int | None, typer.Option(help="Use only the first rows.")] = None,
    strength: StrengthOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    record: Annotated[bool, typer.Option(help="Write the figures into the checkpoint's card too.")] = False,
) -> None:
    """Measure a checkpoint on pairs."""
    from . import checkpoint as checkpoints
    from . import evaluation, pairs

    bot = _load(checkpoint)
    table = evaluation.held_out(bot.card, data) if held_out else pairs.read_pairs(data)
    figures = evaluation.evaluate(bot, table[:rows], strength).to_dict()
    if record:
        checkpoints.record(Path(checkpoint), {"evaluation": {**figures, "held_out": held_out}})
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        for name, value in figures.items():
            typer.echo(f"{name:20} {value:.4f}" if isinstance(value, float) else f"{name:20} {value}")


@app.command()
@_with_options(PretrainingConfig)
def pretrain(**settings):
    """Make a small base: a tokenizer and a model trained on plain Korean lines."""
    from .events import Step
    from .model import quiet
    from .pretraining import pretrain

    quiet()
    recent: list[float] = []
    for event in pretrain(PretrainingConfig(**settings)):
        if isinstance(event, Step):
            recent.append(event.loss)
            if event.step % 100 == 0:
                loss = sum(recent) / len(recent)
                typer.echo(f"step {event.step}/{event.steps}  loss {loss:.3f}  {event.seconds:.0f} s")
                recent.clear()
        else:
            typer.echo(f"{event.checkpoint} is ready ({event.seconds:.0f} s)")


class RunsAction(StrEnum):
    """What `runs` can do."""

    list = "list"
    stop = "stop"


@app.command("runs")
def show_runs(
    action: Annotated[RunsAction, typer.Argument()] = RunsAction.list,
    name: Annotated[str, typer.Argument(help="The run; default: the one that is running.")] = "",
) -> None:
    """List the runs, or stop one."""
    if action is RunsAction.stop:
        chosen = runs.find(name) if name else runs.active()
        if chosen is None:
            raise RunError("no_active_run")
        chosen.stop()
        return
    for run in runs.list_runs():
        typer.echo(f"{run.name:30} {run.state():12} {run.progress()}")
