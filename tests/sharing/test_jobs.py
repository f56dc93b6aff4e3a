"""Training as a job of Hugging Face: the real client against a stand-in for its server, in this process."""

import json
import os
import signal
import sys
import threading
import time
import traceback
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import HfApi, hf_api, snapshot_download
from safetensors.torch import load_file
from typer.testing import CliRunner

from kochat.cli import main
from kochat.config import TrainingConfig
from kochat.data import hub_client
from kochat.errors import HubError, KochatError
from kochat.files import sha256_of
from kochat.model import checkpoint
from kochat.runs import queue, registry, worker
from kochat.sharing import job_training, jobs
from kochat.training.fine_tuning import fine_tune

FLAVOR = {"flavor": "t4-small"}
SETTINGS = {"rows": 24, "epochs": 2, "batch_size": 8, "precision": "float32", "sample_questions": ("안녕",)}


@pytest.fixture(autouse=True)
def at_once(server, monkeypatch):
    """Nothing is waited for, and of the package only what shows that it goes along."""
    files = [one for one in jobs.package_files() if one[0] in ("__init__.py", "labels.py")]
    monkeypatch.setattr(jobs, "package_files", lambda: files)
    monkeypatch.setattr(jobs, "BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(jobs, "BETWEEN_CANCELS", 0.01)
    monkeypatch.setattr(worker, "BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(job_training, "PAUSE", 0.0)
    monkeypatch.setattr(hf_api, "time", SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None}))


def config(base, home, name="mine", **settings):
    places = {"base": str(base), "output": str(home / "checkpoints" / name)}
    return TrainingConfig(**{"data": "emotions", **SETTINGS, **places, **settings})


@pytest.fixture
def run(tiny_base, home):
    return queue.create(config(tiny_base, home), job=FLAVOR)


def follow(run, on_event=lambda event: None):
    """What the process of the run does."""
    worker.execute(run, on_event, train=jobs.train)


def failing(run, on_event=lambda event: None):
    """Follow it until it fails, and say why."""
    with pytest.raises(KochatError) as raised:
        follow(run, on_event)
    traceback.clear_frames(raised.tb)  # a process that has ended has its lock no more
    return run.failure()


def repository(server):
    """The one that a run has made."""
    [(_, repo)] = server.pushed.items()
    return repo


def preparing(run):
    """What it said while it got ready."""
    return [event["what"] for event in run.events() if event["type"] == "preparing"]


def told(run):
    """The numbers of the events that came from each job."""
    numbers = {}
    for event in run.events():
        if "number" in event:
            numbers.setdefault(event["attempt"], []).append(event["number"])
    return numbers


STARTED = {"type": "started", "pairs": 20, "validation_pairs": 0, "cut": 0, "steps": 6, "epochs": 2, "at_step": 0}
EVENTS = [
    {"type": "preparing", "what": "reading_data"},
    STARTED | {"data_sha256": "0" * 64, "parameters": 1, "device": "cuda", "precision": "bfloat16"},
    *({"type": "step", "step": i, "steps": 6, "loss": 1.0 / i, "seconds": float(i)} for i in range(1, 7)),
    {"type": "finished", "checkpoint": "there", "epoch": 2, "seconds": 6.0},
]


def lines_of(events, attempt=1):
    return [
        job_training.EVENT + json.dumps(event | {"attempt": attempt, "number": number})
        for number, event in enumerate(events, 1)
    ]


def journal_of(events, attempt=1):
    return "".join(line.removeprefix(job_training.EVENT) + "\n" for line in lines_of(events, attempt)).encode()


def result_of(folder, **more):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hashes = {path.name: sha256_of(path) for path in folder.iterdir()} | more
    return {f"result/{name}": content for name, content in files.items()} | {"result.json": json.dumps(hashes).encode()}


def replay(server, folder, lines=None, events=EVENTS):
    """Let a job say these lines, with a checkpoint and all events in the repository."""

    def work(job):
        attempt = int(job.asked["labels"]["kochat-attempt"])
        repository(server).files |= result_of(folder) | {f"journal-{attempt}.jsonl": journal_of(events, attempt)}
        for line in ["Installed 40 packages", *(lines_of(events, attempt) if lines is None else lines)]:
            job.lines.append(line)
        while server.cuts:  # it is on as long as its log is lost
            time.sleep(0.005)

    server.work = work


def test_the_script_of_the_job_trains_there_as_it_would_here(server, tiny_base, home, tmp_path, monkeypatch):
    data = tmp_path / "우리 가게.csv"
    data.write_text("Q,A,label\n" + "".join(f"질문 {i},답 {i},{i % 3}\n" for i in range(24)), "utf-8")
    run = queue.create(config(tiny_base, home, data=str(data)), job=FLAVOR)
    seen = {}
    monkeypatch.setattr(sys, "path", [*sys.path])

    def work(job):
        seen["repo"], seen["files"] = repository(server), dict(repository(server).files)
        seen["is_queued"] = registry.queued()
        for name, value in job.asked["environment"].items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(job_training, "print", lambda line, flush: job.lines.append(line), raising=False)
        with pytest.raises(SystemExit) as ended:
            exec(job.asked["command"][-1], {})
        job.stage = "ERROR" if ended.value.code else "COMPLETED"

    server.work = work
    follow(run)
    assert (run.state(), run.failure()) == ("finished", None)
    kinds = [event["type"] for event in run.events() if event["type"] != "step"]
    one = ["epoch", "saved"]
    begun = ["queued", "launched", "preparing", "job", "preparing"]
    assert kinds == [*begun, *["preparing"] * 3, "started", *one, *one, "finished"]
    assert preparing(run)[:2] == ["uploading", "waiting_for_job"]
    lines = server.jobs[0].lines
    assert told(run) == {1: list(range(1, len(lines) + 1))}
    assert run.record().final["checkpoint"] == str(home / "checkpoints" / "mine")
    # As it would be here.
    here = config(tiny_base, home, "here", data=str(data))
    losses = [event.loss for event in fine_tune(here) if type(event).__name__ == "Step"]
    assert [one["loss"] for _, one in sorted(run.record().steps.items())] == losses
    ours, theirs = (load_file(home / "checkpoints" / name / "model.safetensors") for name in ("here", "mine"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    card = checkpoint.load(home / "checkpoints" / "mine").card
    assert (card.base, card.data["source"], card.config["output"]) == ("tiny-base", "우리 가게", "mine")
    # What went there: one commit, private; and gone when all was back.
    assert seen["repo"].private
    assert len(seen["repo"].commits) == 2 + 1  # with the Hub's own first one, and the result
    assert {"kochat/labels.py", "data/우리 가게.csv", "base/tiny-base/model.safetensors"} <= seen["files"].keys()
    assert server.pushed == {}
    # The token is a secret, and nowhere else.
    job = server.jobs[0].asked
    assert job["secrets"] == {"HF_TOKEN": "hf_write"}
    rest = json.dumps({name: value for name, value in job.items() if name != "secrets"})
    assert (job["flavor"], job["timeoutSeconds"]) == ("t4-small", 6 * 3600)
    told_anybody = [rest, *lines, run.log(), run.journal.read_text("utf-8"), run.job_file.read_text()]
    assert not any("hf_write" in one for one in told_anybody)
    assert not any(b"hf_write" in one for one in seen["files"].values())
    assert job["command"][:2] == ["uv", "run"]
    assert f"torch=={torch.__version__.partition('+')[0]}" in job["command"]
    assert not any("peft" in word for word in job["command"])
    assert jobs.PEFT in jobs.command(TrainingConfig(lora_rank=8))


def test_a_connection_that_is_lost_again_and_again_is_followed_from_where_it_was(server, run, tiny_checkpoint):
    replay(server, tiny_checkpoint)
    server.cuts = [*[0] * 8, 3, 5, 1, 0, 9, 5]
    follow(run)
    assert run.state() == "finished"
    assert told(run) == {1: list(range(1, len(EVENTS) + 1))}
    assert server.cuts == []
    assert len(server.jobs) == 1
    weights = (run.path.parents[1] / "checkpoints" / "mine" / "model.safetensors").read_bytes()
    assert weights == (tiny_checkpoint / "model.safetensors").read_bytes()


def test_what_the_log_has_lost_or_cut_comes_from_the_repository(server, run, tiny_checkpoint):
    lines = lines_of(EVENTS)
    replay(server, tiny_checkpoint, [lines[0], lines[1][:40], *lines[5:7]])
    follow(run)
    assert run.state() == "finished"
    assert told(run) == {1: list(range(1, len(EVENTS) + 1))}
    assert run.record().started["pairs"] == 20


def test_behind_what_it_has_lost_a_log_is_followed_live(server, run, tiny_checkpoint):
    lines = lines_of(EVENTS)

    def work(job):
        repository(server).files |= {"journal-1.jsonl": journal_of(EVENTS[:5])} | result_of(tiny_checkpoint)
        job.lines += [lines[0], *lines[5:8]]
        end = time.monotonic() + 20
        while len(run.record().steps) < 6 and time.monotonic() < end:
            time.sleep(0.005)
        job.lines += lines[8:] if len(run.record().steps) == 6 else []

    server.work = work
    follow(run)
    assert run.state() == "finished"
    assert told(run) == {1: list(range(1, len(EVENTS) + 1))}


class KilledError(BaseException):
    """As if the process had been killed: nobody catches it."""


def killed_after(run, kind):
    """Follow a run until an event, and be killed then."""

    def on_event(event):
        if event["type"] == kind:
            raise KilledError

    with pytest.raises(KilledError):
        follow(run, on_event)
    run.write("launched", pid=2**22 + 1, created=0.0, at=0.0)  # a process that is not there any more
    assert run.state() == "interrupted"


def test_killed_while_it_follows_it_is_followed_again_by_itself(server, run, tiny_checkpoint, monkeypatch):
    replay(server, tiny_checkpoint)
    killed_after(run, "step")
    assert registry.left_alone() == [run]
    with pytest.raises(Exception, match="Stop it first"):
        queue.delete(run)
    launched = []
    monkeypatch.setattr(queue, "_launch", launched.append)
    queue.dispatch()
    assert launched == [run]
    follow(run)
    assert run.state() == "finished"
    assert told(run) == {1: list(range(1, len(EVENTS) + 1))}
    assert len(server.jobs) == 1


@pytest.mark.parametrize("is_there", [True, False], ids=["put in place", "not yet"])
def test_killed_when_the_checkpoint_arrives_it_is_taken_once(server, run, tiny_checkpoint, monkeypatch, is_there):
    replay(server, tiny_checkpoint)
    bring = jobs._Follower._bring

    def bring_and_die(self):
        if is_there:
            bring(self)
        raise KilledError

    monkeypatch.setattr(jobs._Follower, "_bring", bring_and_die)
    with pytest.raises(KilledError):
        follow(run)
    monkeypatch.setattr(jobs._Follower, "_bring", bring)
    follow(run)
    assert run.state() == "finished"
    assert told(run) == {1: list(range(1, len(EVENTS) + 1))}
    assert not [path for path in run.path.iterdir() if path.name.startswith(".part-")]


def test_a_start_whose_answer_is_lost_is_not_paid_for_twice(server, run, tiny_checkpoint, monkeypatch):
    replay(server, tiny_checkpoint)
    publish = jobs.publish

    def then_lose(*arguments, **options):
        made = publish(*arguments, **options)
        server.lost = True
        return made

    monkeypatch.setattr(jobs, "publish", then_lose)
    follow(run)
    assert run.state() == "finished"
    assert len(server.jobs) == 1


def waits_to_be_cancelled(server, first=()):
    """A job that is on until somebody cancels it."""

    def work(job):
        job.lines += first
        while not job.is_over:
            time.sleep(0.005)

    server.work = work


def stop_at(run, kind):
    return lambda event: queue.stop(run) if event["type"] == kind else None


def test_stopped_it_cancels_the_job_and_begins_anew_where_nothing_was_saved(server, run, tiny_checkpoint):
    waits_to_be_cancelled(server, lines_of(EVENTS[:4]))
    server.refused = {"job_cancel": 503}
    threading.Timer(0.1, server.refused.clear).start()
    follow(run, stop_at(run, "step"))
    assert (run.state(), run.record().final["step"]) == ("stopped", 2)
    assert server.jobs[0].stage == "CANCELED"
    assert told(run) == {1: [1, 2, 3, 4]}
    stopped = {"type": "stopped", "step": 3, "seconds": 3.0}  # which it said when nobody listened any more
    repository(server).files["journal-1.jsonl"] = journal_of([*EVENTS[:5], stopped])
    replay(server, tiny_checkpoint)
    queue.resume(run, pid=os.getpid())
    follow(run)
    assert run.state() == "finished"
    assert preparing(run)[-2:] == ["waiting_anew", "reading_data"]
    assert told(run) == {1: [1, 2, 3, 4, 5], 2: list(range(1, len(EVENTS) + 1))}
    assert len(server.jobs) == 2


def test_ended_by_the_system_it_leaves_the_job_alone(server, run):
    waits_to_be_cancelled(server, lines_of(EVENTS[:4]))
    follow(run, lambda event: os.kill(os.getpid(), signal.SIGTERM) if event["type"] == "step" else None)
    assert run.record().state == "running"  # with no last word: this process lives
    assert server.jobs[0].stage == "RUNNING"
    server.jobs[0].stage = "CANCELED"


def test_stopped_before_there_is_a_job_none_is_started(server, run):
    follow(run, stop_at(run, "preparing"))
    assert (run.state(), server.jobs) == ("stopped", [])


def test_a_job_that_is_stopped_sends_its_state_and_the_next_one_goes_on_from_it(server, tiny_base, home, tmp_path):
    run = queue.create(config(tiny_base, home), job=FLAVOR)

    def work(job):
        environment = job.asked["environment"]
        folder = tmp_path / job.id
        snapshot_download(environment["KOCHAT_REPO"], repo_type="dataset", local_dir=folder)
        attempt = int(environment["KOCHAT_ATTEMPT"])
        one = job_training.Job(folder, HfApi(), environment["KOCHAT_REPO"], attempt, job.lines.append)
        assert one.train(lambda: attempt == 1 and '"step": 4,' in str(job.lines))

    server.work = work
    follow(run)
    assert (run.state(), run.record().final["step"]) == ("stopped", 4)
    states = [name for name in repository(server).files if name.startswith("state/")]
    assert len({name.split("/")[1] for name in states}) == 1
    queue.resume(run, pid=os.getpid())
    follow(run)
    assert run.state() == "finished"
    assert run.record().started["at_step"] == 4
    assert "waiting_anew" not in preparing(run)
    steps = [one["loss"] for _, one in sorted(run.record().steps.items())]
    whole = [event.loss for event in fine_tune(config(tiny_base, home, "whole")) if type(event).__name__ == "Step"]
    assert steps == whole


def test_a_long_event_goes_by_the_repository(server, tiny_base, home, tmp_path, monkeypatch):
    monkeypatch.setattr(job_training, "LONGEST_LINE", 100)
    run = queue.create(config(tiny_base, home, epochs=1), job=FLAVOR)

    def work(job):
        repo = job.asked["environment"]["KOCHAT_REPO"]
        snapshot_download(repo, repo_type="dataset", local_dir=tmp_path / "there")
        job_training.Job(tmp_path / "there", HfApi(), repo, 1, job.lines.append).train(lambda: False)

    server.work = work
    follow(run)
    assert run.state() == "finished"
    assert told(run) == {1: list(range(1, len(server.jobs[0].lines) + 1))}
    assert max(len(line) for line in server.jobs[0].lines) <= 100


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"token": None}, "hub_no_token"),
        ({"token": "hf_wrong"}, "hub_wrong_token"),
        ({"token": "hf_read"}, "job_no_rights"),
        ({"refused": {"create": 403}}, "job_no_rights"),
        ({"refused": {"job_start": 401}}, "job_no_rights"),
        ({"refused": {"job_start": 402}}, "job_payment"),
        ({"refused": {"job_start": 404}}, "job_no_rights"),
        ({"refused": {"job_start": 400}}, "hub_refused"),
        ({"dropped": {"job_start"}}, "job_not_started"),
        ({"dropped": {"commit"}}, "job_not_started"),
        ({"dropped": {"whoami"}}, "job_not_started"),
    ],
)
def test_each_way_in_which_it_cannot_begin_has_its_sentence(server, run, monkeypatch, change, key):
    if "token" in change:
        token = change["token"]
        monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN")
    server.refused, server.dropped = change.get("refused", {}), change.get("dropped", set())
    failure = failing(run)
    assert (run.state(), failure.key, server.jobs) == ("failed", key, [])
    assert failure.text("ko") != failure.text("en")


def test_of_a_job_that_fails_the_owner_finds_what_it_printed(server, run, capfd):
    def work(job):
        job.lines += [*lines_of(EVENTS[:2]), "Traceback (most recent call last):", "CUDA out of memory"]
        job.stage, job.message = "ERROR", "Job failed with exit code: 1"

    server.work = work
    failure = failing(run)
    assert (failure.key, failure.values["log"]) == ("job_failed", "runs/mine/log.txt")
    for language in ("en", "ko"):
        assert "Job failed with exit code: 1" in failure.text(language)
    assert "CUDA out of memory" in capfd.readouterr().out  # which is the run's log.txt


def test_what_the_training_there_fails_of_is_said_as_it_is_here(server, run):
    failed = {"type": "failed", "key": "diverged", "values": {"learning_rate": "0.1"}}

    def work(job):
        job.lines += lines_of([*EVENTS[:4], failed])
        job.stage = "ERROR"

    server.work = work
    failure = failing(run)
    assert (failure.key, failure.values) == ("diverged", {"learning_rate": "0.1"})


def test_a_job_that_is_gone_is_not_waited_for_and_another_is_started(server, run, tiny_checkpoint):
    waits_to_be_cancelled(server, lines_of(EVENTS[:4]))
    refuse = server.refused

    def on_event(event):
        if event["type"] == "step":
            refuse.update({"job": 404, "job_logs": 404})
            server.jobs[0].stage = "DELETED"

    assert failing(run, on_event).key == "job_gone"
    refuse.clear()
    replay(server, tiny_checkpoint)
    queue.resume(run, pid=os.getpid())
    follow(run)
    assert (run.state(), len(server.jobs)) == ("finished", 2)


def test_out_of_reach_for_long_it_says_so_and_a_resumed_run_takes_the_same_job(
    server, run, tiny_checkpoint, monkeypatch
):
    monkeypatch.setattr(jobs, "LOST_FOR", 0.2)
    waits_to_be_cancelled(server, lines_of(EVENTS[:4]))

    def on_event(event):
        server.broken = server.broken or event["type"] == "step"

    assert failing(run, on_event).key == "job_out_of_reach"
    server.broken = False
    repository(server).files |= result_of(tiny_checkpoint)
    server.jobs[0].lines = lines_of(EVENTS)
    server.jobs[0].stage = "COMPLETED"
    repository(server).files["journal-1.jsonl"] = journal_of(EVENTS)
    queue.resume(run, pid=os.getpid())
    follow(run)
    assert (run.state(), len(server.jobs)) == ("finished", 1)
    assert told(run) == {1: list(range(1, len(EVENTS) + 1))}


@pytest.mark.parametrize("change", ["hash", "file", "name"])
def test_a_checkpoint_that_did_not_arrive_whole_is_not_put_in_place(server, run, tiny_checkpoint, home, change):
    replay(server, tiny_checkpoint)
    good = server.work

    def work(job):
        good(job)
        files = repository(server).files
        if change == "file":
            del files["result/config.json"]
        else:
            files["result.json"] = json.dumps({"config.json": "0" * 64} if change == "hash" else {"../x": "0"}).encode()

    server.work = work
    assert failing(run).key == "job_bad_result"
    assert not (home / "checkpoints" / "mine").exists()
    repository(server).files |= result_of(tiny_checkpoint)
    queue.resume(run, pid=os.getpid())
    follow(run)
    assert (run.state(), len(server.jobs)) == ("finished", 1)


def test_it_waits_for_nobody_and_nobody_waits_for_it(tiny_base, home, monkeypatch):
    launched = []

    def launch(run):
        launched.append(run.name)
        queue.mark_launched(run, os.getpid())

    monkeypatch.setattr(queue, "_launch", launch)
    there = queue.start(config(tiny_base, home, "there"), FLAVOR)
    here = queue.start(config(tiny_base, home, "here"))
    also = queue.start(config(tiny_base, home, "also"), FLAVOR)
    last = queue.start(config(tiny_base, home, "last"))
    assert launched == [there.name, here.name, also.name]
    assert last.state() == "queued"
    again = queue.again(there, epochs=3)
    assert json.loads(again.job_file.read_text()) == FLAVOR


def test_the_price_is_said_before_it_starts(server, tiny_base, home, monkeypatch):
    assert jobs.offered("t4-small").price == pytest.approx(0.40, abs=0.01)
    with pytest.raises(HubError) as raised:
        jobs.offered("abacus")
    assert (raised.value.key, raised.value.values["known"]) == ("job_no_hardware", "cpu-basic, t4-small")
    started = []
    monkeypatch.setattr(queue, "_launch", lambda run: started.append(run))
    monkeypatch.setattr(main, "watch", lambda run: None)
    words = ["train", "--data", "emotions", "--base", str(tiny_base), "--output", str(home / "checkpoints" / "mine")]
    said = CliRunner().invoke(main.app, [*words, "--on", "hf-jobs"])
    assert said.stderr == "Nvidia T4 small costs $0.40 an hour while it runs, which is 6 hours at most.\n"
    assert [run.is_elsewhere() for run in started] == [True]
    monkeypatch.delenv("HF_TOKEN")
    said = CliRunner().invoke(main.app, [*words, "--on", "hf-jobs"])
    assert (said.exception.key, len(registry.list_runs())) == ("hub_no_token", 1)


def test_on_zero_gpu_it_has_a_process_of_its_own(tiny_base, home, monkeypatch):
    lent, started = [], []

    def process(name, output, given):
        started.append(name)
        return SimpleNamespace(pid=os.getpid())

    monkeypatch.setattr(queue, "_launcher", lent.append)
    monkeypatch.setattr(queue, "_process", process)
    run = queue.start(config(tiny_base, home), FLAVOR)
    assert (lent, started, run.state()) == ([], ["mine"], "running")


def test_a_log_in_which_nothing_comes_for_a_while_is_waited_for():
    client = hub_client._bounded_client()
    bound = client.event_hooks["request"][-1]
    waits = []
    for path in ("api/jobs/somebody/1/logs", "api/jobs/somebody/1"):
        request = client.build_request("GET", f"https://huggingface.co/{path}", timeout=120)
        bound(request)
        waits.append(request.extensions["timeout"]["read"])
    assert waits == [120, hub_client.TIMEOUT]
