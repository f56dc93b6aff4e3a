"""A process that waits for a run: it becomes the next one, and never outlives its use."""

import os
import subprocess
import sys

import psutil
import pytest
from test_launcher import config, kinds, wait_for

from kochat import launcher, spare
from kochat.spare import Spares


@pytest.fixture
def spares(monkeypatch):
    """Those of the launcher, with none waiting before and after."""
    fresh = Spares(launcher._spawn_spare)
    monkeypatch.setattr(launcher, "_spares", fresh)
    yield fresh
    monkeypatch.setattr(spare, "SECONDS_KEPT", -1.0)
    fresh.expire()


def waiting(spares):
    return spares._spare and spares._spare.process


def test_a_process_that_waits_is_the_next_run_and_the_one_after_gets_its_own(spares, tiny_base, home):
    launcher.warm_up()
    process = waiting(spares)
    launcher.warm_up()
    assert waiting(spares) is process  # one is enough
    run = launcher.start(config(tiny_base, home))
    assert run.record().process["pid"] == process.pid
    assert waiting(spares) is None
    one = ["epoch", "saved"]
    assert kinds(launcher.follow(run)) == ["queued", "launched", "started", *one, *one, "finished"]
    assert "epoch 2/2" in run.log()  # what it prints goes there, though it began before the run was there
    assert process.wait(30) == 0
    other = launcher.start(config(tiny_base, home, "other", epochs=1))
    assert other.record().process["pid"] != process.pid
    list(launcher.follow(other))
    assert other.state() == "finished"


def test_a_process_for_another_home_and_one_that_was_killed_are_not_used(
    spares, tiny_base, home, tmp_path, monkeypatch
):
    launcher.warm_up()
    waiting(spares).kill()
    waiting(spares).wait()
    environment = {**launcher._environment()}
    assert spares.take(environment, "mine", tmp_path / "log.txt") is None
    launcher.warm_up()
    process = waiting(spares)
    monkeypatch.setenv("KOCHAT_HOME", str(tmp_path / "other"))
    assert spares.take(launcher._environment(), "mine", tmp_path / "log.txt") is None
    launcher.warm_up()
    assert waiting(spares) is not process
    assert process.returncode is not None  # the one that fits no more was ended


def test_one_that_has_waited_long_is_ended_by_whoever_looks_after_the_queue(spares, home, monkeypatch):
    launcher.warm_up()
    process = waiting(spares)
    launcher.dispatch()
    assert process.poll() is None
    monkeypatch.setattr(spare, "SECONDS_KEPT", -1.0)
    launcher.dispatch()
    assert waiting(spares) is None
    assert process.returncode is not None


def test_it_ends_when_whoever_started_it_is_gone(home):
    code = "from kochat import launcher; launcher.warm_up(); print(launcher._spares._spare.process.pid)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=os.getcwd())
    wait_for(lambda: not psutil.pid_exists(int(told.stdout)) or psutil.Process(int(told.stdout)).status() == "zombie")
