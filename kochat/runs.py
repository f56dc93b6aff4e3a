"""Runs: one fine-tuning in its own process, its journal on disk, and what viewers read from it.

A run is `runs/NAME/` with config.json, events.jsonl (append-only; the one truth that page, command
line and API read), log.txt and process.json. Knows processes and files; no model and no page.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from . import checkpoint
from .config import PROJECT, TrainingConfig, home
from .errors import KochatError, RunError

LAST_EVENTS = ("finished", "failed")
log = logging.getLogger(__name__)


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
    def checkpoint_name(self) -> str:
        """The name of the checkpoint that it makes."""
        return Path(self.config.output).name

    @property
    def config(self) -> TrainingConfig:
        """The settings that it was started with."""
        return TrainingConfig.from_dict(json.loads((self.path / "config.json").read_text("utf-8")))

    def events(self) -> list[dict[str, Any]]:
        """The journal so far; a last line that is not whole yet is left out."""
        try:
            lines = (self.path / "events.jsonl").read_text("utf-8").split("\n")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines[:-1] if line]

    def journal_size(self) -> int:
        """Bytes of the journal, which only grows: the same size is the same journal."""
        journal = self.path / "events.jsonl"
        return journal.stat().st_size if journal.exists() else 0

    def state(self, events: list[dict] | None = None) -> str:
        """running, finished, stopped, failed, or interrupted: ended without a last word.

        `events` spares reading the journal again.
        """
        events = self.events() if events is None else events
        last = events[-1] if events else {}
        if last.get("type") == "finished":
            return "stopped" if last["stopped"] else "finished"
        if last.get("type") == "failed":
            return "failed"
        return "running" if self.is_alive() else "interrupted"

    def is_alive(self) -> bool:
        """Whether the process of this run is there."""
        try:
            known = json.loads((self.path / "process.json").read_text("utf-8"))
            process = psutil.Process(known["pid"])
            same = abs(process.create_time() - known["created"]) < 1
            return same and process.status() != psutil.STATUS_ZOMBIE
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return False
        except psutil.AccessDenied:  # somebody else's process, which has the number now
            return False

    def progress(self) -> str:
        """How far it is, in per cent of the steps."""
        steps = [event for event in self.events() if event["type"] == "step"]
        share = steps[-1]["step"] / steps[-1]["steps"] if steps else 0
        return f"{share:.0%}"

    def stop(self) -> None:
        """Ask it to end before its next step; what it has learned so far becomes its checkpoint."""
        (self.path / "stop").touch()

    def should_stop(self) -> bool:
        """Whether somebody has asked it to stop."""
        return (self.path / "stop").exists()


def list_runs() -> list[Run]:
    """All runs, newest first."""
    configs = sorted(runs_folder().glob("*/config.json"), key=_changed, reverse=True)
    return [Run(path.parent) for path in configs]


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def find(name: str) -> Run:
    """The run of this name. Raises RunError."""
    run = Run(runs_folder() / name)
    if not name or not (run.path / "config.json").is_file():
        raise RunError("no_run", name=name)
    return run


def active() -> Run | None:
    """The run that is being trained now, on this machine."""
    return next((run for run in list_runs() if run.is_alive() and run.state() == "running"), None)


def create(config: TrainingConfig) -> Run:
    """A new run on disk for `config`, to be executed by this process.

    Raises RunError while another is running, CheckpointError for an output that is taken.
    """
    with _starting():
        return _create(config)


def start(config: TrainingConfig) -> Run:
    """Start a run in its own process, at lower priority than the chat. Raises as `create`."""
    with _starting():
        run = _create(config)
        command = [sys.executable, "-m", "kochat", "train", "--run", run.name]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}
        with (run.path / "log.txt").open("ab") as output:
            process = subprocess.Popen(
                command, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        _own(run, psutil.Process(process.pid))
    return run


def _starting() -> FileLock:
    runs_folder().mkdir(parents=True, exist_ok=True)
    return FileLock(runs_folder() / ".starting")


def check_idle() -> None:
    """Raise RunError while a run is being trained."""
    running = active()
    if running:
        raise RunError("run_active", name=running.name, progress=running.progress())


def _create(config: TrainingConfig) -> Run:
    check_idle()
    checkpoint.check_free(config.output)
    name = Path(config.output).name
    taken = {run.name for run in list_runs()}
    unused = next(n for n in (name, *(f"{name}-{i}" for i in range(2, 10**6))) if n not in taken)
    run = Run(runs_folder() / unused)
    run.path.mkdir(parents=True, exist_ok=True)
    _own(run, psutil.Process())
    text = json.dumps(config.to_dict(), ensure_ascii=False, indent=2)
    # Renamed into place last: with its config.json a run is there, whole.
    (run.path / ".config.json").write_text(text + "\n", "utf-8")
    (run.path / ".config.json").replace(run.path / "config.json")
    return run


def _own(run: Run, process: psutil.Process) -> None:
    known = {"pid": process.pid, "created": process.create_time()}
    (run.path / ".process.json").write_text(json.dumps(known), "utf-8")
    (run.path / ".process.json").replace(run.path / "process.json")


def execute(run: Run, on_event: Callable[[dict], None] = lambda event: None) -> dict[str, Any]:
    """Train `run` in this process, writing its journal; the last event is returned.

    SIGTERM and SIGINT stop it before its next step. Raises what `fine_tune` raises, after writing a
    failed event.
    """
    from .events import to_dict
    from .training import fine_tune  # brings torch, which takes seconds; looking at runs needs none

    event: dict[str, Any] = {}
    with (run.path / "events.jsonl").open("a", encoding="utf-8") as journal, _stopped_by_signals(run):

        def write(one: dict[str, Any]) -> None:
            journal.write(json.dumps(one, ensure_ascii=False) + "\n")
            journal.flush()
            on_event(one)

        try:
            for fine_tuned in fine_tune(run.config, run.should_stop):
                event = to_dict(fine_tuned)
                write(event)
        except KochatError as error:
            write({"type": "failed", "key": error.key, "values": {k: str(v) for k, v in error.values.items()}})
            raise
        except BaseException:
            log.exception("run %s failed", run.name)
            write({"type": "failed", "key": "run_failed", "values": {"log": f"runs/{run.name}/log.txt"}})
            raise
    return event


@contextlib.contextmanager
def _stopped_by_signals(run: Run) -> Iterator[None]:
    """While inside, SIGTERM and SIGINT ask the run to stop instead of ending the process."""
    before = {number: signal.signal(number, lambda *_: run.stop()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def lower_priority() -> None:
    """Let this process wait for the chat."""
    lower = psutil.BELOW_NORMAL_PRIORITY_CLASS if os.name == "nt" else 10
    psutil.Process().nice(lower)


def follow(run: Run, pause: float = 0.2) -> Iterator[dict[str, Any]]:
    """The events of a run, old ones first, then as they come; ends when the run has ended."""
    seen = 0
    while True:
        alive = run.is_alive()  # asked before reading, so that the last events are not missed
        events = run.events()
        yield from events[seen:]
        seen = len(events)
        if not alive or (events and events[-1]["type"] in LAST_EVENTS):
            return
        time.sleep(pause)


def failure(run: Run) -> KochatError | None:
    """Why a run ended badly, as an error with a sentence; None if it did not."""
    state = run.state()
    if state == "interrupted":
        return RunError("run_killed")
    if state != "failed":
        return None
    last = run.events()[-1]
    return RunError(last["key"], **last["values"])
