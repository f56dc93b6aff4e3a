"""Processes that need not import torch: forked from one that waits with all of it loaded, as the page's runs are.

Each is a real process with a number of its own, to be stopped, signalled and killed. What a whole one does before, from
`python` to the run's first line, is tested where runs are started as such.
"""

import functools
import io
import multiprocessing
import os
import sys
from multiprocessing import forkserver
from pathlib import Path

TESTS = Path(__file__).resolve().parent
LOADED = ["kochat.training.fine_tuning", "kochat.cli.main", "transformers.models.gpt2.modeling_gpt2", "pytest", "forked"]


@functools.cache
def context():
    """Starts processes, with what is in LOADED; the first call imports it."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(LOADED)
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "OMP_NUM_THREADS")}
    # It looks for modules where Python does by itself, and what forks must have no threads.
    path = os.pathsep.join(filter(None, [str(TESTS.parent), str(TESTS), before["PYTHONPATH"]]))
    os.environ.update({"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        os.environ.pop("OPENBLAS_NUM_THREADS")
    return made


def start(target, *arguments):
    """A process that calls a function of a module with the environment of this one."""
    process = context().Process(target=_in_environment, args=(dict(os.environ), target, *arguments))
    process.start()
    return process


def start_run(name: str, log: str | os.PathLike = os.devnull):
    """What `python -m kochat train --run NAME` does; what it prints goes to `log`."""
    return start(_be_the_process_of, name, os.fspath(log))


def instead_of_processes(monkeypatch) -> None:
    """Let the queue start runs so, and let them start the next ones so."""
    from kochat.runs import queue

    monkeypatch.setattr(queue, "_process", _process)
    monkeypatch.setattr(queue, "warm_up", lambda: None)


def _process(name: str, output, given):
    return start_run(name, output.name)


def _in_environment(environment: dict[str, str], target, *arguments) -> None:
    import torch

    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    target(*arguments)


def _be_the_process_of(name: str, log: str) -> None:
    from kochat.cli.runs import print_event
    from kochat.model.gpt2 import quiet
    from kochat.runs import queue, registry, worker

    os.setsid()
    with open(log, "ab") as output:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(output.fileno(), stream.fileno())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    quiet()
    queue._process = _process
    worker.execute(registry.find(name), on_event=print_event)
    sys.stdout.flush()
    os._exit(0)  # else it would wait for the runs that it has started
