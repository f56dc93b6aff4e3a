"""Starting, queueing, stopping and resuming runs: each a process of its own, at most so many at once.

The queue is nothing but the journals: runs whose last word is "queued", in order. Whoever looks after
it (the page, a command line that waits, a run that has ended) calls `dispatch`. Knows processes and the
runs on disk; trains nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from kochat.config import PROJECT, TrainingConfig, home
from kochat.data import pairs
from kochat.errors import CheckpointError, RunError, SettingsError
from kochat.files import write_atomically
from kochat.model import checkpoint, hub
from kochat.model.cards import Card, labels_of_training
from kochat.model.kept_pairs import PAIRS_FILE
from kochat.runs import journal, registry
from kochat.runs.registry import Run
from kochat.runs.spare import FROM_INPUT, Spare
from kochat.training import recipe

# For glibc: keep freed memory instead of giving it back at every step, to be cleared again for the next one.
MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**28)}
# Of numpy, which computes nothing here: a process that forks others must have no threads.
NO_THREADS = {"OPENBLAS_NUM_THREADS": "1"}
# Of `torchrun`: a run that one of its processes starts is trained by one process.
TOGETHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")

# On Windows: neither Ctrl+C nor closing the window of whoever started it ends a run.
OF_ITS_OWN = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)


def runs_at_once() -> int:
    """How many runs may train at the same time: KOCHAT_RUNS_AT_ONCE, else one. Raises SettingsError."""
    value = os.environ.get("KOCHAT_RUNS_AT_ONCE") or "1"
    if not value.isdigit() or int(value) < 1:
        raise SettingsError(
            "bad_setting",
            field="KOCHAT_RUNS_AT_ONCE",
            field_ko="KOCHAT_RUNS_AT_ONCE",
            value=value,
            allowed="a whole number from 1",
            allowed_ko="1 이상의 정수",
        )
    return int(value)


def create(config: TrainingConfig, pid: int | None = None, job: dict[str, Any] | None = None) -> Run:
    """A new run on disk, which waits for its turn, or is trained by the process `pid` at once.

    With a `job` it is trained on another machine: what of it whoever follows it there needs to know.
    The data are read once, so that what is wrong with them is said now. Raises DataError, SettingsError for
    a name of no label, and CheckpointError for an output that is taken.
    """
    runs_at_once()
    table = pairs.read_pairs(config.data, **config.reading())
    base = Path(config.base)
    if not base.is_dir() and not hub.looks_like_hub_id(config.base):
        raise CheckpointError("no_checkpoint", path=config.base)
    if config.label_names:
        known = (checkpoint.read_card(base, needed=False) if base.is_dir() else None) or Card()
        has_earlier = (base / PAIRS_FILE).is_file()
        settled = recipe.filled(config, known, len(table), has_earlier)
        labels_of_training(settled, known, table["label"].unique())
    with lock():
        checkpoint.check_free(config.output)
        name = Path(config.output).name
        if name in registry.reserved():
            raise CheckpointError("name_reserved", name=name, run=registry.reserved()[name].name)
        taken = {path.name for path in registry.runs_folder().iterdir()}
        run = Run(registry.runs_folder() / next(n for n in _names(name) if n not in taken))
        run.path.mkdir(parents=True)
        run.write("queued", at=time.time(), pairs=len(table), finish=False)
        if pid:
            mark_launched(run, pid)
        if job is not None:
            write_atomically(run.job_file, json.dumps(job))
        # Written last: with its config.json a run is there, whole.
        write_atomically(run.path / "config.json", json.dumps(config.to_dict(), ensure_ascii=False, indent=2) + "\n")
    return run


def _names(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{i}" for i in range(2, 10**6))


def start(config: TrainingConfig, job: dict[str, Any] | None = None) -> Run:
    """Queue a new run, and start it if it is its turn. `job` and what it raises are as for `create`."""
    run = create(config, job=job)
    dispatch()
    return run


def again(run: Run, **changes: Any) -> Run:
    """A new run with the settings of another, some of them changed, under the next free name, on the same machine.

    Raises as `create`.
    """
    taken = {run.checkpoint_name} | checkpoint.names_taken() | set(registry.reserved())
    name = next(name for name in _names(run.checkpoint_name) if name not in taken)
    job = {"flavor": json.loads(run.job_file.read_text("utf-8"))["flavor"]} if run.is_elsewhere() else None
    return start(replace(run.config, output=str(checkpoint.folder_of(name)), **changes), job)


def resume(run: Run, finish: bool = False, pid: int | None = None) -> None:
    """Queue a run again, to go on from its saved state, or let the process `pid` train it at once.

    `finish`: only to make a checkpoint of what it has learned so far. Raises RunError where the run is
    not at rest, or has saved nothing to finish with.
    """
    with lock():
        if not run.is_resumable():
            raise RunError("not_resumable", name=run.name)
        if finish and not run.has_state():
            raise RunError("nothing_saved", name=run.name)
        if registry.reserved().get(run.checkpoint_name, run) != run:
            other = registry.reserved()[run.checkpoint_name]
            raise CheckpointError("name_reserved", name=run.checkpoint_name, run=other.name)
        if not run.has_state():
            checkpoint.check_free(run.config.output)
        run.write("queued", at=time.time(), pairs=run.record().pairs, finish=finish)
        if pid:
            mark_launched(run, pid)
    if not pid:
        dispatch()


def stop(run: Run) -> None:
    """Ask a run to end before its next step, its state saved; take one that waits out of the queue."""
    with lock():
        state = run.state()
        if state == "queued":
            run.write("cancelled")
        elif state == "running" and not run.record().stopping:
            run.write("stopping")


def delete(run: Run) -> None:
    """Remove a run and its saved state from disk; its checkpoint stays. Raises RunError while it is on."""
    with lock():
        if run.state() in ("queued", "running") or run in registry.left_alone():
            raise RunError("run_in_use", name=run.name)
        (run.path / "config.json").unlink()  # from here on it is not there any more
        while run.path.exists():  # the process of a run that has just finished still removes what it needs no more
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(run.path)
    journal.forget(run.journal)


def dispatch() -> None:
    """Start the runs whose turn it is, and follow again those elsewhere that nobody follows any more."""
    with lock():
        room = runs_at_once() - sum(not run.is_elsewhere() for run in registry.running())
        for run in [*registry.queued(), *registry.left_alone()]:
            if _has_process(run):  # started by somebody who was killed before saying so; it will say so itself
                continue
            # Neither takes a place from those that train here; the first takes seconds.
            if run.record().finishing or run.is_elsewhere():
                _launch(run)
            elif room > 0:
                _launch(run)
                room -= 1


_spare = Spare()
_launcher: Callable[[Run], None] | None = None


def train_by(launcher: Callable[[Run], None] | None) -> None:
    """Let `launcher` train runs instead of processes of their own; it marks each as launched, and returns at once."""
    global _launcher
    _launcher = launcher


def warm_up() -> None:
    """Have a process ready for the next runs that this process starts: they need not import torch then."""
    if _launcher:
        return
    _spare.warm_up(str(home()), lambda: _process(FROM_INPUT, subprocess.DEVNULL, subprocess.PIPE))


def _launch(run: Run) -> None:
    if _launcher and not run.is_elsewhere():
        return _launcher(run)
    spare = process = _spare.take(str(home()), run.name)
    if not process:
        with (run.path / "log.txt").open("ab") as output:
            process = _process(run.name, output, subprocess.DEVNULL)
    try:
        mark_launched(run, process.pid, is_spare=bool(spare))
    except OSError:
        process.kill()  # a run that nobody knows of would be started again and again
        raise


def _process(name: str, output: Any, given: Any) -> subprocess.Popen:
    """The process of the run `name`."""
    command = [sys.executable, "-m", "kochat", "train", "--run", name]
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    # The home may be given as seen from the folder of this process.
    environment = {
        **MEMORY,
        **{name: value for name, value in os.environ.items() if name not in TOGETHER},
        **NO_THREADS,
        "PYTHONPATH": path,
        "KOCHAT_HOME": str(home()),
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        env=environment,
        stdin=given,
        stdout=output,
        stderr=output,
        start_new_session=True,
        creationflags=OF_ITS_OWN,
    )


def _has_process(run: Run) -> bool:
    own = process_lock(run)
    try:
        own.acquire(timeout=0)
    except Timeout:
        return True
    own.release()
    return False


def process_lock(run: Run) -> FileLock:
    """What the process of a run holds as long as it lives."""
    return FileLock(run.path / ".process")


def mark_launched(run: Run, pid: int, is_spare: bool = False) -> None:
    """Note in the journal which process trains a run, or (`is_spare`) is to start the one that does."""
    own = {"spare": True} if is_spare else {}
    run.write("launched", pid=pid, created=psutil.Process(pid).create_time(), at=time.time(), **own)


def follow(run: Run, pause: float = 0.2) -> Iterator[dict[str, Any]]:
    """The events of a run, old ones first, then as they come; ends when the run is at rest."""
    seen = 0
    while True:
        state = run.state()  # asked before reading, so that the last events are not missed
        events = run.events()
        yield from events[seen:]
        seen = len(events)
        if state == "queued" or (state == "interrupted" and run.is_elsewhere()):
            dispatch()
        elif state != "running":
            return
        time.sleep(pause)


def lock() -> FileLock:
    """What whoever changes the queue, or the names of checkpoints, holds meanwhile."""
    registry.runs_folder().mkdir(parents=True, exist_ok=True)
    return FileLock(registry.runs_folder() / ".lock")


def seconds_until_start(run: Run) -> float | None:
    """When it will be the turn of a waiting run, about; None where nothing tells how long those before it take."""
    ahead = [
        *registry.running(),
        *(one for one in registry.queued() if one.record().queued_at < run.record().queued_at),
    ]
    needed = [_seconds_needed(one) for one in ahead if not one.is_elsewhere()]
    return None if None in needed else sum(needed) / runs_at_once()


def _seconds_needed(run: Run) -> float | None:
    if run.state() == "running":
        return run.seconds_left()
    # As long as the newest run on the same base took for a pair.
    for other in registry.list_runs():
        record = other.record()
        if record.epochs and record.pairs and other.config.base == run.config.base and not other.is_elsewhere():
            newest = record.epochs[max(record.epochs)]
            a_pair = newest["seconds"] / newest["epoch"] / record.pairs
            return a_pair * run.record().pairs * (run.config.epochs or newest["epochs"])
    return None
