"""`python -m kochat eval` and `strength`: measure a checkpoint, print the figures, write them into its card.

Knows the measurements and typer; progress goes to stderr. With --events, which the page uses, each thing that
a measurement yields is a line of JSON on stdout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kochat.config import DEFAULT_CHECKPOINT
from kochat.data import pairs
from kochat.errors import CheckpointError, KochatError
from kochat.evaluation import heldout
from kochat.model import checkpoint as checkpoints
from kochat.model import kept_pairs
from kochat.model.card_figures import FIGURE_NAMES, STRENGTH_NAMES, caveats, evaluations
from kochat.runs import worker

if TYPE_CHECKING:  # brings torch, which takes seconds
    import pandas as pd

CheckpointOption = Annotated[str, typer.Option(help="A checkpoint: its folder, its name on the page, or a Hub id.")]
StrengthOption = Annotated[float | None, typer.Option(help="How much the label is strengthened; 0 is plain greedy.")]
EventsOption = Annotated[bool, typer.Option("--events", hidden=True, help="Print everything as lines of JSON.")]


def evaluate(
    data: Annotated[str, typer.Option(help="Pairs with answers; a CSV file, a URL or a known name.")],
    checkpoint: CheckpointOption = str(DEFAULT_CHECKPOINT),
    held_out: Annotated[
        bool, typer.Option(help="Only the pairs that its training kept out: validation and test, each by itself.")
    ] = False,
    rows: Annotated[int | None, typer.Option(help="Use only the first rows.")] = None,
    strength: StrengthOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    record: Annotated[
        bool,
        typer.Option(
            help="Write the figures into the checkpoint's card too; with --held-out keep its validation pairs."
        ),
    ] = False,
    spread: Annotated[int | None, typer.Option(hidden=True, help="Use so many rows, evenly spread.")] = None,
    events: EventsOption = False,
) -> None:
    """Measure a checkpoint on pairs, with 95 % intervals and baselines."""
    try:
        loaded, figures = _evaluate(data, checkpoint, held_out, rows, strength, record, spread, events)
    except KochatError as error:
        if events:  # whoever reads them says it in the visitor's language
            _print_event(failed=error.key, values={name: str(value) for name, value in error.values.items()})
        raise
    if as_json:
        typer.echo(json.dumps(figures))
    elif not events:
        parts = evaluations({"evaluation": figures})
        for part, one in parts.items():
            for line in figure_lines(one, part if len(parts) > 1 else ""):
                typer.echo(line)
        for sentence in caveats(loaded.card.data, parts):
            typer.echo(sentence)


def _evaluate(
    data, checkpoint, held_out, rows, strength, record, spread, events
) -> tuple[checkpoints.Checkpoint, dict[str, Any]]:
    if events:
        worker.lower_priority()
    if record:
        card_to_write(checkpoint)
    loaded, bot = _load(checkpoint)
    training, tables = _sides(loaded, data, held_out)
    if training is None and not events:
        typer.echo("This checkpoint keeps no pairs: no baselines, and no classifier of its answers.", err=True)
    if record and held_out:
        _keep_validation(loaded, tables["validation"])
    tables = {part: one[:rows] if spread is None else heldout.spread(one, spread) for part, one in tables.items()}
    found = _shown(_measured(bot, tables, training, strength), "evaluating", events)
    figures = {part: {**one.to_dict(), "cross_fitted": True} for part, one in zip(tables, found, strict=True)}
    # Pairs that were given are one part, and need no name.
    figures = {**(figures if held_out else figures["given"]), "held_out": held_out}
    if record:
        checkpoints.record(loaded.folder, {"evaluation": figures})
    if events:
        _print_event(figures=figures)
    return loaded, figures


def _keep_validation(loaded: checkpoints.Checkpoint, table: pd.DataFrame) -> None:
    """Write a checkpoint's validation pairs beside it, where an earlier version did not."""
    if not (loaded.folder / kept_pairs.VALIDATION_FILE).is_file():
        rows = list(table[pairs.COLUMNS].itertuples(index=False, name=None))
        kept_pairs.write_pairs(loaded.folder, rows[: kept_pairs.MAX_VALIDATION_PAIRS], kept_pairs.VALIDATION_FILE)


def _sides(
    loaded: checkpoints.Checkpoint, data: str, held_out: bool
) -> tuple[pd.DataFrame | None, dict[str, pd.DataFrame]]:
    """The pairs to learn from, those of its training or what the checkpoint keeps; and the parts to measure on."""
    import pandas as pd

    if held_out:
        split = heldout.split_again(loaded.card, data)
        parts = {"validation": split.validation, "test": split.test}
        return split.training, {name: part for name, part in parts.items() if len(part)} or parts
    kept = pd.DataFrame(loaded.pairs, columns=pairs.COLUMNS, dtype="str")
    return None if kept.empty else kept, {"given": pairs.read_pairs(data)}


def _measured(bot, tables: dict[str, pd.DataFrame], training: pd.DataFrame | None, strength: float | None):
    """What `measure` yields of one table after the other, Progress being that of all."""
    from kochat.evaluation.metrics import Progress, measure

    for number, table in enumerate(tables.values()):
        for one in measure(bot, table, training, strength):
            yield Progress((number + one.done) / len(tables)) if isinstance(one, Progress) else one


def strength(
    data: Annotated[str, typer.Option(help="What it was trained with; its validation questions are asked.")],
    checkpoint: CheckpointOption = str(DEFAULT_CHECKPOINT),
    record: Annotated[bool, typer.Option(help="Make the strength chosen the checkpoint's default.")] = False,
    rows: Annotated[int | None, typer.Option(help="Ask only the first of these questions.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how strong the label should be at decoding, and choose a default."""
    if record and not card_to_write(checkpoint).config.get("label_dropout"):
        raise CheckpointError("not_for_strength", name=checkpoints.folder_meant(checkpoint).name)
    loaded, bot = _load(checkpoint)
    from kochat.evaluation.guidance import choose, measure

    parts = heldout.split_again(loaded.card, data)
    table, training = parts.validation, parts.training
    measured = _shown(measure(bot, table[:rows], training), "measuring", events=False)
    chosen = choose(measured)
    told = [one.to_dict() for one in measured]
    if record:
        checkpoints.record(loaded.folder, {"strengths": told}, strength=chosen)
    if as_json:
        typer.echo(json.dumps({"strengths": told, "chosen": chosen}))
        return
    for name, shown in STRENGTH_NAMES.items():
        typer.echo(f"{name:20} {shown}")
    of_people = measured[0].recogniser_accuracy
    typer.echo(f"{'recogniser_accuracy':20} {FIGURE_NAMES['recogniser_accuracy']}: {of_people:.4g}")
    typer.echo("  ".join(STRENGTH_NAMES))
    for one in told:
        typer.echo("  ".join(f"{one[name]:>{len(name)}.4g}" for name in STRENGTH_NAMES))
    typer.echo(f"chosen: {chosen:g}" + (", now its default" if record else ""))


def figure_lines(figures: dict[str, Any], part: str = "") -> list[str]:
    """A line a figure: name, value, 95 % interval, number of questions, what it is; `part` is named where given."""
    lines = [f"{part or 'figure':22} {'value':>9}  {'95 % interval':17}  {'questions':9}"]
    for name, shown in FIGURE_NAMES.items():
        if name in figures and name != "questions":
            interval = " – ".join(f"{end:.4f}" for end in figures["intervals"].get(name, ()))
            lines.append(f"{name:22} {figures[name]:9.4f}  {interval:17}  {figures['questions']:9}  {shown}")
    return [*lines, f"strength {figures['strength']:g}"]


def card_to_write(checkpoint: str) -> checkpoints.Card:
    """The card of a folder, before anything takes time. Raises CheckpointError where it is none."""
    folder = checkpoints.folder_meant(checkpoint)
    return checkpoints.read_card(folder) if folder else checkpoints.explain_absence(checkpoint)


def _load(checkpoint: str):
    from kochat.inference.chatbot import Chatbot
    from kochat.model.gpt2 import quiet

    quiet()
    loaded = checkpoints.load(checkpoint)
    return loaded, Chatbot(loaded)


def _shown(measuring: Iterable, doing: str, events: bool) -> list:
    """What a measurement finds, its progress shown while it goes on."""
    from kochat.evaluation.metrics import Progress

    found = []
    # Where nobody looks at it, the bar is its label alone.
    with typer.progressbar(length=1000, label=doing, file=sys.stderr, hidden=events) as bar:
        for one in measuring:
            if isinstance(one, Progress):
                if events:
                    _print_event(done=round(one.done, 4))
                bar.update(max(0, round(1000 * one.done) - bar.pos))
            else:
                found.append(one)
    return found


def _print_event(**event: Any) -> None:
    print(json.dumps(event), flush=True)
