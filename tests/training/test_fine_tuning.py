"""Training: a tiny run from rows to a checkpoint, its events, what is refused before the first step."""

import itertools
import math

import pandas as pd
import pytest
import torch
from transformers import GPT2LMHeadModel

from kochat.config import SAMPLE_QUESTIONS, TrainingConfig
from kochat.data import pairs
from kochat.data.splits import split_by_question
from kochat.errors import CheckpointError, DataError, SettingsError
from kochat.evaluation import heldout
from kochat.inference.chatbot import load
from kochat.model import checkpoint
from kochat.model.gpt2 import loss
from kochat.model.prompt import Prompt
from kochat.training.events import Epoch, Finished, Started, Step, Stopped, to_dict
from kochat.training.fine_tuning import fine_tune
from kochat.training.probes import Probes
from kochat.training.trainer import choose_precision


def config(base, tmp_path, **settings):
    settings = {"data": "emotions", "rows": 60, "precision": "float32", "epochs": 2, **settings}
    return TrainingConfig(base=str(base), output=str(tmp_path / "trained"), **settings)


def after(most):
    """A should_stop that says so when it is asked once more than `most` times."""
    asked = itertools.count()
    return lambda: next(asked) >= most


def test_a_run_yields_its_events_in_order_and_leaves_a_checkpoint(tiny_base, tmp_path):
    events = list(fine_tune(config(tiny_base, tmp_path, validation_share=0.1)))
    # 60 rows are 20 questions, some of them for validation, in batches of 8.
    assert [type(event) for event in events] == [Started, *[Step] * 7, Epoch, *[Step] * 7, Epoch, Finished]
    started = events[0]
    assert (started.pairs, started.validation_pairs, started.steps, started.epochs) == (51, 9, 14, 2)
    assert started.labels == ["0", "1", "2"]
    assert [(e.step, e.steps) for e in events if isinstance(e, Step)] == [(i, 14) for i in range(1, 15)]
    epochs = [e for e in events if isinstance(e, Epoch)]
    assert [(e.epoch, e.epochs) for e in epochs] == [(1, 2), (2, 2)]
    assert epochs[1].loss < epochs[0].loss < math.log(600) + 0.5
    assert epochs[1].validation_loss < epochs[0].validation_loss
    assert {(s["question"], s["label"]) for s in epochs[0].samples} >= {("안녕", "0"), ("안녕", "2")}
    assert events[-1] == Finished(str(tmp_path / "trained"), 2, events[-1].seconds, own_right=0, own_asked=51)

    loaded = checkpoint.load(tmp_path / "trained")
    assert loaded.card.labels == ["0", "1", "2"]
    assert loaded.card.base == "tiny-base"
    assert loaded.card.data["source"] == "emotions"
    assert [h["epoch"] for h in loaded.card.metrics["history"]] == [1, 2]
    plain = GPT2LMHeadModel.from_pretrained(tmp_path / "trained")
    assert torch.equal(plain.transformer.wte.weight, loaded.model.transformer.wte.weight)


def test_the_data_are_split_in_three_and_the_card_says_how(tiny_base, tmp_path, sample):
    made = config(tiny_base, tmp_path, rows=None, epochs=1, sample_questions=())
    started = next(fine_tune(made))
    parts = pairs.split_by_question(sample, 0.05, 0.05, 0)  # it has more than 400 pairs
    assert (started.pairs, started.validation_pairs, started.test_pairs) == tuple(
        len(part) for part in (parts.training, parts.validation, parts.test)
    )
    assert min(started.validation_pairs, started.test_pairs) > 0
    assert started.near_duplicates == parts.num_near_duplicates
    withheld = {name: list(getattr(parts, name)["Q"].unique()) for name in ("validation", "test")}
    assert started.withheld == withheld
    assert started.test_known_to_base == 0  # this base keeps no pairs

    first = config(tiny_base, tmp_path / "first", rows=90, epochs=1, validation_share=0.1, test_share=0.2)
    list(fine_tune(first))
    card = checkpoint.read_card(tmp_path / "first" / "trained")
    parts = heldout.split_again(card, "emotions")
    assert card.split == (2, 0.1, 0.2, 0)
    assert card.data["parts"] == {
        "training": len(parts.training),
        "validation": len(parts.validation),
        "test": len(parts.test),
    }
    assert card.data["withheld"]["test"] == list(parts.test["Q"].unique())
    assert "--validation-share 0.1 --test-share 0.2" in card.recipe[-1]
    kept = {question for question, _, _ in checkpoint.load(tmp_path / "first" / "trained").pairs}
    assert kept == set(parts.training["Q"])

    # With another seed, most questions of the test part are what its base learned: that is said.
    again = config(first.output, tmp_path / "again", rows=90, validation_share=0.1, test_share=0.2, seed=1)
    started = next(fine_tune(again))
    known = set(started.withheld["test"]) & kept
    assert started.test_known_to_base == len(known) > 0
    # Of a small file nothing is withheld.
    few = next(fine_tune(config(tiny_base, tmp_path / "few", rows=60)))
    assert (few.pairs, few.validation_pairs, few.test_pairs, few.withheld) == (60, 0, 0, {"validation": [], "test": []})


@pytest.mark.slow
def test_the_same_settings_give_the_same_weights_and_losses(tiny_base, tmp_path):
    def run(name, seed):
        made = config(tiny_base, tmp_path / name, dropout=0.2, seed=seed)
        losses = [e.loss for e in fine_tune(made) if isinstance(e, Step)]
        return losses, checkpoint.load(made.output).model.state_dict()

    (losses, weights), (losses_again, weights_again) = run("one", 1), run("two", 1)
    assert losses == losses_again
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)
    assert run("three", 2)[0] != losses


def test_the_base_brings_its_own_defaults_and_a_base_without_card_the_notebooks(tiny_base, tmp_path):
    events = list(fine_tune(config(tiny_base, tmp_path / "a", epochs=None, validation_share=0)))
    assert events[0].epochs == 2
    card = checkpoint.read_card(tmp_path / "a" / "trained")
    assert (card.config["learning_rate"], card.config["batch_size"], card.max_length) == (1e-2, 8, 64)
    assert events[-2].validation_loss is None

    (tiny_base / "kochat.json").unlink()
    started = next(fine_tune(config(tiny_base, tmp_path / "b", epochs=None)))
    assert started.epochs == 10
    assert started.steps == 10 * math.ceil(57 / 32)


def test_stopping_ends_before_the_next_step_and_writes_no_checkpoint(tiny_base, tmp_path):
    events = []
    for event in fine_tune(config(tiny_base, tmp_path), should_stop=lambda: len(events) >= 4):
        events.append(event)
    assert [type(event) for event in events] == [Started, Step, Step, Step, Stopped]
    assert events[-1].step == 3
    assert not (tmp_path / "trained").exists()


@pytest.mark.parametrize("stop_at", ["started", "epoch"])
def test_whoever_stops_listening_leaves_no_half_checkpoint(tiny_base, tmp_path, stop_at):
    run = fine_tune(config(tiny_base, tmp_path))
    while to_dict(next(run))["type"] != stop_at:
        pass
    run.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "tiny-base"]


def test_what_cannot_work_is_refused_before_the_first_step(tiny_base, tmp_path):
    with pytest.raises(DataError, match="No pair is left"):
        next(fine_tune(config(tiny_base, tmp_path, rows=1, validation_share=0.9)))
    with pytest.raises(SettingsError, match="97 tokens is more than this model can take"):
        next(fine_tune(config(tiny_base, tmp_path, max_length=97)))
    with pytest.raises(CheckpointError, match="no checkpoint "):
        next(fine_tune(config(tmp_path / "nowhere", tmp_path)))
    (tmp_path / "trained").mkdir()
    with pytest.raises(CheckpointError, match="already something named “trained”"):
        next(fine_tune(config(tiny_base, tmp_path)))


@pytest.mark.slow
def test_bfloat16_learns_as_float32_does(tiny_base, tmp_path):
    def last_loss(precision):
        made = config(tiny_base, tmp_path / precision, precision=precision, epochs=4)
        return [e.loss for e in fine_tune(made) if isinstance(e, Epoch)][-1]

    assert last_loss("bfloat16") == pytest.approx(last_loss("float32"), rel=0.02)
    assert choose_precision("auto") in ("float32", "bfloat16")


def test_a_step_in_less_memory_is_the_same_step(tiny_base, tmp_path):
    def train(name, **settings):
        # Without clipping, which would hide a gradient that is right but for its length.
        made = config(tiny_base, tmp_path / name, rows=21, epochs=1, dropout=0.0, max_grad_norm=1e6, **settings)
        losses = [event.loss for event in fine_tune(made) if isinstance(event, Step)]
        return losses, checkpoint.load(made.output).model.state_dict()

    losses, weights = train("whole", batch_size=8)
    assert len(losses) == 3
    again, same = train("checkpointed", batch_size=8, gradient_checkpointing=True)
    assert again == losses
    assert all(torch.equal(same[name], weight) for name, weight in weights.items())
    accumulated, alike = train("accumulated", batch_size=2, gradient_accumulation_steps=4)
    assert accumulated == pytest.approx(losses, rel=1e-5)
    for name, weight in weights.items():
        torch.testing.assert_close(alike[name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_float16_without_a_gpu_is_refused(tiny_base, tmp_path):
    with pytest.raises(SettingsError, match="precision is float16, but must be one of auto, float32, bfloat16 without"):
        next(fine_tune(config(tiny_base, tmp_path, precision="float16")))


def test_what_it_does_before_the_first_step_is_told(tiny_base, tmp_path):
    told = []
    run = fine_tune(config(tiny_base, tmp_path), tell=told.append)
    assert isinstance(next(run), Started)
    assert [event.what for event in told] == ["reading_data", "loading_model", "asking_base"]


def test_the_base_is_asked_before_the_first_step_and_its_replies_are_told_once(tiny_base, tmp_path):
    made, folder = config(tiny_base, tmp_path), tmp_path / "state"
    stopped = list(fine_tune(made, after(3), folder))
    told = []
    resumed = list(fine_tune(made, state=folder, tell=told.append))
    assert [event.what for event in told] == ["reading_data", "loading_model"]
    assert (stopped[0].at_step, resumed[0].at_step) == (0, 3)
    assert resumed[0].samples == stopped[0].samples
    assert (resumed[0].own_right, resumed[0].own_asked) == (0, 60)
    own = [(s["question"], s["label"]) for s in stopped[0].samples if s["answer"] is not None]
    assert own[:4] == [(row.Q, row.label) for row in rows_of(made, (0, 15, 30, 45))]
    assert {s["question"] for s in stopped[0].samples} > set(SAMPLE_QUESTIONS)


def rows_of(made, numbers):
    table = pairs.read_pairs(made.data, rows=made.rows)
    return [table.iloc[number] for number in numbers]


@pytest.mark.slow
def test_a_training_that_worked_says_its_own_answers_and_what_the_base_still_knows(tiny_base, tmp_path, sample):
    first = config(tiny_base, tmp_path / "first", epochs=1, validation_share=0.2, sample_questions=["안녕"])
    list(fine_tune(first))
    base = checkpoint.load(first.output)
    validation = split_by_question(pairs.read_pairs("emotions", rows=60), 0.2, 0, 0).validation
    assert base.validation == list(validation.itertuples(index=False, name=None))
    assert len(base.validation) == 15

    table = tmp_path / "two.csv"
    again = base.validation[0][0]  # from now on trained on, so it tells nothing of what was known before
    table.write_text(f"Q,A,label\n안녕,좋아요,0\n안녕,싫어요,1\n{again},네,0\n", "utf-8")
    settings = {"rows": None, "validation_share": 0, "learning_rate": 3e-2, "label_dropout": 0, "rehearsal": 0}
    made = config(first.output, tmp_path / "second", data=str(table), epochs=200, keep_labels=True, **settings)
    events = list(fine_tune(made))
    started, finished = events[0], events[-1]
    epochs = [e for e in events if isinstance(e, Epoch)]
    assert (started.own_right, started.own_asked) == (0, 3)
    assert (finished.own_right, finished.own_asked) == (3, 3)
    assert [s["reply"] == s["answer"] for s in epochs[-1].samples if s["answer"]] == [True] * 3
    # Asked 20 times, and 5 times of what the base could answer.
    assert [e.epoch for e in epochs if e.own_asked] == list(range(10, 201, 10))
    assert [e.epoch for e in epochs if e.samples] == list(range(10, 201, 10))
    assert [e.epoch for e in epochs if e.base_nll] == list(range(40, 201, 40))

    unseen = [pair for pair in base.validation if pair[0] != again]
    bot, before = load(made.output), load(first.output)
    characters = sum(len(answer) + 1 for _, answer, _ in unseen)
    assert started.base_nll == pytest.approx(-sum(before.scores(unseen)) / characters, rel=1e-5)
    assert finished.base_nll == pytest.approx(-sum(bot.scores(unseen)) / characters, rel=1e-5)
    assert finished.base_nll > started.base_nll
    card = checkpoint.load(made.output).card
    figures = {"before": started.base_nll, "after": finished.base_nll, "pairs": len(unseen)}
    assert card.metrics["base_nll"] == figures
    assert card.metrics["own_answers"] == {"right": 3, "asked": 3}
    assert card.metrics["history"][-1]["own_right"] == 3
    assert checkpoint.load(made.output).validation == unseen

    # Where a question has several answers under its label, each is right.
    rows = [("안녕", "아니요", "0"), ("안녕", "좋아요", "0"), ("안녕", "좋아요", "1")]
    probes = Probes(checkpoint.load(made.output).model, Prompt(bot.tokenizer, 64), made, card, rows, [])
    assert probes.in_the_end().figures() == {"own_right": 1, "own_asked": 2, "base_nll": None}
    # Punctuation that the checkpoint never says is not asked of it.
    stripping = Prompt(bot.tokenizer, 64, strip_punctuation=True)
    probes = Probes(checkpoint.load(made.output).model, stripping, made, card, [("안녕!", "좋아요!", "0")], [])
    assert probes.in_the_end().own_right == 1

    # Under labels that are gone nothing of the base is asked, or kept.
    other = config(first.output, tmp_path / "other", data="jobs", epochs=1, keep_labels=False, validation_share=0.2)
    events = list(fine_tune(other))
    assert (events[0].base_nll, events[-1].base_nll) == (None, None)
    assert "base_nll" not in checkpoint.load(other.output).card.metrics
    assert {label for _, _, label in checkpoint.load(other.output).validation} == {"건설현장", "우산장수"}


@pytest.mark.slow
def test_the_label_in_the_prompt_is_learned(tiny_base, tmp_path):
    # The same question under two labels: only the label tells the answers apart.
    table = tmp_path / "two.csv"
    table.write_text("Q,A,label\n안녕,좋아요,0\n안녕,싫어요,1\n", "utf-8")
    made = TrainingConfig(
        data=str(table),
        base=str(tiny_base),
        output=str(tmp_path / "two"),
        epochs=200,
        validation_share=0,
        learning_rate=3e-2,
        label_dropout=0,
        precision="float32",
        sample_questions=(),
    )
    losses = [e.loss for e in fine_tune(made) if isinstance(e, Epoch)]
    assert losses[-1] < 0.2
    bot = load(tmp_path / "two")
    assert (bot.reply("안녕", "0"), bot.reply("안녕", "1")) == ("좋아요", "싫어요")


@pytest.mark.slow
def test_a_second_training_rehearses_what_the_base_was_trained_on_and_keeps_its_pairs(tiny_base, tmp_path, sample):
    first = config(tiny_base, tmp_path / "first", validation_share=0, label_names=["0=일상"])
    started, *_ = fine_tune(first)
    assert started.rehearsed == 0  # this base has no pairs
    learned = list(sample[:60].itertuples(index=False, name=None))
    assert checkpoint.load(first.output).pairs == learned

    taught = [
        (learned[0][0], "새로 배운 답", learned[0][2]),
        (learned[0][0], "우산 사세요", "우산장수"),
        ("새 질문", "새 답", "1"),
    ]
    table = tmp_path / "taught.csv"
    pd.DataFrame(taught, columns=["Q", "A", "label"]).to_csv(table, index=False)
    settings = {"data": str(table), "rows": None, "validation_share": 0, "epochs": 1, "rehearsal": 5}
    again = config(first.output, tmp_path / "again", keep_labels=True, **settings)
    events = list(fine_tune(again))
    assert (events[0].pairs, events[0].rehearsed, events[0].steps) == (3, 15, 3)
    assert events[0].labels == ["0", "1", "2", "우산장수"]
    assert events[0].label_names == {"0": "일상"}
    made = checkpoint.load(again.output)
    assert (made.card.labels, made.card.label_names) == (events[0].labels, {"0": "일상"})
    assert made.pairs == taught + learned[1:]  # a question answered anew under its label is not kept twice

    # What was under labels that are gone is neither rehearsed nor kept.
    other = config(first.output, tmp_path / "other", keep_labels=False, **settings)
    events = list(fine_tune(other))
    assert events[0].labels == ["0", "1", "우산장수"]
    assert checkpoint.load(other.output).pairs == taught + [pair for pair in learned[1:] if pair[2] != "2"]


def test_a_base_that_lost_its_pairs_is_trained_without_them_and_damaged_ones_are_refused(tiny_base, tmp_path):
    made = config(tiny_base, tmp_path, validation_share=0, rehearsal=3, epochs=1)
    (tiny_base / checkpoint.PAIRS_FILE).write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="tiny-base is damaged"):
        next(fine_tune(made))
    (tiny_base / checkpoint.PAIRS_FILE).unlink()
    assert next(fine_tune(made)).rehearsed == 0


def test_a_name_for_a_label_that_is_not_there_is_refused_before_the_first_step(tiny_base, tmp_path):
    with pytest.raises(
        SettingsError, match="label_names is 9=구, but must be label=name with one of the labels 0, 1, 2"
    ):
        next(fine_tune(config(tiny_base, tmp_path, label_names=["9=구"])))


@pytest.mark.slow
def test_labels_of_other_data_replace_the_bases_or_join_them(tiny_base, tmp_path):
    first = config(tiny_base, tmp_path / "first", epochs=1)
    list(fine_tune(first))
    for keep, labels in ((False, ["건설현장", "우산장수"]), (True, ["0", "1", "2", "건설현장", "우산장수"])):
        made = config(first.output, tmp_path / f"{keep}", data="jobs", rows=20, epochs=1, keep_labels=keep)
        list(fine_tune(made))
        bot = load(made.output)
        assert bot.labels == labels
        assert list(bot.predict_label("안녕")) == labels
        for label in labels:
            assert isinstance(bot.reply("안녕", label), str)


def test_the_reported_loss_is_the_models_own(tiny_base, tmp_path):
    # A learning rate next to nothing leaves the weights as they are, so the loss can be computed afterwards.
    made = config(tiny_base, tmp_path, epochs=1, learning_rate=1e-12, label_dropout=0, validation_share=0.1)
    epoch = next(e for e in fine_tune(made) if isinstance(e, Epoch))
    from kochat.model.batches import pad

    base = checkpoint.load(tiny_base, as_base=True)
    prompt = Prompt(base.tokenizer, 64)
    parts = pairs.split_by_question(pairs.read_pairs("emotions", rows=60), 0.1, 0, 0)
    for part, reported in ((parts.training, epoch.loss), (parts.validation, epoch.validation_loss)):
        rows = part.itertuples(index=False, name=None)
        result = loss(base.model.eval(), pad([prompt.encode_example(*row) for row in rows], 0))
        assert (result.answer / result.tokens).item() == pytest.approx(reported, rel=1e-5)


@pytest.mark.slow
def test_calibration_changes_how_sure_the_model_is_and_not_what_it_says(tiny_base, tmp_path):
    # Trained on and on, the model is far too sure of itself on questions that it has not seen.
    def run(name, **settings):
        made = config(tiny_base, tmp_path / name, epochs=12, learning_rate=3e-2, validation_share=0.2, **settings)
        return [e for e in fine_tune(made) if isinstance(e, Epoch)][-1], checkpoint.load(made.output)

    epoch, plain = run("plain")
    _, calibrated = run("calibrated", calibrate=True)
    fitted = calibrated.card.metrics["calibration"]
    assert fitted["factor"] < 1
    assert fitted["validation_loss"] < epoch.validation_loss
    ids = torch.arange(20)[None]
    logits, scaled = plain.model(ids).logits, calibrated.model(ids).logits
    assert torch.allclose(logits * fitted["factor"], scaled, atol=1e-4)


def test_a_rate_that_is_far_too_high_is_one_sentence_and_no_checkpoint(tiny_base, tmp_path, monkeypatch):
    base = checkpoint.load(tiny_base, as_base=True)
    base.model.transformer.wte.weight.data[:] = 1e30  # so that the first logits are no numbers
    monkeypatch.setattr(checkpoint, "load", lambda *_, **__: base)
    with pytest.raises(SettingsError, match="the loss is not a number any more"):
        list(fine_tune(config(tiny_base, tmp_path)))
    assert not (tmp_path / "trained").exists()
