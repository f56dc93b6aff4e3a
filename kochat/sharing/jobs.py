"""Training as a job on a machine of Hugging Face: started from here, followed, stopped, its checkpoint brought back.

A private dataset repository of the owner's carries everything there and back: this package, the settings, the data and
the base, then the state, the journal and the checkpoint. The job prints each event as a line of its log, which is the
only thing that tells of a step at once; what the log has lost is in the journal of the repository. Every event has a
number, so that whoever follows again goes on behind the last one that is in the journal here.

Knows the run, the Hub's requests about jobs, and what `job_training.py` writes; trains nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue as queues
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import DatasetCardData, HfApi, JobInfo, get_token
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError, RepositoryNotFoundError

from kochat.config import TrainingConfig
from kochat.errors import CheckpointError, HubError, KochatError, RunError
from kochat.files import atomic_folder, is_disk_full, sha256_of, write_atomically
from kochat.model import checkpoint
from kochat.runs.journal import FINAL
from kochat.runs.registry import Run
from kochat.runs.worker import Events
from kochat.sharing.hub_cards import TAG
from kochat.sharing.job_training import ATTEMPT, EVENT, JOURNAL, REPO, RESULT, REVISION, SETTINGS
from kochat.sharing.package import Hardware, package_files, price_an_hour, versions
from kochat.sharing.repository import Files, account_of, connect, explained, info_of, publish
from kochat.training.events import Preparing, to_dict

FLAVORS = ("t4-small", "l4x1", "a10g-small", "a100-large", "h200")  # with one accelerator: that is what a training uses
MAX_HOURS = 6  # after which the Hub ends a job
IMAGE, PYTHON = "ghcr.io/astral-sh/uv:python3.12-bookworm", "3.12"
PEFT = "peft>=0.21,<0.22"  # as the extra `lora` has it; it need not be installed here
START = f"""
import os, sys, tempfile
from huggingface_hub import snapshot_download
where = dict(repo_type="dataset", revision=os.environ["{REVISION}"], local_dir=tempfile.mkdtemp())
folder = snapshot_download(os.environ["{REPO}"], **where)
sys.path.insert(0, folder)
from kochat.sharing.job_training import main
main(folder)
"""
ENVIRONMENT = {"PYTHONUTF8": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
LABEL, LABEL_ATTEMPT = "kochat-run", "kochat-attempt"
ENDED = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
BETWEEN_LOOKS = 0.2  # seconds
BETWEEN_CANCELS = 3.0  # seconds, where the first did not arrive
LONGEST_PAUSE = 60.0  # seconds between two tries
LOST_FOR = 3600.0  # seconds that the Hub may be out of reach while a job is on
LAST_TRIES = 10.0  # seconds, where somebody waits for the end
LOST = (httpx2.HTTPError, OSError)
README = """---
{data}
---

# A training of kochat

What a job of Hugging Face needs to train a chatbot, and what it sends back. kochat deletes this repository when the
chatbot has arrived. Keep it private: the pairs are in it.
"""
log = logging.getLogger(__name__)


def offered(flavor: str) -> Hardware:
    """The hardware of this name, with its price.

    Raises HubError where there is none, where there is no token that may write, and where the Hub is out of reach.
    """
    api = connect()
    with _explained(flavor):
        _owner(api)
        found = {one.name: one for one in api.list_jobs_hardware()}
    if flavor not in found:
        raise HubError("job_no_hardware", hardware=flavor, known=", ".join(found))
    return Hardware(flavor, found[flavor].pretty_name, price_an_hour(found[flavor]))


def _owner(api: HfApi) -> str:
    """Whose token it is, who will pay. Raises HubError for one that may not write."""
    account = account_of(api)
    if ((account.get("auth") or {}).get("accessToken") or {}).get("role") == "read":
        raise HubError("job_no_rights")
    return account["name"]


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """As `explained`, in the words for jobs."""
    try:
        with explained(name):
            yield
    except HubError as error:
        if error.key == "hub_payment":
            raise HubError("job_payment") from error
        if error.key == "hub_no_rights":
            raise HubError("job_no_rights") from error
        if error.key == "hub_broken_off":
            raise HubError("job_not_started") from error
        raise


def train(run: Run, should_stop: Callable[[], bool], tell: Callable[[dict[str, Any]], None]) -> Events:
    """What happens to a run that is trained by a job, as its journal has it; see `worker.execute`.

    It begins a job, or goes on with the one that is on. Where the run is asked to stop, the job is cancelled; where
    only this process is, the job goes on, and the next one follows it. Raises HubError, RunError, CheckpointError, and
    what the training itself has failed of.
    """
    yield from _Follower(run, should_stop).events()


@dataclass(frozen=True)
class _Job:
    """A job that was begun for a run; its attempts are counted from 1."""

    id: str
    attempt: int


class _Follower:
    """One run while this process follows it."""

    def __init__(self, run: Run, should_stop: Callable[[], bool]):
        self._run, self._should_stop = run, should_stop
        self._api = connect()
        self._known = json.loads(run.job_file.read_text("utf-8"))
        self._looked_at = -LONGEST_PAUSE  # for the journal in the repository

    @property
    def _repo(self) -> str:
        return self._known["repo"]

    @property
    def _namespace(self) -> str:
        return self._repo.split("/")[0]

    def events(self) -> Events:
        """See `train`."""
        job = self._last_job()
        if job is None:
            job = yield from self._begin(1)
        elif self._has_last_word():
            is_on, rest = self._left(job)
            if not is_on and "finished" not in [event["type"] for event in rest]:
                yield from (event for event in rest if event["type"] not in FINAL)
                job = yield from self._begin(job.attempt + 1)
        if job:
            yield from self._follow(job)

    def _last_job(self) -> _Job | None:
        begun = [event for event in self._run.events() if event["type"] == "job"]
        return _Job(begun[-1]["id"], begun[-1]["attempt"]) if begun else None

    def _has_last_word(self) -> bool:
        """Whether the run has ended since its last job was begun, and is resumed; else whoever followed was killed."""
        events = self._run.events()
        at = max(i for i, event in enumerate(events) if event["type"] == "job")
        return any(event["type"] in FINAL for event in events[at:])

    def _left(self, job: _Job) -> tuple[bool, list[dict[str, Any]]]:
        """Whether a job is still on, and where it is not, what has not been told of it here."""
        with _explained(self._repo):
            try:
                info = self._api.inspect_job(job_id=job.id, namespace=self._namespace)
                if info.status.stage not in ENDED:
                    return True, []
            except HfHubHTTPError as error:
                if error.response.status_code != 404:
                    raise
            return False, self._rest(job)

    # How a job begins.

    def _begin(self, attempt: int) -> Generator[dict[str, Any], None, _Job | None]:
        """Fill the repository and start a job; None where it was stopped before that."""
        yield to_dict(Preparing("uploading"))
        with _explained(self._run.name):
            owner = _owner(self._api)
            if "repo" not in self._known:
                self._known["repo"] = f"{owner}/{LABEL}-{secrets.token_hex(4)}"
                write_atomically(self._run.job_file, json.dumps(self._known))
        with _explained(self._repo):
            published = publish("dataset", self._repo, _files(self._run), private=True, holds_pairs=True)
            info = info_of(self._api, "dataset", self._repo)
        has_state = any(one.rfilename.startswith("state/") for one in (info.siblings if info else None) or [])
        if self._should_stop():
            if self._run.record().stopping:
                yield self._stopped()
            return None
        job = self._started(attempt, published.commit)
        yield {"type": "job", "id": job.id, "attempt": attempt, "url": job.url, "flavor": self._known["flavor"]}
        yield to_dict(Preparing("waiting_for_job" if attempt == 1 or has_state else "waiting_anew"))
        return _Job(job.id, attempt)

    def _started(self, attempt: int, revision: str) -> JobInfo:
        """The job of this attempt; one that was started already, by a process that was ended then, is taken."""
        labels = {LABEL: self._repo.split("/")[1], LABEL_ATTEMPT: str(attempt)}

        def begun() -> JobInfo | None:
            return next(iter(self._api.list_jobs(labels=labels, namespace=self._namespace)), None)

        with _explained(self._repo):
            if job := begun():
                return job
            try:
                return self._api.run_job(
                    image=IMAGE,
                    command=command(self._run.config),
                    env=ENVIRONMENT | {REPO: self._repo, REVISION: revision, ATTEMPT: str(attempt)},
                    secrets={"HF_TOKEN": get_token()},
                    flavor=self._known["flavor"],
                    timeout=f"{MAX_HOURS}h",
                    labels=labels,
                    name=labels[LABEL],
                    namespace=self._namespace,
                )
            except httpx2.HTTPError as error:
                # It may have been started, though nobody heard of it.
                if _is_passing(error) and (job := self._patiently(begun)):
                    return job
                raise

    # How it is followed.

    def _follow(self, job: _Job) -> Events:
        lines, is_asked = _Lines(self._api, self._namespace, job), False
        try:
            while True:
                found = lines.next()
                if isinstance(found, Exception):
                    raise self._explanation(found)
                if isinstance(found, JobInfo):
                    yield from self._ended(job, found)
                    return
                for event in self._new(job, found) if found else ():
                    yield from self._told(event)
                    if event["type"] in FINAL:
                        return
                if self._should_stop():
                    if not self._run.record().stopping:  # only this process is to end
                        return
                    is_asked = is_asked or self._cancel(job)
        finally:
            lines.close()

    def _cancel(self, job: _Job) -> bool:
        """Ask for the end of a job; whether that arrived."""
        try:
            self._api.cancel_job(job_id=job.id, namespace=self._namespace)
        except HfHubHTTPError as error:
            if error.response.status_code in (401, 403):
                raise self._explanation(error) from error
            if not _is_passing(error):
                return True  # it has ended by itself
            time.sleep(BETWEEN_CANCELS)
            return False
        except LOST as error:
            log.warning("the job %s could not be cancelled yet: %s", job.id, error)
            time.sleep(BETWEEN_CANCELS)
            return False
        return True

    def _number(self, job: _Job) -> int:
        """Of the last event of this job that is in the journal here."""
        of_job = (event for event in reversed(self._run.events()) if event.get("attempt") == job.attempt)
        return next((event["number"] for event in of_job if "number" in event), 0)

    def _new(self, job: _Job, event: dict[str, Any]) -> list[dict[str, Any]]:
        """The events up to this one that are not in the journal here, in order, as far as they can be had now."""
        last = self._number(job)
        if event.get("attempt") != job.attempt or event.get("number", 0) <= last:
            return []
        if event["number"] == last + 1 and "type" in event:
            return [event]
        if time.monotonic() - self._looked_at < LONGEST_PAUSE and "type" in event:
            return []
        self._looked_at = time.monotonic()
        try:
            found = self._rest(job)
        except (HfHubHTTPError, *LOST) as error:  # it is there later, too
            log.warning("the journal of the job %s could not be read yet: %s", job.id, error)
            return []
        reached = found[-1]["number"] if found else last
        return [*found, event] if event["number"] == reached + 1 and "type" in event else found

    def _rest(self, job: _Job) -> list[dict[str, Any]]:
        """What the journal in the repository has behind the last event that is here; nothing where there is none."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                name = JOURNAL.format(job.attempt)
                path = self._api.hf_hub_download(self._repo, name, repo_type="dataset", local_dir=folder)
            except (RemoteEntryNotFoundError, RepositoryNotFoundError):
                return []
            last, lines = self._number(job), Path(path).read_text("utf-8").splitlines()
        return [event for line in lines if (event := json.loads(line))["number"] > last]

    def _told(self, event: dict[str, Any]) -> Events:
        """An event as the journal here has it. Raises what the training has failed of."""
        if event["type"] == "failed":
            raise KochatError(event["key"], **event["values"])
        if event["type"] != "finished":
            yield event
            return
        self._bring()
        yield event | {"checkpoint": self._run.config.output}
        try:
            self._api.delete_repo(self._repo, repo_type="dataset")
        except (HfHubHTTPError, *LOST) as error:
            log.warning("%s could not be deleted: %s", self._repo, error)

    def _ended(self, job: _Job, info: JobInfo) -> Events:
        """What is still to be told of a job that has ended."""
        for event in self._patiently(lambda: self._rest(job)):
            yield from self._told(event)
            if event["type"] in FINAL:
                return
        if info.status.stage == "CANCELED":
            yield self._stopped()
            return
        reason = info.status.message or str(info.status.stage)
        raise RunError("job_failed", reason=reason, log=f"runs/{self._run.name}/log.txt")

    def _stopped(self) -> dict[str, Any]:
        last = self._run.record().last_step() or {}
        return {"type": "stopped", "step": last.get("step", 0), "seconds": last.get("seconds", 0.0)}

    # What comes back.

    def _bring(self) -> None:
        """Put the checkpoint where the run's is to be. Raises CheckpointError and RunError; nothing half stays then."""
        output = Path(self._run.config.output)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=self._run.path) as scratch:
            wanted = {"repo_type": "dataset", "allow_patterns": ["result/*", RESULT], "local_dir": scratch}
            self._patiently(lambda: self._api.snapshot_download(self._repo, **wanted))
            hashes = _hashes(Path(scratch))
            if output.exists():  # by this very run, before it could say so
                if any(not (output / name).is_file() or sha256_of(output / name) != hashes[name] for name in hashes):
                    raise CheckpointError("name_taken", name=output.name)
                return
            with atomic_folder(output) as part:
                for name in hashes:
                    shutil.move(Path(scratch) / "result" / name, part / name)
                checkpoint.read_card(part)

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """What the Hub answers, asked again while it is out of reach. Raises HubError and RunError."""
        start, pause = time.monotonic(), BETWEEN_LOOKS
        while True:
            try:
                return ask()
            except (HfHubHTTPError, *LOST) as error:
                if is_disk_full(error):
                    raise
                patience = min(LOST_FOR, LAST_TRIES) if self._should_stop() else LOST_FOR
                if not _is_passing(error) or time.monotonic() - start > patience:
                    raise self._explanation(error) from error
                log.warning("%s is out of reach: %s", self._repo, error)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _explanation(self, error: Exception) -> Exception:
        """What to say of a request that failed while a job is on; other errors stay what they are."""
        if not isinstance(error, (HfHubHTTPError, *LOST)):
            return error
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else 500
        if status in (401, 403):
            return HubError("job_no_rights")
        return HubError("job_gone") if status == 404 else RunError("job_out_of_reach")


class _Lines:
    """The log of a job, read by a thread: for a long time nothing may come of it."""

    def __init__(self, api: HfApi, namespace: str, job: _Job):
        self._ask = {"job_id": job.id, "namespace": namespace}
        self._api, self._found = api, queues.Queue()
        self._is_closed = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def close(self) -> None:
        """Let the thread end as soon as it can."""
        self._is_closed.set()

    def next(self) -> dict[str, Any] | JobInfo | Exception | None:
        """The next event; in the end the job as it ended, or why it cannot be followed; None where nothing came."""
        try:
            return self._found.get(timeout=BETWEEN_LOOKS)
        except queues.Empty:
            return None

    def _read(self) -> None:
        """From the beginning again after each loss: that is all that the Hub offers."""
        printed, pause, lost_at = 0, BETWEEN_LOOKS, None
        while not self._is_closed.is_set():
            try:
                for i, line in enumerate(self._api.fetch_job_logs(**self._ask, follow=True)):
                    if self._is_closed.is_set():
                        return
                    pause, lost_at = BETWEEN_LOOKS, None
                    self._take(line, i >= printed)
                    printed = max(printed, i + 1)
                info = self._api.inspect_job(**self._ask)
                lost_at = None
                if info.status.stage in ENDED:
                    return self._found.put(info)
            except (HfHubHTTPError, *LOST) as error:
                lost_at = lost_at or time.monotonic()
                if not _is_passing(error) or time.monotonic() - lost_at > LOST_FOR:
                    return self._found.put(error)
                log.warning("the log of the job %s was lost: %s", self._ask["job_id"], error)
            except Exception as error:  # or whoever follows would wait for ever
                return self._found.put(error)
            self._is_closed.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _take(self, line: str, is_new: bool) -> None:
        for one in line.splitlines():
            if not one.startswith(EVENT):
                if is_new and one:
                    print(one, flush=True)  # into the log of the run
                continue
            with contextlib.suppress(ValueError):  # a line that was cut; the repository has it whole
                self._found.put(json.loads(one.removeprefix(EVENT)))


def _is_passing(error: Exception) -> bool:
    """Whether the same request may well be answered a little later."""
    return not isinstance(error, HfHubHTTPError) or error.response.status_code in (408, 429, *range(500, 600))


def command(config: TrainingConfig) -> list[str]:
    """What the job does: install what kochat needs, download the repository, and train what is in it."""
    needed = [f"{name}=={version}" for name, version in versions().items()] + ([PEFT] if config.lora_rank else [])
    given = [word for one in needed for word in ("--with", one)]
    return ["uv", "run", "--no-project", "--python", PYTHON, *given, "python", "-c", START]


def _files(run: Run) -> Files:
    """All that the job needs. What is on the Hub or at a URL, the job fetches from there itself."""
    config = run.config
    files: Files = {f"kochat/{name}": path for name, path in package_files()}
    here = {}
    if (data := Path(config.data)).is_file():
        here["data"] = f"data/{data.name}"
        files[here["data"]] = data
    if (base := Path(config.base)).is_dir():
        here["base"] = f"base/{base.name}"
        shown = (path for path in base.iterdir() if path.is_file() and not path.name.startswith("."))
        files |= {f"{here['base']}/{path.name}": path for path in shown}
    there = replace(config, **here, output=Path(config.output).name, report_to="none")
    files[SETTINGS] = json.dumps(there.to_dict(), ensure_ascii=False).encode()
    files["README.md"] = README.format(data=DatasetCardData(language="ko", tags=[TAG]).to_yaml()).encode()
    return files


def _hashes(folder: Path) -> dict[str, str]:
    """The hashes of the files of a result that lies in `folder`. Raises RunError where it did not arrive whole."""
    try:
        hashes = json.loads((folder / RESULT).read_text("utf-8"))
        for name, sha256 in hashes.items():
            if not re.fullmatch(r"\w[\w.-]*", name) or sha256_of(folder / "result" / name) != sha256:
                raise RunError("job_bad_result")
    except (OSError, ValueError, AttributeError) as error:
        raise RunError("job_bad_result") from error
    return hashes
