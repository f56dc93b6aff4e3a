"""Runs on disk, as viewers see them: states out of journals, what is left, what differs."""

import os
import time

import psutil
import pytest
from conftest import MINI

from kochat.config import TrainingConfig
from kochat.errors import RunError
from kochat.runs import queue, registry


def make(home, name, base=str(MINI), **settings):
    settings = {"data": "emotions", "rows": 60, **settings}
    return queue.create(TrainingConfig(base=base, output=str(home / "checkpoints" / name), **settings))


def step(run, number, seconds, steps=20):
    run.write("step", step=number, steps=steps, loss=2.0, seconds=seconds)


def epoch(run, number, loss, validation_loss):
    facts = {"perplexity": 9.5, "tokens_per_second": 800.0, "seconds": 4.0 * number, "samples": []}
    run.write("epoch", epoch=number, epochs=2, loss=loss, validation_loss=validation_loss, **facts)


def test_the_state_follows_from_the_journal_and_the_process(home):
    run = make(home, "mine")
    assert run.state() == "queued"
    queue.mark_launched(run, os.getpid())
    assert run.state() == "running"
    assert registry.running() == [run]
    run.write("stopped", step=1, seconds=1.0)
    assert run.state() == "stopped"
    assert run.is_resumable()
    run.write("queued", at=time.time(), pairs=60, finish=False)
    assert registry.queued() == [run]
    # Another process has the number by now.
    run.write("launched", pid=os.getpid(), created=psutil.Process().create_time() - 100, at=time.time())
    assert run.state() == "interrupted"
    assert run.failure().key == "run_killed"
    run.write("failed", key="no_file", values={"path": "gone.csv"})
    assert run.state() == "failed"
    assert "gone.csv" in run.failure().text("ko")
    run.write("finished", checkpoint="x", epoch=1, seconds=1.0)
    assert (run.state(), run.failure(), run.is_resumable()) == ("finished", None, False)


def test_progress_and_the_time_left_by_the_newest_steps(home):
    run = make(home, "mine")
    assert (run.progress(), run.seconds_left()) == ("0%", None)
    step(run, 1, 10.0)
    assert (run.progress(), run.seconds_left()) == ("5%", None)
    step(run, 2, 12.0)
    step(run, 3, 14.0)
    assert (run.progress(), run.seconds_left()) == ("15%", 34.0)


def test_a_first_epoch_without_its_questions_is_no_measure_of_what_comes(home):
    run = make(home, "mine")
    facts = {"pairs": 40, "rehearsed": 60, "parameters": 1e6, "epochs": 10, "steps": 20, "at_step": 0}
    run.write("started", **facts)
    assert run.seconds_a_visit() is registry.seconds_a_visit() is None
    step(run, 1, 10.0)
    step(run, 2, 12.0)
    # 10 epochs of 40 + 80 visits, and 12 times 70 replies that take as long as 1.5 each.
    assert run.seconds_left() == pytest.approx(2.0 * 18 * (1200 + 1260) / 1200)
    epoch(run, 1, 3.0, None)
    step(run, 3, 16.0)
    assert run.seconds_left() == pytest.approx(3.0 * 17)
    epoch(run, 2, 2.0, None)
    epoch(run, 3, 2.0, None)  # 4 s after the second, as after the first
    assert run.seconds_a_visit() == pytest.approx(4.0 * 10 / (2460 * 1e6))
    assert registry.seconds_a_visit() == run.seconds_a_visit()


def test_the_curve_as_csv(home):
    run = make(home, "mine")
    epoch(run, 1, 3.5, None)
    epoch(run, 2, 2.5, 3.25)
    assert run.curve_csv() == (
        "epoch,loss,validation_loss,perplexity,tokens_per_second,seconds,own_right,own_asked,base_nll\n"
        "1,3.5,,9.5,800.0,4.0,,,\n2,2.5,3.25,9.5,800.0,8.0,,,\n"
    )


def test_runs_are_found_by_name_and_the_newest_comes_first(home):
    first, second = make(home, "one"), make(home, "two")
    assert registry.list_runs() == [second, first]
    assert registry.find("one") == first
    for bad in ("nothing", "", "..", "../runs/one"):
        with pytest.raises(RunError, match="no run named"):
            registry.find(bad)


@pytest.mark.parametrize("config", ["[]", "5", "null", '{"epochs": []}', '{"rows": {}}', "{", '{"unknown": 1}'])
def test_a_run_with_a_damaged_config_is_left_out_and_hides_no_other(home, config):
    queue.create(TrainingConfig(data="emotions", output=str(home / "checkpoints" / "one")))
    damaged = queue.create(TrainingConfig(data="emotions", output=str(home / "checkpoints" / "two")))
    (damaged.path / "config.json").write_text(config)
    assert [run.name for run in registry.list_runs()] == ["one"]


def test_the_run_to_look_at_is_the_one_that_is_on(home):
    assert registry.shown() is None
    first, second = make(home, "one"), make(home, "two")
    assert registry.shown() in (first, second)
    queue.mark_launched(first, os.getpid())
    assert registry.shown() == first


def test_only_the_settings_that_differ_are_compared(home):
    first = make(home, "one", epochs=2, learning_rate=1e-3)
    second = make(home, "two", epochs=2, learning_rate=3e-3)
    assert registry.differing_settings([first, second]) == {"learning_rate": [1e-3, 3e-3]}
    assert registry.differing_settings([first]) == registry.differing_settings([]) == {}


def test_a_name_is_kept_while_its_run_can_still_fill_it(home):
    run = make(home, "mine")
    assert list(registry.reserved()) == ["mine"]
    run.write("cancelled")
    assert registry.reserved() == {}
    (run.state_folder / "000001-000000003").mkdir(parents=True)
    assert list(registry.reserved()) == ["mine"]
    run.write("finished", checkpoint="x", epoch=1, seconds=1.0)
    assert registry.reserved() == {}
