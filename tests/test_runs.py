"""Runs: a fine-tuning in its own process, its journal, one at a time, stopping, what is said when it dies."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from kochat import checkpoint, runs
from kochat.config import TrainingConfig
from kochat.errors import CheckpointError, RunError


def config(base, home, name="mine", **settings):
    settings = {"data": "emotions", "rows": 60, "epochs": 2, "precision": "float32", **settings}
    return TrainingConfig(base=str(base), output=str(home / "checkpoints" / name), **settings)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_a_run_in_its_own_process_writes_its_journal_and_its_checkpoint(tiny_base, home):
    run = runs.start(config(tiny_base, home))
    assert run.is_alive()
    assert runs.active() == run
    # A second start is refused, with the name of the first.
    with pytest.raises(RunError, match="“mine” is being trained right now"):
        runs.start(config(tiny_base, home, "other"))

    followed = list(runs.follow(run))
    assert [e["type"] for e in followed if e["type"] != "step"] == ["started", "epoch", "epoch", "finished"]
    assert followed == run.events()
    assert run.state() == "finished"
    assert run.progress() == "100%"
    assert runs.failure(run) is None
    assert list(checkpoint.list_checkpoints())[-1] == "mine"
    wait_for(lambda: not run.is_alive())
    assert runs.active() is None


def test_a_run_is_stopped_by_a_file_or_a_signal_and_keeps_what_it_learned(tiny_base, home):
    run = runs.start(config(tiny_base, home, epochs=10_000))
    wait_for(lambda: any(e["type"] == "step" for e in run.events()))
    run.stop()
    wait_for(lambda: run.state() == "stopped", seconds=5)
    assert checkpoint.load(home / "checkpoints" / "mine").card.metrics["stopped"]


def test_a_killed_run_is_called_interrupted_and_leaves_no_checkpoint(tiny_base, home):
    run = runs.start(config(tiny_base, home, epochs=10_000))
    wait_for(lambda: any(e["type"] == "step" for e in run.events()))
    pid = json.loads((run.path / "process.json").read_text())["pid"]
    assert psutil.Process(pid).nice() == 10
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: run.state() == "interrupted", seconds=5)
    assert runs.failure(run).key == "run_killed"
    assert runs.active() is None
    assert not (home / "checkpoints" / "mine").exists()


def test_a_run_that_fails_says_why(tiny_base, home):
    # The data vanish between start and training.
    made = config(tiny_base, home, data=str(home / "gone.csv"))
    run = runs.start(made)
    list(runs.follow(run))
    assert run.state() == "failed"
    error = runs.failure(run)
    assert error.key == "no_file"
    assert "gone.csv" in error.text("ko")


def test_an_unforeseen_failure_is_logged_with_its_traceback(tiny_base, home, monkeypatch, caplog):
    run = runs.create(config(tiny_base, home))
    monkeypatch.setattr("kochat.training.Trainer.step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runs.execute(run)
    assert runs.failure(run).key == "run_failed"
    assert "ZeroDivisionError" in caplog.text


def test_names(tiny_base, home):
    first = runs.create(config(tiny_base, home, "same"))
    (first.path / "events.jsonl").write_text('{"type": "finished", "stopped": false}\n')
    # The run of a checkpoint that was deleted since does not stand in the way of the name.
    second = runs.create(config(tiny_base, home, "same"))
    assert (first.name, second.name, second.checkpoint_name) == ("same", "same-2", "same")
    assert runs.find("same") == first
    for bad in ("nothing", "", ".."):
        with pytest.raises(RunError, match="no run named"):
            runs.find(bad)


def test_a_taken_output_is_refused_before_anything_is_written(tiny_base, home):
    (home / "checkpoints" / "mine").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="already"):
        runs.start(config(tiny_base, home))
    assert runs.list_runs() == []


def test_a_torn_last_line_of_the_journal_is_left_out(tiny_base, home):
    run = runs.create(config(tiny_base, home))
    assert run.events() == []
    (run.path / "events.jsonl").write_text('{"type": "started", "steps": 4}\n{"type": "st')
    assert run.events() == [{"type": "started", "steps": 4}]


def test_another_process_with_the_same_number_is_not_the_run(tiny_base, home):
    run = runs.create(config(tiny_base, home))
    assert run.is_alive()
    known = {"pid": os.getpid(), "created": psutil.Process().create_time() - 100}
    (run.path / "process.json").write_text(json.dumps(known))
    assert not run.is_alive()
    assert run.state() == "interrupted"


def test_of_two_starts_at_the_same_moment_one_is_refused(tiny_base, home):
    made = json.dumps(config(tiny_base, home).to_dict())
    code = (
        "import json, sys, time\nfrom kochat import runs\nfrom kochat.config import TrainingConfig\n"
        "from kochat.errors import RunError\n"
        f"config = TrainingConfig.from_dict(json.loads({made!r}))\n"
        "try:\n    runs.create(config); print('started', flush=True); sys.stdin.read()\n"
        "except RunError as error:\n    print(error.key, flush=True)\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = sorted(process.stdout.readline().strip() for process in both)
    for process in both:
        process.communicate()
    assert said == ["run_active", "started"]
