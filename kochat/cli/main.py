"""`python -m kochat …`: the command line over the same core as the page.

Knows the core and typer; errors of ours become one sentence on stderr and exit status 1.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, Literal, get_type_hints

import typer

from kochat.cli import app as page
from kochat.cli import compare, evaluate, export, familiarity, publish, runs, serve
from kochat.cli.evaluate import CheckpointOption, StrengthOption
from kochat.cli.runs import print_event, watch
from kochat.config import DEFAULT_CHECKPOINT, PretrainingConfig, TrainingConfig
from kochat.data.crisis import is_withheld, where_to_turn
from kochat.errors import KochatError
from kochat.files import explained
from kochat.inference import remote
from kochat.labels import AUTO
from kochat.model.checkpoint import folder_meant
from kochat.runs import queue, registry, worker
from kochat.runs.registry import Run
from kochat.runs.spare import FROM_INPUT

app = typer.Typer(
    help="Talk to a Korean chatbot and fine-tune it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(runs.app, name="runs")
app.add_typer(export.app, name="export")
app.add_typer(publish.app, name="deploy")
app.command()(familiarity.familiarity)
app.command("app")(page.open_page)
app.command()(serve.serve)
app.command("compare")(compare.compare_command)
app.command()(publish.push)
app.command()(publish.push_data)
app.command()(publish.published)

LabelOption = Annotated[str, typer.Option(help='A label of the checkpoint, or "auto".')]
TemperatureOption = Annotated[float, typer.Option(help="Draw the tokens, the more freely the higher; 0 is greedy.")]
TopPOption = Annotated[float, typer.Option(help="Draw among the likeliest tokens of this probability in all.")]
SeedOption = Annotated[int | None, typer.Option(help="Draws the same reply again. Default: another one each time.")]
RerankOption = Annotated[
    bool, typer.Option("--rerank", help="Choose between this reply and answers written to the nearest questions.")
]


def language() -> str:
    """ "ko" where the terminal is set to Korean, else "en"."""
    setting = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "ko" if setting.startswith("ko") else "en"


def main() -> None:
    """Run the command line; a KochatError, or a folder that is closed to us, is one sentence and exit status 1."""
    if sys.stdout.encoding and sys.stdout.encoding.lower() != "utf-8":
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        app()
    except (KochatError, OSError) as error:
        known = explained(error) if isinstance(error, OSError) else error
        if known is None:
            raise
        typer.echo(known.text(language()), err=True)
        raise SystemExit(1) from error


def _to_talk_to(checkpoint: str):
    """What answers: a checkpoint, or the engine of KOCHAT_ENGINE where no other is given."""
    engine = os.environ.get(remote.ENGINE, "").strip()
    if engine and checkpoint == str(DEFAULT_CHECKPOINT):
        return remote.load(engine)
    return remote.load(checkpoint) if remote.is_url(checkpoint) else _load(checkpoint)


def _load(checkpoint: str):
    from kochat.inference.chatbot import load
    from kochat.model.gpt2 import quiet

    quiet()
    return load(checkpoint)


@app.command()
def reply(
    question: str,
    label: LabelOption = AUTO,
    checkpoint: CheckpointOption = str(DEFAULT_CHECKPOINT),
    strength: StrengthOption = None,
    temperature: TemperatureOption = 0.0,
    top_p: TopPOption = 1.0,
    seed: SeedOption = None,
    rerank: RerankOption = False,
) -> None:
    """Print one reply."""
    drawn = {"temperature": temperature, "top_p": top_p, "seed": seed, "rerank": rerank}
    typer.echo(_to_talk_to(checkpoint).reply(question, label, strength, **drawn))


@app.command()
def chat(
    label: LabelOption = AUTO,
    checkpoint: CheckpointOption = str(DEFAULT_CHECKPOINT),
    strength: StrengthOption = None,
    temperature: TemperatureOption = 0.0,
    top_p: TopPOption = 1.0,
    seed: SeedOption = None,
    rerank: RerankOption = False,
) -> None:
    """Talk until you write 'quit' (the notebook's loop)."""
    bot = _to_talk_to(checkpoint)
    drawn = {"temperature": temperature, "top_p": top_p, "seed": seed, "rerank": rerank}
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
        turn_to = where_to_turn(question, language())
        if turn_to:  # the reply is looked at before it is shown
            said, meant = bot.reply(question, label, strength, **drawn), bot.read(question, label).meant
            typer.echo(turn_to if is_withheld(question, said, meant) else f"{said}\n{turn_to}")
            continue
        for piece in bot.stream(question, label, strength, **drawn):
            typer.echo(piece, nl=False)
        typer.echo()


def _with_options(settings: type) -> Callable:
    """Give a command an option for each field of a config dataclass: name, type, default and help."""

    def decorate(command: Callable) -> Callable:
        hints = get_type_hints(settings)
        # As texts, which annotations are in this file, typer would not see what is Annotated.
        annotations = get_type_hints(command, include_extras=True)
        own = [
            p.replace(annotation=annotations[p.name])
            for p in inspect.signature(command).parameters.values()
            if p.kind != p.VAR_KEYWORD
        ]
        options = [
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=list(one.default) if isinstance(one.default, tuple) else one.default,
                annotation=Annotated[_as_option(hints[one.name]), typer.Option(help=one.metadata["help"])],
            )
            for one in fields(settings)
            if one.name != "sample_questions"
        ]
        command.__signature__ = inspect.Signature([*own, *options])
        command.__annotations__ = {p.name: p.annotation for p in (*own, *options)}
        return command

    return decorate


def _as_option(hint: type) -> type:
    """The type as typer knows it: an option that may be given several times is a list."""
    return list[str] if hint == tuple[str, ...] else hint


@app.command()
@_with_options(TrainingConfig)
def train(
    run: Annotated[str, typer.Option(help="Be the process of this run.", hidden=True)] = "",
    on: Annotated[
        Literal["here", "hf-jobs"],
        typer.Option(metavar="WHERE", help="Which machine trains: here, or hf-jobs: one of Hugging Face, for money."),
    ] = "here",
    flavor: Annotated[str, typer.Option(help="The hardware there, as the Hub calls it.")] = "t4-small",
    **settings,
):
    """Fine-tune a base on pairs and write a checkpoint; Ctrl+C stops it, to be resumed."""
    if run:
        _be_the_process_of(run)
    elif not (settings["data"] and settings["output"]):
        raise typer.BadParameter("--data and --output are needed.")
    elif on == "hf-jobs":
        if runs.is_one_of_several():
            raise typer.BadParameter("--on hf-jobs starts one process by itself.")
        _say_the_price(flavor)
        run = queue.start(TrainingConfig(**_with_whole_paths(settings)), {"flavor": flavor})
        watch(run)
    elif runs.is_one_of_several():
        config = TrainingConfig(**_with_whole_paths(settings))
        runs.train_with_others(lambda: queue.create(config, pid=os.getpid()))
    else:
        queue.warm_up()  # while the data are read
        run = queue.start(TrainingConfig(**_with_whole_paths(settings)))
        watch(run, seen=0 if run.state() == "queued" else 1)


def _say_the_price(flavor: str) -> None:
    from kochat.sharing import jobs

    hardware = jobs.offered(flavor)
    price = "what https://huggingface.co/pricing says" if hardware.price is None else f"${hardware.price:.2f} an hour"
    typer.echo(f"{hardware.title} costs {price} while it runs, which is {jobs.MAX_HOURS} hours at most.", err=True)


def _with_whole_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """The process of a run works in another folder than whoever starts it."""
    here = {"data": os.path.abspath(settings["data"])} if os.path.exists(settings["data"]) else {}
    base = str(folder_meant(settings["base"]) or settings["base"])
    return {**settings, **here, "base": base, "output": os.path.abspath(settings["output"])}


def _be_the_process_of(run: str) -> None:
    worker.lower_priority()
    is_forked = run == FROM_INPUT
    if is_forked:
        run = worker.wait_for_runs()
    if not run:
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    found = registry.find(run)
    train = _train_elsewhere(found)
    if train is None:
        from kochat.model.gpt2 import quiet  # brings torch

        quiet()
    worker.execute(found, on_event=print_event, pause=2 * is_forked, train=train)


def _train_elsewhere(run: Run) -> worker.Train | None:
    """What follows a run that is trained on another machine; None for one that is trained here."""
    if not run.is_elsewhere():
        return None
    from huggingface_hub.utils import disable_progress_bars

    from kochat.sharing import jobs

    # What is printed goes into a file.
    disable_progress_bars()
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    return jobs.train


@app.command()
def check(
    file: Annotated[str, typer.Argument(help="A CSV, XLSX, JSON or Parquet file.")],
    question_column: Annotated[
        str | None, typer.Option(help="The column of the questions, by name or number, where its name does not say.")
    ] = None,
    answer_column: Annotated[str | None, typer.Option(help="The column of the answers.")] = None,
    label_column: Annotated[str | None, typer.Option(help="The column of the labels.")] = None,
    sheet: Annotated[
        str | None, typer.Option(help="The sheet of a workbook. Default: all visible ones with the same columns.")
    ] = None,
    header: Annotated[
        int | None,
        typer.Option(min=0, help="The row with the names of the columns; 0: there is none. Default: it is found."),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option(help="Rows longer than this checkpoint can take are bad; empty: none is too long.")
    ] = str(DEFAULT_CHECKPOINT),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a file of pairs holds, and name every bad row."""
    from kochat.data import pairs

    table, columns = pairs.open_pairs(file, question_column, answer_column, label_column, sheet, header)
    report = pairs.examine(table, columns, too_long=_load(checkpoint).prompt.too_long if checkpoint else None)
    told = report.to_dict()
    if as_json:
        typer.echo(json.dumps(told))
        return
    for problem in report.problems:
        typer.echo(problem.text(language()))
    for name in ("format", "encoding", "delimiter", "mapping", "rows", "good", "bad", "notes", "labels"):
        value = told[name]
        shown = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value
        typer.echo(f"{name:10} {json.dumps(shown) if name == 'delimiter' else shown}")
    for remark in report.remarks:
        typer.echo(f"{'remark':10} {remark.text(language())}")


app.command("eval")(evaluate.evaluate)
app.command("strength")(evaluate.strength)


@app.command()
@_with_options(PretrainingConfig)
def pretrain(**settings):
    """Make a small base: a tokenizer and a model trained on plain Korean lines."""
    from kochat.model.gpt2 import quiet
    from kochat.training.events import Step
    from kochat.training.pretraining import pretrain

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


@app.command()
def average(
    checkpoints: Annotated[list[str], typer.Argument(help="Folders, names on the page or Hub ids; two or more.")],
    output: Annotated[str, typer.Option(help="The folder of the new checkpoint; it must not exist yet.")],
    save_dtype: Annotated[
        Literal["float32", "float16", "bfloat16"], typer.Option(help="Of the saved weights.")
    ] = "float32",
):
    """Make a checkpoint whose weights are the mean of others' weights."""
    from kochat.model.averaging import average
    from kochat.model.gpt2 import quiet

    quiet()
    typer.echo(f"{average(checkpoints, output, save_dtype)} is ready")
