"""LoRA: what is learned, what stays as it was, and the plain checkpoint that comes of it."""

import itertools
import sys

import pandas as pd
import pytest
import torch
from foreign_bases import write_base

from kochat.config import TrainingConfig
from kochat.errors import SettingsError
from kochat.evaluation import heldout
from kochat.inference.chatbot import load
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.gpt2 import make_model
from kochat.training.events import Finished, Step, Stopped
from kochat.training.fine_tuning import fine_tune
from kochat.training.state import newest

PAIRS = [("안녕", "반가워요", "0"), ("고마워", "천만에요", "0"), ("안녕", "잘 가요", "1")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer, sample):
    """Bases of three architectures, two tied and one not, and pairs to learn."""
    folder = tmp_path_factory.mktemp("bases")
    gpt2 = make_model(tokenizer, layers=2, width=32, heads=2, positions=96, seed=0)
    for weight in gpt2.parameters():  # so large that what is frozen can tell the tokens apart
        if weight.ndim == 2:
            weight.data *= 8
    checkpoint.save(folder / "gpt2", gpt2, tokenizer, Card(max_length=64, defaults={"learning_rate": 1e-2}))
    for kind in ("qwen3", "gpt_neox"):
        write_base(folder / kind, kind, [*sample["Q"], *sample["A"]])
    pd.DataFrame(PAIRS, columns=["Q", "A", "label"]).to_csv(folder / "pairs.csv", index=False)
    return folder


@pytest.fixture
def base(request, folder):
    """A base by its kind."""
    return folder / request.param


def config(base, folder, output, **settings):
    settings = {"epochs": 60, "batch_size": 3, "learning_rate": 3e-2, "max_length": 48, "lora_rank": 8, **settings}
    settings = {"data": str(folder / "pairs.csv"), "precision": "float32", **settings}
    return TrainingConfig(base=str(base), output=str(output), **settings)


def weights(folder):
    return checkpoint.load(folder, as_base=True).model.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("base", ["gpt2", "qwen3", "gpt_neox"], indirect=True)
def test_own_answers_are_learned_and_only_the_merged_matrices_change(base, folder, tmp_path):
    before = weights(base)
    *_, last = fine_tune(config(base, folder, tmp_path / "mine"))
    assert (last.own_right, last.own_asked) == (3, 3)
    bot = load(tmp_path / "mine")
    assert [bot.reply(question, label) for question, _, label in PAIRS] == [answer for _, answer, _ in PAIRS]
    after, structure = weights(tmp_path / "mine"), bot.prompt.structure
    model = checkpoint.load(tmp_path / "mine", as_base=True).model
    rows = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    others = [i for i in range(model.config.vocab_size) if i not in structure]
    for name, weight in model.named_parameters():
        changed = ~torch.eq(after[name], before[name])
        if id(weight) in rows:  # the embeddings of the prompt's own tokens, and no other's
            assert changed[structure].all(), name
            assert not changed[others].any(), name
        elif weight.ndim == 2 and "wpe" not in name:
            assert changed.float().mean() > 0.9, name
        else:
            assert not changed.any(), name
    assert model.config.tie_word_embeddings == checkpoint.load(base, as_base=True).model.config.tie_word_embeddings


@pytest.mark.slow
@pytest.mark.parametrize("base", ["gpt2", "qwen3"], indirect=True)
def test_stopped_and_resumed_it_gives_the_same_weights_and_saves_only_what_it_trains(base, folder, tmp_path):
    settings = {"epochs": 4, "batch_size": 1, "gradient_checkpointing": True}
    whole = list(fine_tune(config(base, folder, tmp_path / "whole", **settings)))
    made = config(base, folder, tmp_path / "parts", **settings)
    asked = itertools.count()
    first = list(fine_tune(made, lambda: next(asked) >= 7, tmp_path / "state"))
    assert isinstance(first[-1], Stopped)
    saved = (newest(tmp_path / "state") / "model.safetensors").stat().st_size
    assert saved < (base / "model.safetensors").stat().st_size
    rest = list(fine_tune(made, state=tmp_path / "state"))
    assert isinstance(rest[-1], Finished)
    losses = [[e.loss for e in events if isinstance(e, Step)] for events in (whole, [*first, *rest])]
    assert losses[0] == losses[1]
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_the_best_epoch_and_what_was_rehearsed_are_kept_in_bfloat16_too(base, folder, tmp_path):
    list(fine_tune(config(base, folder, tmp_path / "first", epochs=1, precision="bfloat16")))
    settings = {"epochs": 3, "keep": "best", "validation_share": 0.5, "rehearsal": 1, "keep_labels": True}
    settings |= {"data": "emotions", "rows": 12, "precision": "bfloat16"}
    started, *_, last = fine_tune(config(tmp_path / "first", folder, tmp_path / "second", **settings))
    assert started.rehearsed == 1  # the other two pairs of the first are answered anew
    history = checkpoint.read_card(tmp_path / "second").metrics["history"]
    assert history[last.epoch - 1]["validation_loss"] == min(one["validation_loss"] for one in history)
    # What is written is that epoch, but for what float32 adds to it.
    held_out = heldout.split_again(checkpoint.read_card(tmp_path / "second"), "emotions").validation
    rows = list(held_out.itertuples(index=False, name=None))
    bot = load(tmp_path / "second")
    tokens = sum(len(bot.prompt.text_ids(answer)) + 1 for _, answer, _ in rows)
    loss = -sum(bot.scores(rows)) / tokens
    assert loss == pytest.approx(history[last.epoch - 1]["validation_loss"], rel=0.02)


@pytest.mark.parametrize("base", ["gpt2"], indirect=True)
def test_a_rate_that_nobody_set_is_ten_times_that_of_all_weights(base, folder, tmp_path):
    rates = [
        next(fine_tune(config(base, folder, tmp_path / "mine", learning_rate=None, lora_rank=rank))).learning_rate
        for rank in (None, 4)
    ]
    assert rates == [1e-2, 1e-1]


@pytest.mark.parametrize("base", ["gpt2"], indirect=True)
def test_without_peft_it_is_refused_in_one_sentence(base, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(SettingsError, match="pip install") as raised:
        next(fine_tune(config(base, folder, tmp_path / "mine")))
    assert "peft" in raised.value.text("ko")
