"""Familiarity: the numbers by hand, and a model that tells what it learned from what it never saw."""

import math

import pandas as pd
import pytest

from kochat.config import TrainingConfig
from kochat.data import pairs
from kochat.evaluation.metrics import held_out
from kochat.inference import chatbot, familiarity
from kochat.inference.decoder import Decoder
from kochat.model import checkpoint
from kochat.model.prompt import Prompt
from kochat.model.weights import weights_of
from kochat.training.fine_tuning import fine_tune


class Fixed:
    """A decoder to which every token costs as many nats as the question has tokens."""

    def token_log_likelihoods(self, counted):
        return [[-float(n)] * n for _, n in counted]


def test_surprise_is_nats_a_byte_with_six_bytes_for_free():
    assert familiarity.surprise([-3.0, -5.0, -1.0], 12) == 9 / 18
    assert familiarity.surprise([], 0) == 0


def test_quantiles_are_those_of_distinct_questions(tokenizer):
    prompt = Prompt(tokenizer, 96)
    questions = [f"{'z' * n}" for n in range(1, 42)]
    expected = sorted(len(prompt.text_ids(q)) ** 2 / (len(q) + 6) for q in questions)
    assert familiarity.surprises(prompt, Fixed(), questions) == pytest.approx(expected)
    known = familiarity.calibrate(prompt, Fixed(), questions * 3)
    assert known["questions"] == 41
    assert known["quantiles"]["0.5"] == pytest.approx(expected[20], abs=1e-4)
    # Of 40 steps between the questions the 38th is at 95 of 100.
    assert known["threshold"] == known["quantiles"]["0.95"] == pytest.approx(expected[38], abs=1e-4)
    assert known["quantiles"]["0.975"] == pytest.approx(expected[39], abs=1e-4)
    assert familiarity.calibrate(prompt, Fixed(), questions[:19] * 3) == {}
    assert familiarity.calibrate(prompt, Fixed(), questions[:20])["questions"] == 20


def test_macos_letters_are_as_many_bytes_as_syllables(model, tokenizer):
    prompt, decoder = Prompt(tokenizer, 96), Decoder(weights_of(model))
    whole, apart = familiarity.surprises(prompt, decoder, ["안녕", "안녕"])
    assert whole == pytest.approx(apart)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tokenizer, sample):
    """A small bot trained on the questions too, 20 or more of them kept for validation."""
    from kochat.model.gpt2 import make_model

    folder = tmp_path_factory.mktemp("familiar")
    model = make_model(tokenizer, layers=2, width=64, heads=2, positions=96, seed=0)
    base = checkpoint.save(folder / "base", model, tokenizer, checkpoint.Card(max_length=64))
    config = TrainingConfig(
        data="emotions",
        base=str(base),
        output=str(folder / "bot"),
        epochs=6,
        batch_size=16,
        learning_rate=5e-3,
        max_length=64,
        validation_share=0.15,
        question_loss=1.0,
        sample_questions=(),
        precision="float32",
        keep="last",
    )
    for _ in fine_tune(config):
        pass
    return folder / "bot"


@pytest.mark.slow
def test_training_calibrates_on_its_validation_questions(trained):
    bot = chatbot.load(trained)
    kept_out = list(dict.fromkeys(held_out(bot.card, "emotions")["Q"]))
    assert bot.card.familiarity["questions"] == len(kept_out) >= 20
    assert bot.calibrate(kept_out)["threshold"] == pytest.approx(bot.card.familiarity["threshold"], rel=1e-3)
    # One that is like a question that it was trained on is none of them, however surprising.
    read = [bot.read(question) for question in kept_out]
    assert all(one.unfamiliar == (one.surprise > bot.card.familiarity["threshold"]) for one in read if not one.meant)
    assert not any(one.unfamiliar for one in read if one.meant)
    asked = familiarity.surprises(bot.prompt, bot._exact, kept_out)
    strange = [surprise > bot.card.familiarity["threshold"] for surprise in asked]
    assert sum(strange) == math.ceil(0.05 * (len(kept_out) - 1))
    for question in ("qlwkejqwlke zxcv", "SELECT * FROM users;", "Привет как дела", "8237498237"):
        assert bot.read(question).unfamiliar
    learned = set(pd.DataFrame(checkpoint.load(trained).pairs)[0])
    assert sum(bot.read(question).unfamiliar for question in learned) / len(learned) < 0.2


@pytest.mark.slow
def test_a_training_that_goes_over_the_pairs_of_its_base_again_inherits_the_threshold(trained, tmp_path):
    known = checkpoint.read_card(trained).familiarity
    pd.DataFrame([("우리 언제 모여?", "수요일에 모여요.", "0")] * 2, columns=["Q", "A", "label"]).to_csv(
        tmp_path / "t.csv"
    )

    def taught(name, base=trained, **settings):
        settings = {"epochs": 1, "precision": "float32", "rehearsal": 15, "validation_share": 0.0} | settings
        config = TrainingConfig(
            data=str(tmp_path / "t.csv"), base=str(base), output=str(tmp_path / name), keep_labels=True, **settings
        )
        for _ in fine_tune(config):
            pass
        return checkpoint.read_card(tmp_path / name).familiarity

    assert taught("once") == known | {"of": "bot"}
    assert taught("again", tmp_path / "once") == known | {"of": "bot"}  # not of the one in between
    assert chatbot.load(tmp_path / "again").read("qlwkejqwlke zxcv").unfamiliar
    assert taught("alone", rehearsal=0) == {}
    assert taught("even", rehearsal=1) == {}
    assert taught("otherwise", strip_punctuation=True) == {}  # questions are read in another way


@pytest.mark.slow
def test_training_with_few_validation_questions_calibrates_nothing(tiny_base, tmp_path):
    for share, rows in ((0, 60), (0.1, 60)):
        output = tmp_path / f"few-{share}"
        settings = {"data": "emotions", "rows": rows, "epochs": 1, "precision": "float32"}
        for _ in fine_tune(TrainingConfig(base=str(tiny_base), output=str(output), validation_share=share, **settings)):
            pass
        bot = chatbot.load(output)
        assert bot.card.familiarity == {}
        # It tells all the same: by what its own questions are like.
        assert bot.read("qlwkej").unfamiliar is True
        assert bot.read(pairs.read_pairs("emotions", rows=60)["Q"].iloc[0]).unfamiliar is False
