"""ZeroGPU: trainings in slices and replies on lent GPUs, against a stand-in of `spaces` that enforces its rules."""

import importlib
import sys
import time

import gradio as gr
import pytest
import torch
from lent_gpus import ZeroGpu
from safetensors.torch import load_file

from kochat.config import TrainingConfig
from kochat.inference.chatbot import load
from kochat.runs import queue, registry
from kochat.training.fine_tuning import fine_tune
from kochat.ui import zero_gpu

SETTINGS = {"data": "emotions", "rows": 24, "epochs": 1, "batch_size": 8, "precision": "float32", "save_minutes": 9.0}


@pytest.fixture
def spaces(monkeypatch):
    """The stand-in, on a Space with ZeroGPU, where torch says that there is a GPU."""
    module = ZeroGpu()
    monkeypatch.setitem(sys.modules, "spaces", module)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    importlib.reload(zero_gpu)
    zero_gpu.start()
    yield module
    queue.train_by(None)
    monkeypatch.undo()
    importlib.reload(zero_gpu)


@pytest.fixture
def short(spaces, monkeypatch):
    """Each slice is as short as it can be: a step, or the end of an epoch."""
    monkeypatch.setattr(zero_gpu, "SLICE", zero_gpu.RESERVE)


def config(base, home, name="mine", **settings):
    return TrainingConfig(base=str(base), output=str(home / "checkpoints" / name), **{**SETTINGS, **settings})


def at_rest(run):
    end = time.monotonic() + 120
    while run.state() in ("queued", "running") or queue._has_process(run):
        assert time.monotonic() < end, run.events()[-3:]
        time.sleep(0.02)
    return run


def test_a_training_in_slices_is_the_one_that_was_never_interrupted(spaces, short, tiny_base, home):
    run = at_rest(queue.start(config(tiny_base, home)))
    assert (run.state(), run.failure()) == ("finished", None)
    steps = run.record().steps
    assert set(spaces.asked) == {zero_gpu.RESERVE}
    assert len(spaces.asked) >= len(steps) == 3  # a slice comes one step further
    assert "stopped" not in {event["type"] for event in run.events()}
    whole = config(tiny_base, home, "whole")
    losses = [event.loss for event in fine_tune(whole) if type(event).__name__ == "Step"]
    assert [steps[number]["loss"] for number in sorted(steps)] == losses
    ours, theirs = (load_file(home / "checkpoints" / name / "model.safetensors") for name in ("mine", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_where_the_quota_is_used_up_a_run_says_so_and_goes_on_later(spaces, short, tiny_base, home, monkeypatch):
    spaces.quota = 2.5 * zero_gpu.RESERVE
    run = at_rest(queue.start(config(tiny_base, home)))
    assert (run.state(), run.failure().key, run.has_state()) == ("failed", "zero_gpu_quota", True)
    assert "3:12:05" in run.failure().text("en")
    assert "3:12:05" in run.failure().text("ko")
    before = run.record().last_step()["step"]
    assert before == 2
    spaces.quota = 1e9
    monkeypatch.setattr(zero_gpu, "SLICE", 60)
    queue.resume(run)
    assert at_rest(run).state() == "finished"
    assert run.record().last_step()["step"] > before


def test_one_may_stop_it_between_two_slices_and_in_one(spaces, short, tiny_base, home):
    run = queue.start(config(tiny_base, home, epochs=500))
    while not run.record().steps:
        time.sleep(0.01)
    queue.stop(run)
    assert at_rest(run).state() == "stopped"
    assert run.is_resumable()


def test_other_refusals_are_passed_on(spaces, tiny_base, home):
    spaces.refuse = gr.Error("No GPU was available after 60s.", title="ZeroGPU queue timeout")
    run = at_rest(queue.start(config(tiny_base, home)))
    assert run.failure().key == "zero_gpu_refused"
    assert "No GPU was available after 60s: " not in run.failure().text("ko")
    assert "No GPU was available after 60s" in run.failure().text("ko")


def test_a_slice_that_is_ended_is_tried_with_twice_the_time_and_then_given_up(spaces, tiny_base, home):
    spaces.hurry = 1e6
    run = at_rest(queue.start(config(tiny_base, home)))
    assert run.failure().key == "zero_gpu_too_short"
    assert spaces.asked == [60, 120]


def test_what_goes_wrong_in_a_slice_is_said_as_elsewhere(spaces, tiny_base, home):
    run = at_rest(queue.start(config(tiny_base, home, max_length=500)))
    assert run.failure().key == "length_over_model"


def test_runs_wait_for_one_another(spaces, tiny_base, home):
    first, second = (queue.start(config(tiny_base, home, name, rows=8)) for name in ("one", "two"))
    assert second.state() == "queued"
    assert at_rest(first).state() == at_rest(second).state() == "finished"
    assert registry.list_runs()[0].record().process["pid"] == first.record().process["pid"]


def test_replies_of_a_large_model_come_from_the_gpu_and_are_the_same(spaces, tiny_checkpoint, monkeypatch):
    plain = load(tiny_checkpoint)
    assert zero_gpu.lend_to(load(tiny_checkpoint), tiny_checkpoint).reply("안녕", "0") == plain.reply("안녕", "0")
    assert spaces.asked == []  # small ones are quicker on the CPU
    monkeypatch.setattr(zero_gpu, "PARAMETERS_FOR_GPU", 1)
    lent = zero_gpu.lend_to(load(tiny_checkpoint), tiny_checkpoint)
    for asked in ({}, {"strength": 2.0}, {"temperature": 1.0, "seed": 3}):
        assert lent.reply("안녕", **asked) == plain.reply("안녕", **asked)
    assert lent.replies([("안녕", "0"), ("안녕", "2")]) == plain.replies([("안녕", "0"), ("안녕", "2")])
    assert spaces.asked == [zero_gpu.REPLY] * 4
    assert [one.token for one in lent.explain("안녕", "0")] == [one.token for one in plain.explain("안녕", "0")]


def test_without_quota_the_cpu_answers_and_it_is_said_why(spaces, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(zero_gpu, "PARAMETERS_FOR_GPU", 1)
    warned = []
    monkeypatch.setattr(gr, "Warning", warned.append)
    spaces.quota = 0
    lent, plain = zero_gpu.lend_to(load(tiny_checkpoint), tiny_checkpoint), load(tiny_checkpoint)
    assert lent.reply("안녕", "0") == plain.reply("안녕", "0")
    assert lent.replies([("안녕", "0")]) == plain.replies([("안녕", "0")])
    assert len(warned) == 2
    assert "CPU" in warned[0]


def test_elsewhere_nothing_changes(tiny_checkpoint, monkeypatch):
    assert not zero_gpu.IS_ON
    zero_gpu.start()
    assert queue._launcher is None
    monkeypatch.setattr(zero_gpu, "PARAMETERS_FOR_GPU", 1)
    bot = load(tiny_checkpoint)
    engine = bot.engine
    assert zero_gpu.lend_to(bot, tiny_checkpoint).engine is engine


def test_with_the_package_but_on_other_hardware_nothing_changes(monkeypatch):
    module = ZeroGpu()
    monkeypatch.setitem(sys.modules, "spaces", module)
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    importlib.reload(zero_gpu)
    assert not zero_gpu.IS_ON
    assert module.functions == []
    monkeypatch.undo()
    importlib.reload(zero_gpu)


def test_a_space_with_zero_gpu_has_functions_to_lend_to_before_it_is_launched(spaces):
    assert len(spaces.functions) == 3
