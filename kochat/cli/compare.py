"""`python -m kochat compare`: the same questions to several checkpoints and labels.

Knows the comparison and typer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kochat.config import DEFAULT_CHECKPOINT
from kochat.evaluation.comparison import NO_REPLY, Comparison, compare, plan, questions_of, read_questions
from kochat.labels import AUTO

if TYPE_CHECKING:
    from kochat.inference.chatbot import Chatbot


def compare_command(
    questions: Annotated[list[str] | None, typer.Argument(metavar="QUESTION…", help="What is asked.")] = None,
    checkpoint: Annotated[
        list[str] | None, typer.Option(help="A folder, a name on the page or a Hub id; once for each.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help='A label or "auto"; once for each.')] = None,
    strength: Annotated[list[float] | None, typer.Option(help="A strength; once for each. Default: its own.")] = None,
    data: Annotated[str | None, typer.Option(help="A file with a column of questions.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table to this file, instead of printing it.")] = None,
) -> None:
    """Ask the same questions of several checkpoints, under several labels."""
    from kochat.inference.chatbot import load
    from kochat.model.gpt2 import quiet

    asked = questions_of(questions or ()) + (read_questions(data) if data else [])
    quiet()
    bots: dict[str, Chatbot] = {}
    for source in dict.fromkeys(checkpoint or [str(DEFAULT_CHECKPOINT)]):
        bot = load(source)
        bots[source if bot.name in bots else bot.name] = bot
    cards = {name: bot.card for name, bot in bots.items()}
    table = plan(asked, cards, label or [AUTO], strength or [None])
    for _ in compare(table, bots.__getitem__):
        pass
    if csv:
        table.write_csv(csv)
    else:
        _print(table)
    for column, name in zip(table.columns, _names(table), strict=True):
        if column.possible:
            typer.echo(f"{name}: {column.seconds:.2f} s, {column.ms:.0f} ms a reply", err=True)


def _names(table: Comparison) -> list[str]:
    return [f"{one.checkpoint} · {one.label}" + f" · {one.strength:g}" * bool(one.strength) for one in table.columns]


def _print(table: Comparison) -> None:
    names = _names(table)
    for row, question in enumerate(table.questions):
        typer.echo(question)
        for name, reply, differs in zip(names, table.replies(row), table.differs(row), strict=True):
            said = NO_REPLY if reply is None else reply
            typer.echo(f"  {'≠' if differs else ' '} {name:{max(map(len, names))}}  {said}")
