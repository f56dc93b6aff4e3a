"""Settings: what is refused, whose defaults count, the way to JSON and back, the command that is recorded."""

import json
import math
import shlex
from dataclasses import FrozenInstanceError, fields

import pytest

from kochat.config import PROJECT, PretrainingConfig, TrainingConfig, home
from kochat.errors import SettingsError
from kochat.model.commands import command
from kochat.validate import KOREAN_NAMES

REFUSED = {
    "data": [None],
    "output": [None],
    "rows": [0, -1, 1.5, "10", True],
    "epochs": [0, 2.0, math.nan],
    "batch_size": [0, "32"],
    "max_length": [7, 40.5],
    "seed": [-1, 0.5, 2**32, None],
    "validation_share": [-0.01, 0.91, math.nan, "0.1"],
    "test_share": [-0.01, 0.91, math.nan, "0.1"],
    "dropout": [-0.1, 0.95],
    "label_dropout": [-0.1, 1.05, None],
    "warmup_share": [-0.1, 1.1],
    "label_loss": [-0.1, 1.1],
    "question_loss": [-0.1, 1.1],
    "weight_decay": [-0.1, 1.1],
    "learning_rate": [0, -1e-3, 1.1, math.inf, "1e-3"],
    "max_grad_norm": [0, math.inf, math.nan],
    "schedule": ["cosinus", "", None],
    "precision": ["float64", None],
    "lora_rank": [0, 1.5, "8"],
    "gradient_accumulation_steps": [0, 1.5, None],
    "save_dtype": ["int8", None],
    "rehearsal": [-1, 0.5],
    "recipe": ["notebook", None],
    "question_column": ["", " ", 3],
}
ALLOWED = {
    "label_column": ["감정", None],
    "rows": [1, None],
    "epochs": [1, None],
    "max_length": [8],
    "seed": [0, 2**32 - 1],
    "validation_share": [None, 0, 0.9],
    "test_share": [None, 0, 0.9],
    "dropout": [0, 0.9, None],
    "rehearsal": [0, 3, None],
    "label_loss": [0, 1, None],
    "recipe": ["auto", "pairs", "base"],
    "warmup_share": [0, 1],
    "learning_rate": [1.0, 1e-9, None],
    "schedule": ["cosine", "linear", "constant"],
    "precision": ["auto", "float32", "bfloat16", "float16"],
    "lora_rank": [None, 1, 64],
    "gradient_accumulation_steps": [1, 4],
    "gradient_checkpointing": [False, True],
    "save_dtype": ["float32", "float16", "bfloat16"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in REFUSED for value in REFUSED[name]])
def test_a_setting_out_of_its_range_is_refused_by_name(name, value):
    with pytest.raises(SettingsError, match=f"{name} is {value}, but must be ") as caught:
        TrainingConfig(**{name: value})
    assert caught.value.text("ko").startswith(f"{KOREAN_NAMES.get(name, name)} 값이 {value}인데, ")


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in ALLOWED for value in ALLOWED[name]])
def test_the_ends_of_a_range_are_allowed(name, value):
    assert getattr(TrainingConfig(**{name: value}), name) == value


def test_a_refusal_says_what_is_allowed():
    with pytest.raises(SettingsError, match="max_length is 7, but must be a whole number from 8"):
        TrainingConfig(max_length=7)
    with pytest.raises(SettingsError, match=r"validation_share is 1, but must be from 0 to 0\.9\."):
        TrainingConfig(validation_share=1)
    with pytest.raises(SettingsError, match="learning_rate is 0, but must be above 0 and at most 1"):
        TrainingConfig(learning_rate=0)
    with pytest.raises(SettingsError, match="schedule is none, but must be one of cosine, linear, constant"):
        TrainingConfig(schedule="none")
    with pytest.raises(SettingsError, match="bad_rows is keep, but must be one of refuse, skip"):
        TrainingConfig(bad_rows="keep")


@pytest.mark.parametrize("settings", [{"vocabulary": 299}, {"layers": 0}, {"lines": 0}, {"learning_rate": 2}])
def test_a_pretraining_is_checked_too(settings):
    with pytest.raises(SettingsError, match=next(iter(settings))):
        PretrainingConfig(**settings)


def test_every_setting_has_a_sentence_and_none_can_be_changed():
    for config in (TrainingConfig, PretrainingConfig):
        assert all(one.metadata["help"].endswith(".") for one in fields(config))
    with pytest.raises(FrozenInstanceError):
        TrainingConfig().epochs = 3


def test_what_is_given_counts_before_the_bases_default_and_that_before_the_notebooks():
    config = TrainingConfig(epochs=3).with_defaults({"epochs": 7, "learning_rate": 1e-3})
    assert (config.epochs, config.learning_rate, config.batch_size, config.max_length) == (3, 1e-3, 32, 40)
    assert config.strip_punctuation is False
    plain = TrainingConfig().with_defaults({})
    assert (plain.epochs, plain.learning_rate) == (10, 3e-5)
    assert (plain.rows, plain.dropout) == (None, None)
    assert TrainingConfig(strip_punctuation=False).with_defaults({"strip_punctuation": True}).strip_punctuation is False
    assert TrainingConfig().with_defaults({"strip_punctuation": True, "dropout": 0.1}).dropout == 0.1


def test_a_bases_defaults_are_checked_and_its_unknown_ones_left_out():
    with pytest.raises(SettingsError, match="epochs is 0"):
        TrainingConfig().with_defaults({"epochs": 0})
    assert TrainingConfig().with_defaults({"of_a_later_version": 1}) == TrainingConfig().with_defaults({})


def test_settings_survive_the_way_to_json_and_back():
    config = TrainingConfig(data="내 파일.csv", epochs=3, dropout=0.1, sample_questions=("안녕",), seed=7)
    written = json.dumps(config.to_dict(), ensure_ascii=False)
    assert TrainingConfig.from_dict(json.loads(written)) == config
    assert TrainingConfig.from_dict({}) == TrainingConfig()
    with pytest.raises(SettingsError, match="epoch is 3, but must be left out"):
        TrainingConfig.from_dict({"epoch": 3})


def test_the_recorded_command_names_files_without_their_folders(tmp_path):
    base = tmp_path / "my-base"
    base.mkdir()
    config = TrainingConfig(
        data=str(tmp_path / "pairs.csv"),
        base=str(base),
        output=str(tmp_path / "mine"),
        epochs=3,
        strip_punctuation=False,
        learning_rate=1e-3,
    )
    assert command("train", config) == (
        "python -m kochat train --data pairs.csv --base checkpoints/my-base --output checkpoints/mine "
        "--epochs 3 --learning-rate 0.001 --no-strip-punctuation"
    )
    pretraining = PretrainingConfig(
        text="/data/nsmc.txt.xz", output="/home/kim/base", pairs=("/home/kim/pairs.csv", "jobs")
    )
    assert command("pretrain", pretraining) == (
        "python -m kochat pretrain --text nsmc.txt.xz --output checkpoints/base --pairs pairs.csv --pairs jobs"
    )


def test_names_of_labels_are_given_once_for_each_label():
    config = TrainingConfig(data="a.csv", output="x", keep_labels=True, label_names=["0=일상 이야기", "a=b=c"])
    assert config.label_names == ("0=일상 이야기", "a=b=c")
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    words = shlex.split(command("train", config))
    assert words[words.index("--keep-labels") :][1:] == ["--label-names", "0=일상 이야기", "--label-names", "a=b=c"]
    for text in ("일상", "=일상", "0=", "0= "):
        with pytest.raises(SettingsError, match=f"label_names is {text}, but must be label=name"):
            TrainingConfig(label_names=(text,))


def test_the_recorded_command_keeps_hub_ids_and_addresses():
    config = TrainingConfig(
        data="https://host.example/a/pairs.csv", base="skt/kogpt2-base-v2", output="x", strip_punctuation=True
    )
    assert command("train", config) == (
        "python -m kochat train --data https://host.example/a/pairs.csv --base skt/kogpt2-base-v2 "
        "--output checkpoints/x --strip-punctuation"
    )


def test_the_recorded_command_can_be_pasted_into_a_shell():
    config = TrainingConfig(data="/tmp/나의 질문; 답.csv", output="x")
    assert shlex.split(command("train", config))[4:6] == ["--data", "나의 질문; 답.csv"]


def test_home_is_where_the_environment_says_else_the_project(monkeypatch, tmp_path):
    assert home() == tmp_path / "home"  # the fixture's
    monkeypatch.setenv("KOCHAT_HOME", "")
    assert home() == PROJECT
    monkeypatch.delenv("KOCHAT_HOME")
    assert home() == PROJECT
    assert (PROJECT / "kochat" / "config.py").is_file()
