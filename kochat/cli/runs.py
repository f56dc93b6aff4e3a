"""`python -m kochat runs …`: look at runs, follow one, stop, resume, finish and delete them.

Knows the queue and typer; no model.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Annotated

import typer

from kochat.errors import RunError
from kochat.runs import queue, registry, worker
from kochat.runs.registry import Run
from kochat.runs.verdict import Verdict, verdict
from kochat.training.events import best_epoch

app = typer.Typer(help="Look at runs, stop, resume and delete them.", no_args_is_help=True)
RunArgument = Annotated[str, typer.Argument(help="The run's name.")]


def watch(run: Run, seen: int = 0) -> None:
    """Print the events of a run from the `seen`-th on until it is at rest; Ctrl+C stops it."""
    events = itertools.islice(queue.follow(run), seen, None)
    while True:
        try:
            for event in events:
                print_event(event)
            break
        except KeyboardInterrupt:
            typer.echo(f"stopping; `python -m kochat runs resume {run.name}` goes on", err=True)
            queue.stop(run)
            events = itertools.islice(queue.follow(run), len(run.events()), None)
    if failure := run.failure():
        raise failure
    if found := verdict(run.record()):
        for line in verdict_lines(found):
            typer.echo(line)


def verdict_lines(found: Verdict) -> list[str]:
    """Whether a training worked, and the options to try instead where it did not."""
    learned = {"all": "learned well", "partly": "learned in part", "none": "hardly learned"}[found.learned]
    before = "" if found.own_before is None else f" ({found.own_before} before)"
    lines = [f"{learned}: {found.own_right} of {found.own_asked} own answers word for word{before}"]
    if found.base_before is not None and found.base_after is not None:
        known = "forgot some of what it knew" if found.forgot else "still knows what it knew"
        lines.append(f"{known}: {found.base_before:.3f} -> {found.base_after:.3f} nats a character")
    if found.changes:
        options = (f"--{name.replace('_', '-')} {value}" for name, value in found.changes.items())
        lines.append(f"try: {' '.join(options)}")
    return lines


def print_event(event: dict) -> None:
    """One line for an event that a person waits for."""
    match event["type"]:
        case "queued":
            typer.echo("queued")
        case "job":
            typer.echo(f"job {event['url']}", err=True)
        case "preparing":
            typer.echo(event["what"].replace("_", " "), err=True)
        case "started":
            typer.echo(
                f"{event['pairs']} pairs, {event['validation_pairs']} for validation, "
                + (f"{event['test_pairs']} for test, " if event.get("test_pairs") else "")
                + f"{event['cut']} cut"
                + (f", {event['rehearsed']} earlier ones rehearsed an epoch" if event.get("rehearsed") else "")
                + f"; {event['parameters'] / 1e6:.1f} M parameters, {event['device']}, {event['precision']}"
                + (f"; from step {event['at_step']}" if event["at_step"] else "")
            )
        case "epoch":
            validation = event["validation_loss"]
            losses = f"loss {event['loss']:.3f}" + ("" if validation is None else f"  validation {validation:.3f}")
            own = f"  own answers {event['own_right']}/{event['own_asked']}" if event.get("own_asked") else ""
            base = "" if event.get("base_nll") is None else f"  base {event['base_nll']:.3f}"
            speed = f"{event['tokens_per_second']:.0f} tokens/s"
            typer.echo(
                f"epoch {event['epoch']}/{event['epochs']}  {losses}{own}{base}  {speed}  {event['seconds']:.0f} s"
            )
        case "stopped":
            typer.echo(f"stopped at step {event['step']}")
        case "finished":
            kept = f", epoch {event['epoch']}" if event["epoch"] else ""
            typer.echo(f"{event['checkpoint']} is ready ({event['seconds']:.0f} s{kept})")


@app.command("list")
def list_runs() -> None:
    """Print every run, the newest first."""
    for run in registry.list_runs():
        started = run.record().started
        best = best_epoch(list(run.record().epochs.values()))
        facts = [run.state(), run.progress(), f"{started['pairs']} pairs" if started else "", run.config.base]
        facts.append(f"best epoch {best}" if best else "")
        typer.echo("  ".join([f"{run.name:24}", *filter(None, facts)]))


@app.command("stop")
def stop_run(name: Annotated[str, typer.Argument(help="The run; default: the one that is on.")] = "") -> None:
    """Stop a run, its state saved, or take it out of the queue."""
    chosen = registry.find(name) if name else next(iter(registry.running()), None)
    if chosen is None:
        raise RunError("no_active_run")
    queue.stop(chosen)


@app.command("resume")
def resume_run(name: RunArgument) -> None:
    """Go on with a run from what it last saved."""
    run = registry.find(name)
    if is_one_of_several():
        train_with_others(lambda: _resumed_here(run))
        return
    seen = len(run.events())
    queue.resume(run)
    watch(run, seen)


def is_one_of_several() -> bool:
    """Whether `torchrun`, or what launches as it does, started this process."""
    return "RANK" in os.environ


def train_with_others(begin: Callable[[], Run]) -> None:
    """Be one of the processes that train the run that `begin` gives; the main one prints its events."""
    from kochat.model.gpt2 import quiet

    quiet()
    worker.execute_together(begin, print_event)


def _resumed_here(run: Run) -> Run:
    queue.resume(run, pid=os.getpid())
    return run


@app.command("finish")
def finish_run(name: RunArgument) -> None:
    """Make a checkpoint of what a stopped run has learned so far."""
    run = registry.find(name)
    seen = len(run.events())
    queue.resume(run, finish=True)
    watch(run, seen)


@app.command("delete")
def delete_run(name: RunArgument) -> None:
    """Remove a run and what it goes on from; its checkpoint stays."""
    queue.delete(registry.find(name))


@app.command("curve")
def print_curve(name: RunArgument) -> None:
    """Print the losses of each epoch as CSV."""
    typer.echo(registry.find(name).curve_csv(), nl=False)
