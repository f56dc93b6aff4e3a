"""Averaging: the mean of weights to the number, a card that owns up to it, and what cannot be averaged."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from kochat.cli.main import app
from kochat.config import TrainingConfig
from kochat.data import pairs
from kochat.data.splits import split_by_question
from kochat.errors import CheckpointError
from kochat.model import checkpoint
from kochat.model.averaging import average
from kochat.model.cards import Card
from kochat.model.gpt2 import make_model
from kochat.training.fine_tuning import fine_tune


@pytest.fixture
def two(tmp_path, tokenizer):
    """Two checkpoints of one shape, the second made out of the first."""
    first = Card(labels=["0", "1"], max_length=64, recipe=["one"], sources=["emotions"], strength=0.5)
    cards = first, replace(first, recipe=["one", "two"], metrics={"epoch": 3}, familiarity={})
    models = [make_model(tokenizer, layers=2, width=8, heads=2, positions=96, seed=seed) for seed in (0, 1)]
    return [
        checkpoint.save(tmp_path / name, model, tokenizer, card, pairs=[("안녕", name, "0")])
        for name, model, card in zip(("a", "b"), models, cards, strict=True)
    ]


def test_every_weight_is_the_mean_and_the_card_says_so(two, tmp_path):
    made = checkpoint.load(average(two, tmp_path / "mean"))
    a, b, mean = (one.model.state_dict() for one in (*map(checkpoint.load, two), made))
    assert all(torch.equal(mean[name], (a[name] + b[name]) / 2) for name in mean)
    made_by = "python -m kochat average checkpoints/a checkpoints/b --output checkpoints/mean"
    assert made.card.recipe == ["one", "two", made_by]
    assert (made.card.strength, made.card.metrics, made.card.sources) == (0.0, {}, ["emotions"])
    assert made.pairs == [("안녕", "b", "0")]


def test_the_command_line_averages_and_its_command_is_in_the_card(two, tmp_path):
    output = tmp_path / "half"
    done = CliRunner().invoke(app, ["average", *map(str, two), "--output", str(output), "--save-dtype", "float16"])
    assert (done.exit_code, done.stdout) == (0, f"{output} is ready\n")
    odd = CliRunner().invoke(app, ["average", *map(str, two), "--output", str(tmp_path / "x"), "--save-dtype", "int3"])
    assert odd.exit_code == 2
    assert checkpoint.read_card(output).recipe[-1].endswith("--output checkpoints/half --save-dtype float16")


@pytest.mark.slow
def test_what_was_split_otherwise_is_not_averaged(two, tmp_path):
    def split(which, name, data, **config):
        loaded = checkpoint.load(two[which])
        card = replace(loaded.card, data={"sha256": "a", "split": 2, **data}, config={"seed": 0, **config})
        return checkpoint.save(tmp_path / name, loaded.model, loaded.tokenizer, card)

    shares = {"validation_share": 0.05, "test_share": 0.05}
    first = split(0, "first", {}, **shares)
    for number, (data, config) in enumerate(
        (
            ({}, {**shares, "seed": 1}),
            ({}, {**shares, "test_share": 0.1}),
            ({}, {**shares, "validation_share": 0.0}),
            ({"split": 1}, shares),
            ({"sha256": "b"}, shares),
            ({}, {}),
        )
    ):
        odd = split(1, f"odd-{number}", data, **config)
        with pytest.raises(CheckpointError, match=f"first and odd-{number} cannot be averaged: they split"):
            average([first, odd], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
    assert average([first, split(1, "same", {}, **shares)], tmp_path / "mean").exists()
    # Where nothing was withheld, the seed divides nothing.
    average([split(0, "all", {}), split(1, "all-too", {}, seed=1)], tmp_path / "mean-of-all")


@pytest.mark.slow
def test_one_trained_further_on_a_part_of_the_data_is_averaged_if_it_withheld_the_same(tiny_base, tmp_path):
    """The file of the second training has the withheld questions and half of the others."""
    table = pairs.read_pairs("emotions").iloc[:90]
    parts = split_by_question(table, 0.1, 0.1, 0)
    withheld = pd.concat([parts.validation, parts.test])

    def trained(name, rows, base):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
        config = TrainingConfig(
            data=str(tmp_path / f"{name}.csv"),
            base=str(base),
            output=str(tmp_path / name),
            epochs=1,
            validation_share=0.1,
            test_share=0.1,
        )
        list(fine_tune(config))
        return tmp_path / name

    first = trained("first", table, tiny_base)
    further = trained("further", pd.concat([withheld, parts.training.iloc[::2]]), first)
    made = checkpoint.read_card(average([first, further], tmp_path / "mean"))
    assert made.data == checkpoint.read_card(further).data
    assert made.data["sha256"] != checkpoint.read_card(first).data["sha256"]
    other = trained("other", parts.training, first)
    with pytest.raises(CheckpointError, match="first and other cannot be averaged: they split"):
        average([first, other], tmp_path / "no-mean")


def test_what_is_not_alike_is_not_averaged(two, tmp_path, tokenizer):
    other = make_model(tokenizer, layers=1, width=8, heads=2, positions=96)
    flat = checkpoint.save(tmp_path / "flat", other, tokenizer, Card(labels=["0", "1"], max_length=64))
    named = checkpoint.save(
        tmp_path / "named", checkpoint.load(two[0]).model, tokenizer, Card(labels=["0"], max_length=64)
    )
    for odd in (flat, named):
        with pytest.raises(CheckpointError, match=f"{odd.name} and b cannot be averaged"):
            average([odd, two[1]], tmp_path / "mean")
    with pytest.raises(CheckpointError, match="already"):
        average(two, two[0])
    assert not (tmp_path / "mean").exists()
