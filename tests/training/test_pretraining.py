"""Pre-training: which lines are learned from, and a tiny base from text to the reply of its fine-tuning."""

import lzma

import pytest
import torch

from kochat.config import PretrainingConfig, TrainingConfig
from kochat.errors import CheckpointError, DataError, ReplyError, SettingsError
from kochat.inference.chatbot import load
from kochat.model import checkpoint
from kochat.training.events import Finished, Step
from kochat.training.fine_tuning import fine_tune
from kochat.training.pretraining import clean_lines, pretrain, read_lines

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")


def test_coarse_foreign_short_long_and_repeated_lines_are_left_out():
    lines = [
        "정말 재미있게 봤어요.",
        "  정말   재미있게 봤어요.  ",
        "이런 쓰레기 같은 영화",
        "씨 발 뭐야 이게 진짜",
        "best movie ever made",
        "좋아요",
        "가" * 161,
        "이 영화는 정말 최고예요ㅋㅋㅋㅋㅋㅋㅋㅋㅋ",
    ]
    assert clean_lines(lines) == ["정말 재미있게 봤어요.", "이 영화는 정말 최고예요ㅋㅋㅋ"]


@pytest.fixture
def text(tmp_path, sample):
    path = tmp_path / "lines.txt.xz"
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join([*sample["A"], "이런 쓰레기 같은 대답", *sample["A"]]))
    return path


def config(text, tmp_path, **settings):
    small = {"vocabulary": 700, "layers": 1, "width": 8, "heads": 2, "positions": 64, "block": 32}
    return PretrainingConfig(text=str(text), output=str(tmp_path / "base"), **{**small, **settings})


def test_lines_come_from_plain_and_packed_files(text, tmp_path, sample):
    lines = read_lines(text)
    assert lines == clean_lines(sample["A"])
    (tmp_path / "plain.txt").write_text("\n".join(lines), "utf-8")
    assert read_lines(tmp_path / "plain.txt", limit=3) == lines[:3]
    (tmp_path / "none.txt").write_text("x\n")
    with pytest.raises(DataError, match="no rows"):
        read_lines(tmp_path / "none.txt")
    with pytest.raises(DataError, match="no file"):
        read_lines(tmp_path / "nowhere.txt")


@needs_muon
@pytest.mark.slow
def test_text_becomes_a_base_that_is_fine_tuned_and_replies(text, tmp_path):
    events = list(pretrain(config(text, tmp_path, passes=2, batch_size=4, pairs=("emotions",), learning_rate=1e-2)))
    steps = [event for event in events if isinstance(event, Step)]
    assert [step.step for step in steps] == list(range(1, steps[0].steps + 1))
    assert sum(s.loss for s in steps[-5:]) / 5 < sum(s.loss for s in steps[:5]) / 5 - 0.5
    assert isinstance(events[-1], Finished)
    base = checkpoint.load(tmp_path / "base", as_base=True)
    assert len(base.tokenizer) == 700
    assert base.card.recipe == [
        "python -m kochat pretrain --text lines.txt.xz --output checkpoints/base --pairs emotions --vocabulary 700 "
        "--layers 1 --width 8 --heads 2 --positions 64 --block 32 --batch-size 4 --passes 2 --learning-rate 0.01"
    ]
    with pytest.raises(ReplyError, match="was not trained to answer yet"):
        load(tmp_path / "base")

    made = TrainingConfig(
        data="emotions", rows=30, base=str(tmp_path / "base"), output=str(tmp_path / "bot"), epochs=1, max_length=48
    )
    assert list(fine_tune(made))[-1].checkpoint == str(tmp_path / "bot")
    card = load(tmp_path / "bot").card
    assert card.sources == ["lines", "emotions"]
    assert [command.split()[3] for command in card.recipe] == ["pretrain", "train"]


@needs_muon
def test_the_same_text_and_seed_give_the_same_tokenizer_and_losses(text, tmp_path):
    def losses(name):
        return [e.loss for e in pretrain(config(text, tmp_path / name, lines=100)) if isinstance(e, Step)]

    assert losses("one") == losses("two")
    both = [(tmp_path / name / "base" / "tokenizer.json").read_bytes() for name in ("one", "two")]
    assert both[0] == both[1]


def test_what_cannot_work_is_refused(text, tmp_path):
    with pytest.raises(SettingsError, match="vocabulary is 10"):
        config(text, tmp_path, vocabulary=10)
    (tmp_path / "base").mkdir()
    with pytest.raises(CheckpointError, match="already"):
        next(pretrain(config(text, tmp_path)))
