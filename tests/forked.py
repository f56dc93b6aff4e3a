"""Processes that need not import torch: forked from one that waits with all of it loaded, as the page's runs are.

Each is a real process with a number of its own, to be stopped, signalled and killed. What a whole one does before, from
`python` to the run's first line, is tested where runs are started as such.
"""

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

TESTS = Path(__file__).resolve().parent
LOADED = ["kochat.training.fine_tuning", "kochat.cli.main", "transformers.models.gpt2.modeling_gpt2"]
LOADED += ["kochat.inference.chatbot", "kochat.evaluation.metrics", "kochat.ui.page", "pytest", "forked"]
NOBODY = "http://127.0.0.1:9"  # where no Hub answers: no test needs the network


@functools.cache
def context():
    """Starts processes, with what is in LOADED; the first call imports it."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(LOADED)
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "OMP_NUM_THREADS", "HF_ENDPOINT")}
    # It looks for modules where Python does by itself, and what forks must have no threads.
    path = os.pathsep.join(filter(None, [str(TESTS.parent), str(TESTS), before["PYTHONPATH"]]))
    os.environ.update({"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_ENDPOINT": NOBODY})
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


def start_app(environment: dict[str, str], log: str | os.PathLike):
    """What `python app.py` does in that environment, its trainings processes of this kind; it prints to `log`."""
    process = context().Process(target=_in_environment, args=(environment, _be_the_app, os.fspath(log)))
    process.start()
    return process


class Command:
    """`python -m kochat WORDS`: of subprocess.Popen what is needed."""

    def __init__(self, words: Sequence[str], errors_apart: bool = False):
        (self.stdout, out), (self.stderr, err) = _pipe(), _pipe()
        self._process = start(_be_the_command, [str(word) for word in words], out, err if errors_apart else out)
        for end in (out, err):
            end.close()
        self.returncode = None

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stdout.close()
        self.stderr.close()
        self._process.join()
        self.returncode = self._process.exitcode


def run_command(words: Sequence[str]) -> subprocess.CompletedProcess:
    """What it prints, a screenful at most, and its exit status."""
    with Command(words, errors_apart=True) as command:
        out, err = command.stdout.read(), command.stderr.read()
    return subprocess.CompletedProcess(words, command.returncode, out, err)


def _pipe():
    ours, its = context().Pipe(duplex=False)
    with ours:
        return os.fdopen(os.dup(ours.fileno()), encoding="utf-8", errors="replace"), its


def instead_of_processes(monkeypatch) -> None:
    """Let the queue start runs so, and let them start the next ones so."""
    from kochat.runs import queue

    monkeypatch.setattr(queue, "_process", _process)
    monkeypatch.setattr(queue, "warm_up", _do_not_warm_up)


def _do_not_warm_up() -> None:
    """Nothing: there is no process that would take long to start."""


def _process(name: str, output, given):
    return start_run(name, output.name)


def _in_environment(environment: dict[str, str], target, *arguments) -> None:
    import torch

    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    # What it starts is forked from the same server: by itself Python starts another, which imports LOADED anew.
    forkserver.ensure_running = forkserver._forkserver.ensure_running = resource_tracker.ensure_running
    target(*arguments)


def _be_the_process_of(name: str, log: str) -> None:
    from kochat.cli.runs import print_event
    from kochat.model.gpt2 import quiet
    from kochat.runs import queue, registry, worker

    os.setsid()
    with open(log, "ab") as output:
        _print_to(output, output)
    quiet()
    queue._process, queue.warm_up = _process, _do_not_warm_up
    worker.execute(registry.find(name), on_event=print_event)
    sys.stdout.flush()
    os._exit(0)  # else it would wait for the runs that it has started


def _be_the_app(log: str) -> None:
    from kochat.model.gpt2 import quiet
    from kochat.runs import queue
    from kochat.ui import page

    with open(log, "ab") as output:
        _print_to(output, output)
    quiet()
    queue._process, queue.warm_up = _process, _do_not_warm_up
    page.launch(server_port=int(os.environ["GRADIO_SERVER_PORT"]))  # gradio has looked for it when it was imported


def _be_the_command(words: list[str], out, err) -> None:
    from kochat.cli import main
    from kochat.runs import queue

    _print_to(out, err)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal; in its background Ctrl-C is ignored
    queue._process, queue.warm_up = _process, _do_not_warm_up
    sys.argv = ["kochat", *words]
    main.main()


def _print_to(out, err) -> None:
    for number, stream, place in ((1, sys.stdout, out), (2, sys.stderr, err)):
        stream.flush()
        stream.reconfigure(line_buffering=True)
        os.dup2(place.fileno(), number)
