"""kochat-mini as it is shipped: its size, its figures on questions that it was not trained on, what it learns."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import MINI, PROJECT, compute_in
from transformers import AutoTokenizer, GPT2LMHeadModel

from benchmarks import corpus
from kochat.config import TrainingConfig
from kochat.data import pairs
from kochat.evaluation import heldout, metrics
from kochat.evaluation.guidance import AtStrength, choose
from kochat.inference.chatbot import load
from kochat.model import checkpoint
from kochat.model.cards import FIGURE_NAMES
from kochat.training.fine_tuning import fine_tune

CARD = checkpoint.read_card(MINI)


@pytest.fixture(scope="module")
def mini():
    compute_in(2)
    yield load(MINI)
    compute_in(1)


def test_it_is_at_most_10_mib_and_says_how_it_was_made():
    assert sum(path.stat().st_size for path in MINI.iterdir()) <= 10 * 2**20
    readme = (MINI / "README.md").read_text("utf-8")
    for part in ("e9t/nsmc", "CC0", "songys/Chatbot_data", "MIT", "kochat pretrain", "kochat train"):
        assert part in readme
    assert len(CARD.recipe) == 18
    assert CARD.split == (2, 0.05, 0.05, 0)
    assert CARD.data["parts"] == {"training": 56_017, "validation": 534, "test": 555}
    assert list(CARD.metrics["evaluation"]) == ["validation", "test", "held_out"]


def test_its_strength_is_what_the_rule_chooses():
    measured = [AtStrength(**one) for one in CARD.metrics["strengths"]]
    assert choose(measured) == CARD.strength == CARD.metrics["evaluation"]["validation"]["strength"] == 0.5


@pytest.mark.slow
def test_plain_transformers_loads_it_and_builds_the_same_prompt(mini):
    plain = GPT2LMHeadModel.from_pretrained(MINI, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(MINI)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "12시 땡!"}], label="0", tokenize=True, return_dict=False
    )
    assert ids == mini.prompt.encode_prompt("12시 땡!", "0")
    out = plain.generate(torch.tensor([ids]), max_new_tokens=40, do_sample=False)[0, len(ids) :]
    assert tokenizer.decode(out, skip_special_tokens=True) == mini.reply("12시 땡!", "0")


@pytest.mark.slow
def test_its_figures_on_held_out_questions_are_those_of_its_card(mini, chatbot_data, tmp_path):
    corpus.tables(chatbot_data)["corpus"][pairs.COLUMNS].to_csv(tmp_path / "corpus.csv", index=False)
    parts = heldout.split_again(CARD, tmp_path / "corpus.csv")
    for part, most in (("validation", 1.15), ("test", 1.22)):
        figures = metrics.evaluate(mini, getattr(parts, part), training=parts.training)
        for name in FIGURE_NAMES:
            if name in CARD.metrics["evaluation"][part]:
                value = CARD.metrics["evaluation"][part][name]
                assert getattr(figures, name) == pytest.approx(value, abs=0.01), (part, name)
        assert figures.nll_per_char <= most
    assert figures.exact >= 0.19
    assert figures.label_accuracy >= 0.84
    assert figures.true_label_gain > 0.11
    assert figures.label_changes_reply >= 0.97
    assert figures.recognised >= 0.64  # cross-fitted; of answers by people 64.5 %


@pytest.mark.slow
def test_one_clean_sentence_on_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "kochat", "reply", "12시 땡!", "--label", "0"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert line == line.strip()
    assert any("가" <= letter <= "힣" for letter in line)
    assert not set(line) & set("▁�<>")


@pytest.mark.slow
def test_it_learns_100_pairs_word_for_word(mini, tmp_path, chatbot_data):
    made = TrainingConfig(
        data=str(chatbot_data),
        rows=100,
        base=str(MINI),
        output=str(tmp_path / "learned"),
        epochs=30,
        validation_share=0,
        sample_questions=(),
    )
    for _ in fine_tune(made):
        pass
    table = pairs.read_pairs(chatbot_data, rows=100)
    replies = load(Path(made.output)).replies(list(table[["Q", "label"]].itertuples(index=False, name=None)))
    assert (pd.Series(replies) == table["A"]).mean() >= 0.9
