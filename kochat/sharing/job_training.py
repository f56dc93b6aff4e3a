"""What a job of Hugging Face runs: the training itself, its events as lines of its log, the rest by the repository.

    journal-ATTEMPT.jsonl   all events so far, with whatever else goes up
    state/                  the newest saved state, now and then and when it is stopped
    result/, result.json    the checkpoint, and the SHA-256 of each of its files

Knows the repository that `jobs.py` has filled, which is downloaded into `folder` before; nothing of who follows.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from kochat.config import TrainingConfig
from kochat.errors import KochatError
from kochat.files import sha256_of
from kochat.training.events import to_dict

REPO, REVISION, ATTEMPT = "KOCHAT_REPO", "KOCHAT_REVISION", "KOCHAT_ATTEMPT"  # in its environment
SETTINGS, RESULT = "settings.json", "result.json"
JOURNAL = "journal-{}.jsonl"
EVENT = "kochat-event "  # how a line of the log begins that is an event
LONGEST_LINE = 8_000  # bytes; logs may cut longer ones
PUSH_EVERY = 300.0  # seconds at least from one state that goes up to the next
PUSH_SHARE = 10  # times as long as sending the last one took; an accelerator that waits is paid for
TRIES, PAUSE = 5, 20.0  # of what must arrive, and seconds between


def main(folder: str) -> None:
    """Train what is in `folder`; the exit status is 1 where that fails.

    SIGTERM stops it before its next step, its state saved.
    """
    stopped: list[int] = []
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    job = Job(Path(folder), HfApi(), os.environ[REPO], int(os.environ[ATTEMPT]))
    raise SystemExit(not job.train(lambda: bool(stopped)))


class Job:
    """One training between the repository and back. `say` takes a line of the log."""

    def __init__(self, folder: Path, api: HfApi, repo: str, attempt: int, say: Callable[[str], None] | None = None):
        self._folder, self._api, self._repo, self._attempt = folder, api, repo, attempt
        self._say = say or (lambda line: print(line, flush=True))
        self._journal: list[str] = []
        self._states = _files_in(folder, "state")  # that are in the repository
        self._pushed_at, self._push_took = time.monotonic(), 0.0

    def train(self, should_stop: Callable[[], bool]) -> bool:
        """Whether it came to an end as it should, finished or stopped; what it failed of is its last event."""
        from kochat.training.fine_tuning import fine_tune  # brings torch; whoever follows needs the names above alone

        try:
            config = settings(self._folder)
            state = self._folder / "state"
            for event in fine_tune(config, should_stop, state, lambda event: self._tell(to_dict(event))):
                told = to_dict(event)
                if told["type"] == "finished":
                    self._tell(told, lambda: self._push_result(Path(config.output)))
                elif told["type"] == "stopped":
                    self._tell(told, lambda: self._push_state(TRIES))
                elif told["type"] == "saved" and self._is_time_to_push():
                    self._tell(told, lambda: self._push_state(1))
                else:
                    self._tell(told)
            return True
        except KochatError as error:
            values = {name: str(value) for name, value in error.values.items()}
            self._tell({"type": "failed", "key": error.key, "values": values}, lambda: self._push([], TRIES))
        except Exception:  # whoever follows shows what it printed
            self._say(traceback.format_exc())
        return False

    def _tell(self, event: dict[str, Any], before: Callable[[], object] = lambda: None) -> None:
        """Note an event, do what has to be done `before` anybody hears of it, and put it into the log."""
        numbered = {**event, "attempt": self._attempt, "number": len(self._journal) + 1}
        self._journal.append(json.dumps(numbered, ensure_ascii=False))
        before()
        line = EVENT + self._journal[-1]
        if len(line.encode()) > LONGEST_LINE:
            self._push([], TRIES)
            line = EVENT + json.dumps({"attempt": self._attempt, "number": numbered["number"]})
        self._say(line)

    def _is_time_to_push(self) -> bool:
        return time.monotonic() - self._pushed_at > max(PUSH_EVERY, PUSH_SHARE * self._push_took)

    def _push_state(self, tries: int) -> None:
        from kochat.training.state import newest as newest_state

        start, newest = time.monotonic(), newest_state(self._folder / "state")
        new = _files_in(self._folder, f"state/{newest.name}") if newest else set()
        operations = [CommitOperationAdd(name, self._folder / name) for name in sorted(new - self._states)]
        operations += [CommitOperationDelete(name) for name in sorted(self._states - new)]
        if self._push(operations, tries):
            self._states = new
        self._pushed_at = time.monotonic()
        self._push_took = self._pushed_at - start

    def _push_result(self, output: Path) -> None:
        files = {path.name: path for path in output.iterdir() if path.is_file()}
        hashes = json.dumps({name: sha256_of(path) for name, path in files.items()}).encode()
        operations = [CommitOperationAdd(f"result/{name}", path) for name, path in sorted(files.items())]
        operations.append(CommitOperationAdd(RESULT, hashes))
        if not self._push(operations, TRIES):
            raise RuntimeError("the checkpoint could not be sent")

    def _push(self, operations: list, tries: int) -> bool:
        """One commit of these and of the journal so far; whether it arrived."""
        journal = "".join(f"{line}\n" for line in self._journal).encode()
        operations = [*operations, CommitOperationAdd(JOURNAL.format(self._attempt), journal)]
        for left in reversed(range(tries)):
            try:
                self._api.create_commit(self._repo, operations, commit_message="Train", repo_type="dataset")
                return True
            except Exception:  # of whatever kind: the training is worth more than one of its messages
                self._say(traceback.format_exc())
                time.sleep(PAUSE if left else 0)
        return False


def settings(folder: Path) -> TrainingConfig:
    """The settings as they hold here: data and base are those of `folder` where it has them."""
    config = TrainingConfig.from_dict(json.loads((folder / SETTINGS).read_text("utf-8")))
    places = {name: folder / getattr(config, name) for name in ("data", "base")}
    here = {name: str(path) for name, path in places.items() if path.exists()}
    return replace(config, **here, output=str(folder / "output" / config.output))


def _files_in(folder: Path, inside: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in (folder / inside).rglob("*") if path.is_file()}
