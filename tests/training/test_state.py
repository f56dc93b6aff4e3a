"""Saved states: a training that goes on from one gives what it would have given without the pause."""

import errno
import itertools
import json

import pytest
import torch

from kochat.config import TrainingConfig
from kochat.data import pairs
from kochat.data.splits import SPLIT_VERSION, split_in_two
from kochat.errors import CheckpointError, RunError, SettingsError
from kochat.evaluation import heldout
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.training import state
from kochat.training.events import Epoch, Finished, Saved, Started, Step, Stopped
from kochat.training.fine_tuning import fine_tune, finish_early

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")


def config(base, tmp_path, name="trained", **settings):
    settings = {"data": "emotions", "rows": 60, "validation_share": 0.2, "epochs": 3, **settings}
    # With dropout the losses depend on the random numbers too.
    return TrainingConfig(base=str(base), output=str(tmp_path / name), dropout=0.2, **settings)


def after(most):
    """A should_stop that says so when it is asked once more than `most` times."""
    asked = itertools.count()
    return lambda: next(asked) >= most


def curve(events):
    steps = {e.step: e.loss for e in events if isinstance(e, Step)}
    epochs = {e.epoch: (e.loss, e.validation_loss, e.perplexity) for e in events if isinstance(e, Epoch)}
    return steps, epochs


def weights(folder):
    return checkpoint.load(folder).model.state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def base(tmp_path, model, tokenizer, sample):
    """A base that knows what it was trained on."""
    card = Card(labels=["0", "1", "2"], defaults={"batch_size": 8, "learning_rate": 1e-2, "max_length": 64})
    earlier = list(sample[60:].itertuples(index=False, name=None))
    return checkpoint.save(tmp_path / "base", model, tokenizer, card, pairs=earlier)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("muon", marks=needs_muon)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_stopped_at_any_step_and_resumed_it_is_bit_for_bit_the_same_training(base, tmp_path, optimizer, precision):
    settings = {"optimizer": optimizer, "precision": precision, "keep": "best", "question_dropout": 0.1, "rehearsal": 1}
    whole = list(fine_tune(config(base, tmp_path, "whole", **settings)))
    made = config(base, tmp_path, "resumed", **settings)
    together, at = [], []
    for most in (1, 3, 4, 8, 10**6):  # stops in the first epoch, at its end, later, and not any more
        for event in fine_tune(made, after(most), tmp_path / "state"):
            together.append(event)
            if isinstance(event, Started):
                at.append(event.at_step)
    assert at[0] == 0
    assert at == sorted(set(at))
    assert curve(together) == curve(whole)
    assert same(weights(tmp_path / "resumed"), weights(tmp_path / "whole"))
    resumed, uninterrupted = (checkpoint.read_card(tmp_path / name).metrics for name in ("resumed", "whole"))
    assert {**resumed, "seconds": 0} == {**uninterrupted, "seconds": 0}


@pytest.mark.slow
def test_the_state_is_saved_at_each_epoch_and_when_stopped_and_only_the_newest_stays(tiny_base, tmp_path):
    made, folder = config(tiny_base, tmp_path), tmp_path / "state"
    events = list(fine_tune(made, after(11), folder))
    kinds = [type(e) for e in events if not isinstance(e, Step)]
    assert kinds == [Started, Epoch, Saved, Saved, Stopped]
    assert len(list(folder.iterdir())) == 1
    # Between two epochs it is saved after so many minutes.
    often = config(tiny_base, tmp_path, "often", save_minutes=1e-9, epochs=1)
    kinds = [type(e) for e in fine_tune(often, state=tmp_path / "state-2")]
    assert kinds[:5] == [Started, Step, Saved, Step, Saved]


def test_a_stopped_training_becomes_a_checkpoint_of_what_it_learned(tiny_base, tmp_path):
    made = config(tiny_base, tmp_path)
    events = list(fine_tune(made, after(2), tmp_path / "state"))
    assert isinstance(events[-1], Stopped)
    finished = finish_early(made, tmp_path / "state")
    assert finished == Finished(str(tmp_path / "trained"), None, finished.seconds, own_right=0, own_asked=45)
    assert checkpoint.load(tmp_path / "trained").card.metrics["steps"] == 2
    assert not same(weights(tmp_path / "trained"), checkpoint.load(tiny_base, as_base=True).model.state_dict())


@pytest.mark.slow
def test_the_best_epoch_is_kept_also_when_a_later_one_is_worse(tiny_base, tmp_path):
    # So fast that it has all by heart soon, and only gets worse on what it has not seen.
    settings = {"epochs": 12, "learning_rate": 3e-2, "schedule": "constant"}
    made = config(tiny_base, tmp_path, "best", keep="best", **settings)
    events = list(fine_tune(made))
    losses = {e.epoch: e.validation_loss for e in events if isinstance(e, Epoch)}
    best = min(losses, key=losses.get)
    assert 1 < best < 12
    assert events[-1].epoch == best
    metrics = checkpoint.read_card(tmp_path / "best").metrics
    assert (metrics["epoch"], metrics["best_epoch"]) == (best, best)
    # The same training, ended with that epoch's weights: patience keeps the same ones.
    patient = list(fine_tune(config(tiny_base, tmp_path, "patient", keep="best", patience=2, **settings)))
    assert max(e.epoch for e in patient if isinstance(e, Epoch)) == best + 2
    assert same(weights(tmp_path / "patient"), weights(tmp_path / "best"))
    # Asked otherwise it keeps the last one; so it does where a handful of questions would choose.
    for keep in ("last", "auto"):
        last = list(fine_tune(config(tiny_base, tmp_path, keep, keep=keep, **settings)))
        assert last[-1].epoch == 12
        assert last[0].keep == "last"
    assert same(weights(tmp_path / "last"), weights(tmp_path / "auto"))
    assert not same(weights(tmp_path / "last"), weights(tmp_path / "best"))


def test_with_enough_questions_the_best_epoch_is_kept_unless_asked_otherwise(tiny_base, tmp_path):
    made = config(tiny_base, tmp_path, rows=None, validation_share=0.5)
    assert next(fine_tune(made)).keep == "best"


@pytest.mark.slow
def test_a_checkpoint_that_was_written_just_before_the_end_is_not_written_twice(tiny_base, tmp_path):
    made, folder = config(tiny_base, tmp_path), tmp_path / "state"
    list(fine_tune(made, state=folder))
    written = (tmp_path / "trained" / "kochat.json").stat().st_mtime_ns
    events = list(fine_tune(made, state=folder))  # killed before it could say that it was done
    assert [type(event) for event in events] == [Started, Finished]
    assert (tmp_path / "trained" / "kochat.json").stat().st_mtime_ns == written
    # Somebody else's checkpoint of that name is not taken for it.
    other = checkpoint.read_card(tmp_path / "trained")
    assert other.metrics["history"]
    checkpoint.record(tmp_path / "trained", {"history": []})
    with pytest.raises(CheckpointError, match="already"):
        list(fine_tune(made, state=folder))


def test_changed_data_are_refused(tiny_base, tmp_path, sample):
    table = tmp_path / "mine.csv"
    sample[:60].to_csv(table, index=False)
    made = config(tiny_base, tmp_path, data=str(table), rows=None)
    list(fine_tune(made, after(2), tmp_path / "state"))
    sample[:57].to_csv(table, index=False)
    with pytest.raises(RunError, match="have changed"):
        next(fine_tune(made, state=tmp_path / "state"))


@pytest.mark.slow
def test_a_full_disk_is_a_sentence_and_leaves_the_last_good_state(tiny_base, tmp_path, monkeypatch):
    made, folder = config(tiny_base, tmp_path), tmp_path / "state"
    whole = list(fine_tune(config(tiny_base, tmp_path, "whole")))
    running = fine_tune(made, state=folder)
    events = list(itertools.takewhile(lambda event: not isinstance(event, Saved), running))
    good = state.newest(folder)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("accelerate.accelerator.save_accelerator_state", full)
        with pytest.raises(CheckpointError, match="The disk is full"):
            events += running
    assert [path.name for path in folder.iterdir()] == [good.name]
    # With room again it goes on.
    events += fine_tune(made, state=folder)
    assert curve(events) == curve(whole)
    assert same(weights(tmp_path / "trained"), weights(tmp_path / "whole"))


@pytest.mark.slow
def test_a_training_of_before_the_test_part_goes_on_with_its_two_parts(base, tmp_path):
    made = config(base, tmp_path, rows=None, validation_share=0.05, epochs=1)
    began, *_ = fine_tune(made, after(2), tmp_path / "state")
    assert began.test_pairs > 0
    [saved] = (tmp_path / "state").iterdir()
    position = json.loads((saved / "position.json").read_text("utf-8"))
    assert position.pop("split") == SPLIT_VERSION
    (saved / "position.json").write_text(json.dumps(position), "utf-8")
    again, *_ = fine_tune(made, after(0), tmp_path / "state")
    training, validation = split_in_two(pairs.read_pairs("emotions"), 0.05, 0)
    assert (again.pairs, again.validation_pairs, again.test_pairs) == (len(training), len(validation), 0)
    finish_early(made, tmp_path / "state")
    card = checkpoint.read_card(tmp_path / "trained")
    assert card.split == (1, 0.05, 0.0, 0)
    assert heldout.split_again(card, "emotions").validation.equals(validation)


def test_a_torch_without_muon_says_so(base, tmp_path, monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(SettingsError, match=r"muon needs torch 2\.9 or newer"):
        list(fine_tune(config(base, tmp_path, "old", optimizer="muon")))
    list(fine_tune(config(base, tmp_path, "plain", epochs=1)))
