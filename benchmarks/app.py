"""The app in a process of its own, as a benchmark needs it: an empty home, a free port, no browser."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

PROJECT = Path(__file__).resolve().parent.parent


class App(NamedTuple):
    """A running app: its address, when it was started (monotonic), and its process."""

    url: str
    start: float
    process: psutil.Process


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen) -> None:
    """Return as soon as the page answers. Raises RuntimeError where the process has ended before."""
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(process.stderr.read().decode() if process.stderr else "the app has ended") from None
            time.sleep(0.02)


@contextlib.contextmanager
def running_app(project: Path = PROJECT, prepare: Callable[[Path], None] = lambda home: None) -> Iterator[App]:
    """Start `python app.py` of a project, in a home that is empty but for what `prepare` puts there.

    It is yielded as soon as the page answers.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        prepare(Path(home))
        environment = os.environ | {"KOCHAT_HOME": home, "KOCHAT_NO_BROWSER": "1", "GRADIO_SERVER_PORT": str(port)}
        start = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            wait_for(url, process)
            yield App(url, start, psutil.Process(process.pid))
        finally:
            process.kill()
            process.wait()
            for other in psutil.process_iter(["environ"]):  # what it was training
                if (other.info["environ"] or {}).get("KOCHAT_HOME") == home:
                    other.kill()
