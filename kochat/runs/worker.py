"""Being the process of a run: train it, write its journal, end it with a last word whatever happens.

Knows the run, the training and signals; starts no other process but the next one in the queue.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from filelock import Timeout

from kochat.errors import CheckpointError, KochatError, RunError
from kochat.files import is_disk_full
from kochat.runs import queue, registry
from kochat.runs.registry import Run
from kochat.runs.reporting import reporter
from kochat.runs.spare import CAN_FORK
from kochat.training.events import Preparing, to_dict

RESERVE = 64 * 1024  # bytes kept free for the last words when the disk is full
BETWEEN_LOOKS = 0.2  # seconds
NICENESS = 10
AUTOGROUP = Path("/proc/self/autogroup")
AUTOGROUP_TRIES = 50
# How a run is trained: it yields events as the journal has them. It is given the run, whether to stop, and what to call
# with an event that comes before the first that it can yield.
Events = Iterator[dict[str, Any]]
Train = Callable[[Run, Callable[[], bool], Callable[[dict[str, Any]], None]], Events]
log = logging.getLogger(__name__)


def execute(
    run: Run,
    on_event: Callable[[dict[str, Any]], None] = lambda event: None,
    pause: float = 0.0,
    train: Train | None = None,
) -> None:
    """Train `run` in this process until it ends, then start the next in the queue.

    `train` is given for a run that is trained elsewhere. `pause`: seconds in which the page may start the next, which
    forks it in a moment from the process that waits. SIGTERM and SIGINT stop it before its next step, its state saved.
    Raises what `fine_tune` raises, after a last word in the journal.
    """
    own = queue.process_lock(run)
    try:
        held = own.acquire(timeout=5)  # whoever only looks whether somebody has it, has it for a moment
    except Timeout:  # started twice; the other one trains it
        log.warning("run %s has a process already", run.name)
        return
    try:
        with held, _stopped_by_signals() as signals:
            with queue.lock():  # whoever started this process has noted it by then, or was killed
                if (run.record().process or {}).get("pid") != os.getpid():
                    queue.mark_launched(run, os.getpid())
            _train(run, on_event, _stopping(run, signals), train=train)
    finally:
        time.sleep(pause)
        queue.dispatch()


def execute_together(begin: Callable[[], Run], on_event: Callable[[dict[str, Any]], None]) -> None:
    """Be one of the processes of `torchrun` that train a run: the main one begins it and does what `execute` does.

    SIGTERM and SIGINT to any of them stop all. Raises as `begin` and `execute`, and RunError where this process does
    not see the run, or has lost another one.
    """
    from kochat.training import processes
    from kochat.training.fine_tuning import fine_tune

    with processes.told_of_losses(), _stopped_by_signals() as signals:
        run = processes.from_main(begin)
        if processes.is_main():
            execute(run, on_event)
        elif not run.path.is_dir():
            raise RunError("no_shared_home", path=run.path)
        else:
            for _ in fine_tune(run.config, lambda: bool(signals), run.state_folder):
                pass


def execute_slice(run: Run, seconds: float) -> bool:
    """Train `run` in this process for `seconds`, then save its state; whether there is more of it to do.

    For whoever lends a GPU for a minute: the next slice goes on from there, in this process or in another, to the same
    weights. It comes at least one step, or one pass over the validation pairs, further, however few seconds there are.
    Nothing is raised: what goes wrong is the last word of the journal.
    """
    end, has_moved = time.monotonic() + seconds, False
    asked = _stopping(run, [])

    def is_over() -> bool:
        return has_moved and time.monotonic() > end

    def look(event: dict[str, Any]) -> None:
        nonlocal has_moved
        has_moved |= event["type"] in ("step", "epoch")

    def is_pause(event: dict[str, Any]) -> bool:
        return event["type"] == "stopped" and not run.record().stopping

    with contextlib.suppress(Exception):
        _train(run, look, lambda: asked() or is_over(), is_pause)
    return run.record().state == "running"


def _stopping(run: Run, signals: list[int]) -> Callable[[], bool]:
    """Whether somebody wants the run to stop; its journal, longer with every step, is not read before each of them."""
    looked, is_stopping = -math.inf, False

    def asked() -> bool:
        nonlocal looked, is_stopping
        if time.monotonic() - looked > BETWEEN_LOOKS:
            looked, is_stopping = time.monotonic(), run.record().stopping
        return bool(signals) or is_stopping

    return asked


def wait_for_runs() -> str | None:
    """Import what a training needs, then fork a process for each name of a run that is read from the input.

    Returns, in that process, the name of its run, whose log takes what is printed from then on; None where the input
    is closed. Where the system cannot fork, this process itself is that of the first run.
    """
    from kochat.training import fine_tuning  # noqa: F401

    while name := sys.stdin.readline().strip():
        if not CAN_FORK:
            _print_to_log_of(name)
            return name
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            _print_to_log_of(name)
            lower_priority()  # of the new session
            return name
    with contextlib.suppress(ChildProcessError):  # there are none, or none any more
        os.wait()  # else they would be left to whoever has no parent, and that may wait for nobody
    return None


def _print_to_log_of(name: str) -> None:
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    with (registry.find(name).path / "log.txt").open("ab") as output:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(output.fileno(), stream.fileno())


def _train(
    run: Run,
    on_event: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
    is_untold: Callable[[dict[str, Any]], bool] = lambda event: False,
    train: Train | None = None,
) -> None:
    reserve = run.path / "reserve"
    try:
        reserve.write_bytes(bytes(RESERVE))
        report = reporter(run.name, run.config)

        def tell(event: dict[str, Any]) -> None:
            report(event)
            run.write(**_as_arguments(event))
            on_event(event)

        for event in (train or _events)(run, should_stop, tell):
            if not is_untold(event):
                tell(event)
        if run.record().state == "finished":
            shutil.rmtree(run.state_folder, ignore_errors=True)  # a finished run goes nowhere
    except Exception as error:
        reserve.unlink(missing_ok=True)
        known = CheckpointError("disk_full") if is_disk_full(error) else error
        if isinstance(known, KochatError) and known.key == "process_lost":
            raise  # without a last word it is interrupted
        if not isinstance(known, KochatError):
            log.exception("run %s failed", run.name)
            known = KochatError("run_failed", log=f"runs/{run.name}/log.txt")
        run.write("failed", key=known.key, values={name: str(value) for name, value in known.values.items()})
        if known.key == "run_failed":
            raise
        raise known from error
    finally:
        reserve.unlink(missing_ok=True)


def _as_arguments(event: dict[str, Any]) -> dict[str, Any]:
    return {"kind": event["type"], **{name: value for name, value in event.items() if name != "type"}}


def _events(run: Run, should_stop: Callable[[], bool], tell: Callable[[dict[str, Any]], None]) -> Events:
    """What a training yields, after what it tells while it gets ready."""
    if not run.record().finishing:
        tell(to_dict(Preparing("starting")))
    from kochat.training.fine_tuning import fine_tune, finish_early  # bring torch, which takes seconds

    if run.record().finishing:
        yield to_dict(finish_early(run.config, run.state_folder))
        return
    for event in fine_tune(run.config, should_stop, run.state_folder, lambda event: tell(to_dict(event))):
        yield to_dict(event)


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[list[int]]:
    """While inside, SIGTERM and SIGINT are put into the list instead of ending the process."""
    caught: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: caught.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def lower_priority() -> None:
    """Let this process wait for the chat, and its session where it leads one.

    Linux shares the processors out among sessions first (autogroups, see sched(7)): within a session of its own the
    niceness of a process means nothing to the chat, only that of the session does.
    """
    lower = psutil.BELOW_NORMAL_PRIORITY_CLASS if os.name == "nt" else NICENESS
    psutil.Process().nice(lower)
    if AUTOGROUP.exists() and os.getsid(0) == os.getpid():
        _lower_autogroup()


def _lower_autogroup() -> None:
    for left in reversed(range(AUTOGROUP_TRIES)):
        try:
            AUTOGROUP.write_text(str(NICENESS))
            return
        except OSError as error:
            is_too_soon = isinstance(error, BlockingIOError)  # one process may do so every tenth of a second
            if not is_too_soon or not left:
                log.warning("this session keeps its priority, and may slow the chat down: %s", error)
                return
        time.sleep(0.1)
