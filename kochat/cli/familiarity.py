"""`python -m kochat familiarity`: how surprising questions are to a checkpoint, and its calibration.

Knows the core and typer; errors are for whoever runs the command line to show.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from kochat.cli.evaluate import CheckpointOption, card_to_write
from kochat.config import DEFAULT_CHECKPOINT
from kochat.errors import DataError


def familiarity(
    questions: Annotated[list[str] | None, typer.Argument(help="Questions to try.")] = None,
    checkpoint: CheckpointOption = str(DEFAULT_CHECKPOINT),
    data: Annotated[str, typer.Option(help="The pairs that it was trained with: calibrate on those kept out.")] = "",
    record: Annotated[bool, typer.Option(help="Write the calibration into the checkpoint's card too.")] = False,
) -> None:
    """Say how surprising questions are; with --data, above what a question counts as unfamiliar."""
    from kochat.evaluation import metrics
    from kochat.inference.chatbot import Chatbot
    from kochat.inference.familiarity import MIN_QUESTIONS
    from kochat.model import checkpoint as checkpoints
    from kochat.model.gpt2 import quiet

    if record and not data:
        raise typer.BadParameter("--record needs --data.")
    if record:
        card_to_write(checkpoint)
    quiet()
    loaded = checkpoints.load(checkpoint)
    bot = Chatbot(loaded)
    if data:
        unseen = metrics.held_out(bot.card, data)["Q"]
        bot.card.familiarity = bot.calibrate(list(unseen))
        if not bot.card.familiarity:
            raise DataError("too_few_questions", name=data, found=unseen.nunique(), fewest=MIN_QUESTIONS)
        for name, value in bot.card.familiarity.items():
            typer.echo(f"{name:10} {value}")
    if record:
        card = replace(checkpoints.read_card(loaded.folder), familiarity=bot.card.familiarity)
        checkpoints.write_card(loaded.folder, loaded.folder.name, card)
    for question in questions or ():
        reading = bot.read(question)
        told = {None: "", True: "unfamiliar", False: "familiar"}[reading.unfamiliar]
        typer.echo(f"{reading.surprise:6.2f} {told:10} {question}")
