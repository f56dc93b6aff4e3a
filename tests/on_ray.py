"""Scripts of the manual that need Ray, run as they stand there but for what a test has to change."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from conftest import PROJECT

# What a script has made is asked of it by the names that it gives.
RUN = "import runpy, sys; made = runpy.run_path(sys.argv[1], run_name='__main__'); "


def script(page: str, name: str, changes: dict[str, str]) -> str:
    """The code after the words of a page that this is run with `python NAME`, with these changes."""
    text = (PROJECT / page).read_text("utf-8")
    code = re.search(r"^```python\n(.*?)^```$", text[text.index(f"`python {name}`") :], re.DOTALL | re.MULTILINE)[1]
    for old, new in changes.items():
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    return code


@contextlib.contextmanager
def running(code: str, folder: Path, then: str = "") -> Iterator[subprocess.Popen]:
    """A process that runs a script, and then a line that has its names in `made`; it prints to `printed.txt`."""
    file = folder / "script.py"
    file.write_text(code, "utf-8")
    # In the home Ray keeps a key of its own. Where it puts sockets the path must be short.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as sockets:
        ours = {"HOME": str(folder), "RAY_TMPDIR": sockets, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
        environment = {**os.environ, **ours, "PYTHONPATH": str(PROJECT)}
        environment.pop("RAY_ADDRESS", None)
        with (folder / "printed.txt").open("wb") as printed:
            command = [sys.executable, "-c", RUN + then, file]
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=printed, stderr=printed)
        try:
            yield process
        finally:
            if process.poll() is None:
                started = psutil.Process(process.pid).children(recursive=True)
                process.kill()
                for one in started:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.kill()
                process.wait()


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen, folder: Path) -> None:
    """Return when it is so; raises AssertionError with what was printed when the process ends before."""
    end = time.monotonic() + 300
    while not is_so():
        assert process.poll() is None, printed(folder)
        assert time.monotonic() < end, printed(folder)
        time.sleep(0.1)


def printed(folder: Path) -> str:
    """What the process has printed so far."""
    return (folder / "printed.txt").read_text("utf-8", errors="replace")
