"""Runs on disk: one fine-tuning each, as every viewer sees it.

A run is `runs/NAME/` with config.json, events.jsonl (the one truth), log.txt and state/; one that is trained on another
machine also has job.json. Knows files and whether a process lives; starts nothing (see queue.py), trains nothing (see
worker.py).
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from kochat.config import TrainingConfig, home
from kochat.errors import KochatError, RunError
from kochat.files import signature
from kochat.runs import journal
from kochat.runs.journal import Record
from kochat.training import recipe

log = logging.getLogger(__name__)
SPARE_TAKES = 120  # seconds at most until the process is there that a run is trained in
FOLLOWED_AGAIN = 10  # seconds at least from one process that follows a run elsewhere to the next
RESUMABLE = ("stopped", "interrupted", "failed", "cancelled")
CURVE_COLUMNS = (
    "epoch",
    "loss",
    "validation_loss",
    "perplexity",
    "tokens_per_second",
    "seconds",
    "own_right",
    "own_asked",
    "base_nll",
)
# What of the settings says where a run is, not how it trains.
PLACES = ("output", "sample_questions", "save_minutes")


def runs_folder() -> Path:
    """Where runs are kept."""
    return home() / "runs"


@dataclass(frozen=True)
class Run:
    """A run on disk."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name, which its checkpoint has too unless the name was used before."""
        return self.path.name

    @property
    def config(self) -> TrainingConfig:
        """The settings that it was started with."""
        return _read_config(os.path.join(self.path, "config.json"))

    @property
    def checkpoint_name(self) -> str:
        """The name of the checkpoint that it makes."""
        return Path(self.config.output).name

    @property
    def journal(self) -> Path:
        """Its events, one a line."""
        return self.path / "events.jsonl"

    @property
    def state_folder(self) -> Path:
        """What it goes on from."""
        return self.path / "state"

    @property
    def job_file(self) -> Path:
        """Where it is trained, if on another machine: the hardware, and what else whoever follows it keeps."""
        return self.path / "job.json"

    def is_elsewhere(self) -> bool:
        """Whether it is trained on another machine, and the process of it here only follows."""
        return self.job_file.is_file()

    def events(self) -> list[dict[str, Any]]:
        """The journal so far."""
        return journal.read(self.journal)[0]

    def record(self) -> Record:
        """What the journal says so far."""
        return journal.read(self.journal)[1]

    def write(self, kind: str, **values: Any) -> None:
        """Append an event to the journal."""
        journal.append(self.journal, {"type": kind, **values})

    def state(self) -> str:
        """queued, running, finished, stopped, failed, cancelled, or interrupted: ended without a last word."""
        record = self.record()
        if record.state == "running" and not _is_alive(record.process):
            record = self.record()  # its last word may have come in between
            return "interrupted" if record.state == "running" else record.state
        return record.state

    def has_state(self) -> bool:
        """Whether there is a saved state to go on from."""
        return any(self.state_folder.glob("[0-9]*"))

    def is_finishing(self) -> bool:
        """Whether it trains no more, and a checkpoint of what it has learned so far is being made."""
        return self.record().finishing and self.state() in ("queued", "running")

    def is_resumable(self) -> bool:
        """Whether it can go on, from its saved state or from the beginning."""
        return self.state() in RESUMABLE

    def progress(self) -> str:
        """How far it is, in per cent of the steps."""
        step = self.record().last_step()
        return f"{step['step'] / step['steps'] if step else 0:.0%}"

    def seconds_left(self) -> float | None:
        """By the speed of the last steps; None before the second step, 0 where no step comes any more.

        Between steps of several epochs lies also what is asked after an epoch; within the first it is added.
        """
        if self.is_finishing():
            return 0.0
        record = self.record()
        an_epoch = record.started["steps"] // record.started["epochs"] if record.started else 0
        recent = [record.steps[number] for number in sorted(record.steps)[-max(50, 2 * an_epoch) :]]
        if len(recent) < 2:
            return None
        a_step = (recent[-1]["seconds"] - recent[0]["seconds"]) / (recent[-1]["step"] - recent[0]["step"])
        more = 1.0
        if record.started and not record.epochs:
            started = record.started
            more += recipe.asking(started["pairs"], started["epochs"]) / _learning(started, self.config.repeats)
        return more * a_step * (recent[-1]["steps"] - recent[-1]["step"])

    def seconds_a_visit(self) -> float | None:
        """What a visit to one pair took (see `recipe.learning`), for each parameter; None before its second epoch."""
        record = self.record()
        if not record.started or len(record.epochs) < 2 or "parameters" not in record.started:
            return None
        # From the end of the first epoch on: before it everything was made ready.
        first, *_, last = (epoch for _, epoch in sorted(record.epochs.items()))
        started, epochs = record.started, last["epoch"] - first["epoch"]
        work = _learning(started, self.config.repeats) + recipe.asking(started["pairs"], started["epochs"])
        return (last["seconds"] - first["seconds"]) * started["epochs"] / (epochs * work * started["parameters"])

    def failure(self) -> KochatError | None:
        """Why it ended badly, as an error with a sentence; None if it did not."""
        state = self.state()
        if state == "interrupted":
            return RunError("run_killed")
        final = self.record().final
        return RunError(final["key"], **final["values"]) if state == "failed" else None

    def log(self, characters: int = 20_000) -> str:
        """The end of what its process printed."""
        path = self.path / "log.txt"
        return path.read_text("utf-8", errors="replace")[-characters:] if path.exists() else ""

    def curve_csv(self) -> str:
        """The losses of each epoch as CSV with a header."""
        text = io.StringIO()
        writer = csv.DictWriter(text, CURVE_COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(epoch for _, epoch in sorted(self.record().epochs.items()))
        return text.getvalue()


_configs: dict[str, tuple[tuple[int, ...], TrainingConfig]] = {}  # by path, with the signature of what was read


def _read_config(path: str) -> TrainingConfig:
    seen, known = signature(path), _configs.get(path)
    if known and known[0] == seen:
        return known[1]
    config = TrainingConfig.from_dict({"recipe": "base", **json.loads(Path(path).read_text("utf-8"))})
    _configs[path] = seen, config
    return config


def _learning(started: dict[str, Any], repeats: int) -> float:
    return recipe.learning(started["pairs"], started.get("rehearsed", 0), started["epochs"], repeats)


def _is_alive(known: dict[str, Any] | None) -> bool:
    if known is None or ("spare" in known and time.time() - known["at"] > SPARE_TAKES):
        return False
    try:
        process = psutil.Process(known["pid"])
        # The number may be another process's by now; and the clock may have been set since.
        same = abs(process.create_time() - known["created"]) < 60
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def list_runs() -> list[Run]:
    """All runs, newest first."""
    return sorted(unsorted_runs(), key=lambda run: (run.record().queued_at, run.name), reverse=True)


def unsorted_runs() -> list[Run]:
    """All runs in no order, for which no journal is looked at."""
    folder = runs_folder()
    names = os.listdir(folder) if folder.is_dir() else []
    return [run for name in names if _is_readable(run := Run(folder / name))]


def _is_readable(run: Run) -> bool:
    try:
        _ = run.config
    except (FileNotFoundError, NotADirectoryError):  # no run, or deleted since it was listed
        return False
    except (ValueError, TypeError, KochatError) as error:  # JSON that is no object of settings
        log.warning("the run %s is left out: its config.json cannot be read (%s)", run.name, error)
        return False
    return True


def find(name: str) -> Run:
    """The run of this name. Raises RunError."""
    run = Run(runs_folder() / name)
    if not name or Path(name).name != name or not (run.path / "config.json").is_file():
        raise RunError("no_run", name=name)
    return run


def running() -> list[Run]:
    """The runs that are being trained now, the one that waited longest first."""
    return [run for run in reversed(list_runs()) if run.state() == "running"]


def queued() -> list[Run]:
    """The runs that wait for their turn, in order."""
    return [run for run in reversed(list_runs()) if run.state() == "queued"]


def left_alone() -> list[Run]:
    """The runs that go on elsewhere, and that no process here follows any more."""
    return [
        run
        for run in list_runs()
        if run.is_elsewhere()
        and time.time() - run.record().launched_at > FOLLOWED_AGAIN
        and run.state() == "interrupted"
    ]


def shown() -> Run | None:
    """The run to look at: the one that is on, else the one that was on last, else the newest."""
    return max(running() or list_runs(), key=lambda run: run.record().launched_at, default=None)


def reserved() -> dict[str, Run]:
    """Checkpoint names that a run has yet to fill: it waits, is on, or has a state to go on from."""
    return {
        run.checkpoint_name: run
        for run in list_runs()
        if (state := run.state()) in ("queued", "running") or (state in RESUMABLE and run.has_state())
    }


def seconds_a_visit() -> float | None:
    """What a visit to one pair took in the run that was on last on this machine, as `Run.seconds_a_visit`; None where
    none tells.
    """
    measured = ((run.record().launched_at, run.seconds_a_visit()) for run in list_runs() if not run.is_elsewhere())
    return max(((at, a_visit) for at, a_visit in measured if a_visit), default=(0.0, None))[1]


def differing_settings(runs: list[Run]) -> dict[str, list[Any]]:
    """For each setting in which these runs differ its value in each of them."""
    settings = [asdict(run.config) for run in runs]
    columns = {name: [one[name] for one in settings] for name in settings[0] if name not in PLACES} if runs else {}
    return {name: values for name, values in columns.items() if any(value != values[0] for value in values)}
