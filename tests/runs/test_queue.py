"""Starting runs as processes: queue, stop, resume, kill; what a run leaves is whole."""

import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from kochat.config import TrainingConfig
from kochat.errors import CheckpointError, DataError, RunError, SettingsError
from kochat.files import write_atomically
from kochat.model import checkpoint
from kochat.runs import queue, registry, worker


def config(base, home, name="mine", **settings):
    settings = {"data": "emotions", "rows": 60, "epochs": 2, "precision": "float32", **settings}
    return TrainingConfig(base=str(base), output=str(home / "checkpoints" / name), **settings)


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds  # runs have a low priority, and the machine may be busy
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def autogroup_niceness(pid):
    """Of the session of a process; None where the system has no such thing."""
    path = Path(f"/proc/{pid}/autogroup")
    return int(path.read_text().split()[-1]) if path.exists() else None


def kinds(events):
    return [event["type"] for event in events if event["type"] != "step"]


@pytest.mark.slow
def test_a_run_in_its_own_process_writes_its_journal_and_its_checkpoint(tiny_base, home):
    run = queue.start(config(tiny_base, home))
    assert registry.running() == [run]
    pid = run.record().process["pid"]
    wait_for(lambda: psutil.Process(pid).nice() == 10 and autogroup_niceness(pid) in (10, None))
    followed = list(queue.follow(run))
    one = ["epoch", "saved"]
    assert kinds(followed) == ["queued", "launched", *["preparing"] * 4, "started", *one, *one, "finished"]
    assert followed == run.events()
    assert (run.state(), run.progress(), run.failure()) == ("finished", "100%", None)
    assert list(checkpoint.list_checkpoints())[-1] == "mine"
    assert "epoch 2/2" in run.log()


class Autogroup:
    """A file that refuses to be written, as it does where another process wrote it just before."""

    def __init__(self, *refusals):
        self.refusals, self.written = list(refusals), []

    def exists(self):
        return True

    def write_text(self, text):
        if self.refusals:
            raise self.refusals.pop()
        self.written.append(text)


def test_only_a_session_of_its_own_is_told_to_wait_for_the_chat(monkeypatch, caplog):
    monkeypatch.setattr(psutil.Process, "nice", lambda self, value: None)  # it would last for all tests to come
    busy = BlockingIOError(11, "Resource temporarily unavailable")
    tried = [(False, [], []), (True, [busy, busy], ["10"]), (True, [PermissionError()], [])]
    for is_leader, refusals, written in tried:
        leader = os.getpid() if is_leader else -1
        monkeypatch.setattr(os, "getsid", lambda pid, leader=leader: leader, raising=False)  # Windows has none
        monkeypatch.setattr(worker, "AUTOGROUP", Autogroup(*refusals))
        worker.lower_priority()
        assert worker.AUTOGROUP.written == written
    assert "may slow the chat down" in caplog.text


@pytest.mark.slow
def test_a_process_that_waits_begins_runs_until_it_dies_or_is_dismissed(tiny_base, home, monkeypatch):
    queue.warm_up()
    waiting = queue._spare._process
    queue.warm_up()
    assert queue._spare._process is waiting
    pids = set()
    for name in ("one", "two"):
        run = queue.start(config(tiny_base, home, name))
        list(queue.follow(run))
        assert run.state() == "finished"
        assert "epoch 2/2" in run.log()
        pids.add(run.record().process["pid"])
    assert len(pids | {waiting.pid}) == 3
    wait_for(lambda: not any(map(psutil.pid_exists, pids)))  # no zombies
    # What forks must have no threads.
    assert psutil.Process(waiting.pid).num_threads() == 1
    # A run outlives it.
    third = queue.start(config(tiny_base, home, "three", epochs=10_000))
    wait_for(lambda: third.record().epochs)
    assert autogroup_niceness(third.record().process["pid"]) in (10, None)
    queue._spare.dismiss()
    epochs = len(third.record().epochs)
    wait_for(lambda: len(third.record().epochs) > epochs + 3)
    queue.stop(third)
    wait_for(lambda: third.state() == "stopped")
    assert waiting.wait(60) == 0
    queue.warm_up()
    died = queue._spare._process
    died.kill()
    died.wait()
    fourth = queue.start(config(tiny_base, home, "four", epochs=10_000))
    assert fourth.record().process["pid"] != died.pid
    queue.stop(fourth)
    # One that was told to a process that never came is not on for ever.
    queue.mark_launched(fourth, os.getpid(), is_spare=True)
    assert fourth.state() == "running"
    monkeypatch.setattr(registry, "SPARE_TAKES", -1)
    assert fourth.state() == "interrupted"


@pytest.mark.slow
def test_one_trains_and_the_others_wait_their_turn(tiny_base, home, forked_runs):
    first = queue.start(config(tiny_base, home, "one", epochs=10_000))
    second = queue.start(config(tiny_base, home, "two", epochs=1))
    third = queue.start(config(tiny_base, home, "three"))
    assert (first.state(), second.state(), third.state()) == ("running", "queued", "queued")
    assert registry.queued() == [second, third]
    wait_for(lambda: first.record().epochs)
    # The first will take long, and the others about as long a pair as it does.
    soon, later = queue.seconds_until_start(second), queue.seconds_until_start(third)
    assert 5 < soon < later < 2 * soon
    queue.stop(third)
    assert third.state() == "cancelled"
    queue.stop(first)
    # Whoever ends starts the next: nobody else looks after the queue here.
    wait_for(lambda: second.state() == "finished")
    assert first.state() == "stopped"
    assert third.state() == "cancelled"


def test_more_at_once_where_the_machine_may(tiny_base, home, monkeypatch, forked_runs):
    monkeypatch.setenv("KOCHAT_RUNS_AT_ONCE", "2")
    started = [queue.start(config(tiny_base, home, name, epochs=10_000)) for name in ("one", "two", "three")]
    assert [run.state() for run in started] == ["running", "running", "queued"]
    for run in reversed(started):
        queue.stop(run)
    for wrong in ("0", "many", "-1"):
        monkeypatch.setenv("KOCHAT_RUNS_AT_ONCE", wrong)
        with pytest.raises(SettingsError, match="KOCHAT_RUNS_AT_ONCE"):
            queue.dispatch()


@pytest.mark.slow
def test_stopped_by_the_page_or_by_a_signal_and_resumed_it_is_the_same_training(tiny_base, home, forked_runs):
    # Long enough that it is not over before it is stopped for the second time, on a busy machine too; in few epochs,
    # since after each it answers and saves.
    long = {"epochs": 4, "batch_size": 1}
    whole = queue.start(config(tiny_base, home, "whole", **long))
    list(queue.follow(whole))
    run = queue.start(config(tiny_base, home, **long))
    for stop in (lambda: queue.stop(run), lambda: os.kill(run.record().process["pid"], signal.SIGTERM)):
        at = len(run.record().steps)
        wait_for(lambda at=at: len(run.record().steps) > at + 3)
        stop()
        wait_for(lambda: run.state() == "stopped", seconds=3)
        assert not (home / "checkpoints" / "mine").exists()
        queue.resume(run)
    list(queue.follow(run))
    assert run.state() == "finished"
    losses = [[one["loss"] for one in r.record().steps.values()] for r in (run, whole)]
    assert losses[0] == losses[1]
    assert same_weights(home / "checkpoints" / "mine", home / "checkpoints" / "whole")


def test_resumed_before_its_process_is_gone_it_is_started_by_that(tiny_base, home, monkeypatch):
    run = queue.create(config(tiny_base, home), pid=os.getpid())

    def stops(*_):
        yield {"type": "stopped", "step": 1, "seconds": 1.0}

    def resume(event):
        queue.resume(run)
        assert run.state() == "queued"  # it still has a process

    started = []
    monkeypatch.setattr(queue, "_process", lambda name, *_: started.append(name) or psutil.Process())
    worker.execute(run, on_event=resume, train=stops)
    assert started == ["mine"]
    assert run.state() == "running"


@pytest.mark.slow
def test_a_stopped_run_becomes_a_chatbot_while_another_trains(tiny_base, home, forked_runs):
    run = queue.start(config(tiny_base, home, epochs=10_000))
    wait_for(lambda: run.record().epochs)
    queue.stop(run)
    wait_for(lambda: run.state() == "stopped")
    other = queue.start(config(tiny_base, home, "other", epochs=10_000))
    queue.resume(run, finish=True)
    wait_for(lambda: run.state() == "finished")
    assert other.state() == "running"
    assert checkpoint.load(home / "checkpoints" / "mine").card.labels == ["0", "1", "2"]
    queue.stop(other)


@pytest.mark.slow
def test_a_killed_run_is_interrupted_and_goes_on(tiny_base, home, forked_runs):
    run = queue.start(config(tiny_base, home, epochs=12))
    wait_for(run.has_state)
    pid = run.record().process["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: run.state() == "interrupted", seconds=5)
    assert not (home / "checkpoints" / "mine").exists()
    with pytest.raises(CheckpointError, match="kept for the run “mine”"):
        queue.create(config(tiny_base, home))
    queue.resume(run)
    list(queue.follow(run))
    assert run.state() == "finished"
    assert list(run.record().steps) == list(range(1, run.record().started["steps"] + 1))


def test_what_cannot_be_done_is_refused(tiny_base, home):
    with pytest.raises(DataError, match="no file"):
        queue.start(config(tiny_base, home, data=str(home / "gone.csv")))
    (home / "checkpoints" / "taken").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="already"):
        queue.start(config(tiny_base, home, "taken"))
    assert registry.list_runs() == []
    run = queue.create(config(tiny_base, home))
    with pytest.raises(RunError, match="cannot be resumed"):
        queue.resume(run)
    with pytest.raises(RunError, match="Stop it first"):
        queue.delete(run)
    queue.stop(run)
    with pytest.raises(RunError, match="has saved nothing"):
        queue.resume(run, finish=True)
    queue.delete(run)
    assert registry.list_runs() == []
    # The name is free again.
    assert queue.create(config(tiny_base, home)) == run


def test_the_run_of_a_deleted_checkpoint_does_not_stand_in_the_way_of_its_name(tiny_base, home):
    first = queue.create(config(tiny_base, home, "same"))
    first.write("finished", checkpoint="x", epoch=1, seconds=1.0)
    second = queue.create(config(tiny_base, home, "same"))
    assert (second.name, second.checkpoint_name) == ("same-2", "same")


def test_a_run_whose_process_still_clears_up_is_deleted(tiny_base, home):
    run = queue.create(config(tiny_base, home))
    run.write("finished", checkpoint="x", epoch=1, seconds=1.0)
    run.state_folder.mkdir(parents=True, exist_ok=True)
    for i in range(3000):
        (run.state_folder / str(i)).touch()
    process = threading.Thread(target=shutil.rmtree, args=[run.state_folder], kwargs={"ignore_errors": True})
    process.start()
    queue.delete(run)
    process.join()
    assert not run.path.exists()
    assert registry.list_runs() == []


def same_weights(one, other):
    states = [checkpoint.load(folder).model.state_dict() for folder in (one, other)]
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.slow
def test_killed_at_twenty_random_moments_and_resumed_the_weights_are_the_same(tiny_base, home, processes):
    def process(run):
        return processes.start_run(run.name)

    def make(name):
        # Saved again and again, so that many a kill comes in the middle of saving.
        return queue.create(config(tiny_base, home, name, epochs=3, save_minutes=0.001, sample_questions=("안녕",)))

    whole = make("whole")
    process(whole).join()
    steps = len(whole.record().steps)
    chance, kills, known = random.Random(0), 0, set(checkpoint.list_checkpoints(for_chat=False))
    while kills < 20:
        run = make(f"killed-{kills}")
        one = process(run)
        # By what it has done, not by the clock: the machine may be busy. Some are killed while they start.
        for times, done in enumerate(sorted(chance.randrange(-2, steps) for _ in range(4)), start=1):
            wait_for(lambda run=run, times=times: kinds(run.events()).count("launched") == times)
            while one.is_alive() and len(run.record().steps) < done:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.05))
            one.kill()
            one.join()
            for name in checkpoint.list_checkpoints(for_chat=False).keys() - known:
                assert checkpoint.load(home / "checkpoints" / name).card.weights_sha256, name
            if run.state() == "finished":
                break
            kills += 1
            resume_here(run)
            one = process(run)
        one.join()
        assert run.state() == "finished"
        assert same_weights(home / "checkpoints" / run.name, home / "checkpoints" / "whole")
        known.add(run.name)


def resume_here(run):
    """Queue the run without starting the usual process."""
    assert run.is_resumable()
    run.write("queued", at=time.time(), pairs=60, finish=False)


def test_files_are_written_whole(tmp_path):
    write_atomically(tmp_path / "a.json", "{}")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "a.json", "whole words, then half a character \ud800")
    assert (tmp_path / "a.json").read_text() == "{}"
    write_atomically(tmp_path / "a.json", "{}")
    assert [path.name for path in Path(tmp_path).iterdir() if path.is_file()] == ["a.json"]


def test_a_name_for_no_label_is_refused_before_anything_runs(tiny_checkpoint, home):
    with pytest.raises(SettingsError, match="우산=비, but must be label=name with one of the labels 0, 1, 2"):
        queue.create(config(tiny_checkpoint, home, label_names=("우산=비",)))
    assert registry.list_runs() == []
    named = {"data": "jobs", "rows": None, "label_names": ("2=맑음", "우산장수=비")}
    with pytest.raises(SettingsError, match="label_names is 2=맑음"):
        queue.create(config(tiny_checkpoint, home, **named))
    run = queue.create(config(tiny_checkpoint, home, keep_labels=True, **named), pid=os.getpid())
    assert run.config.label_names == ("2=맑음", "우산장수=비")
