"""Several processes: they have the curve of one; where one is stopped or killed all end, and resume exactly.

They are started with the environment that `torchrun` gives them.
"""

import contextlib
import dataclasses
import signal
import socket
import time

import pytest
import torch

from kochat.config import TrainingConfig
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.runs import registry
from kochat.training.events import Epoch, Started, Step
from kochat.training.fine_tuning import fine_tune


@pytest.fixture
def base(tmp_path, model, tokenizer, sample):
    """A base that knows what it was trained on."""
    card = Card(labels=["0", "1", "2"], defaults={"batch_size": 11, "learning_rate": 1e-2, "max_length": 64})
    earlier = list(sample[60:93].itertuples(index=False, name=None))
    return checkpoint.save(tmp_path / "base", model, tokenizer, card, pairs=earlier)


def config(base, output, **settings):
    settings = {"data": "emotions", "rows": 60, "validation_share": 0.2, "rehearsal": 1, "keep": "best", **settings}
    return TrainingConfig(base=str(base), output=str(output), precision="float32", question_dropout=0.1, **settings)


def words(made):
    """The command that trains so."""
    given = {f.name: getattr(made, f.name) for f in dataclasses.fields(made) if getattr(made, f.name) != f.default}
    return ["train", *(word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value)))]


@pytest.fixture
def together(processes, monkeypatch):
    """Starts a command as two processes, to be left when both have ended."""

    @contextlib.contextmanager
    def start(command):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": one.getsockname()[1]}
        with contextlib.ExitStack() as stack, monkeypatch.context() as patch:
            started = []
            for rank in range(2):
                for name, value in {**where, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2}.items():
                    patch.setenv(name, str(value))
                started.append(stack.enter_context(processes.Command(command)))
            yield started
            for process in started:
                process.stdout.read()  # until it ends

    return start


def wait_for_saved(run_name, times):
    end = time.monotonic() + 120
    while True:
        with contextlib.suppress(Exception):  # it is not there yet
            if [event["type"] for event in registry.find(run_name).events()].count("saved") >= times:
                return
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def weights(folder):
    return checkpoint.load(folder).model.state_dict()


def test_two_processes_have_the_losses_and_the_weights_of_one(base, tmp_path, together):
    # Without clipping, which would hide a gradient that is right but for its length.
    settings = {"epochs": 2, "dropout": 0.0, "max_grad_norm": 1e6}
    events = list(fine_tune(config(base, tmp_path / "one", **settings)))
    assert (events[0].pairs + events[0].rehearsed) % 11 == 1  # a batch with nothing for the second process
    with together(words(config(base, tmp_path / "two", **settings))):
        pass
    two = registry.find("two").events()
    for kind, names in ((Started, ["steps"]), (Step, ["step", "loss"]), (Epoch, ["loss", "validation_loss"])):
        ours = [[getattr(event, name) for name in names] for event in events if isinstance(event, kind)]
        theirs = [[event[name] for name in names] for event in two if event["type"] == kind.__name__.lower()]
        assert len(ours) == len(theirs) > 0
        for one, other in zip(ours, theirs, strict=True):
            assert other == pytest.approx(one, rel=1e-6)
    ours, theirs = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, weight in ours.items():
        torch.testing.assert_close(theirs[name], weight, rtol=1e-5, atol=1e-6)


def test_stopped_or_killed_whichever_process_it_goes_on_to_the_same_weights(base, tmp_path, together):
    settings = {"epochs": 4, "dropout": 0.2}
    with together(words(config(base, tmp_path / "whole", **settings))):
        pass
    with together(words(config(base, tmp_path / "parts", **settings))) as (_, second):
        wait_for_saved("parts", 1)
        second.send_signal(signal.SIGTERM)
    run = registry.find("parts")
    assert run.state() == "stopped"
    resume = ["runs", "resume", "parts"]
    with together(resume) as (first, second):
        wait_for_saved("parts", 3)  # one when stopped
        second.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        assert "Another process of this training has ended" in first.stdout.read()
    assert time.monotonic() - killed < 30
    assert run.state() == "interrupted"
    with together(resume):
        pass
    assert run.state() == "finished"
    starts = [event["at_step"] for event in run.events() if event["type"] == "started"]
    assert 0 == starts[0] < starts[1] < starts[2]
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(parts[name], weight) for name, weight in whole.items())
