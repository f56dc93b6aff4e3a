"""`TrainingConfig`: every setting of a fine-tuning, once; and where writable things live.

Knows no data, no model and no library.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from kochat import validate

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent
IS_INSTALLED = not (PROJECT / "pyproject.toml").is_file()  # by pip, outside a clone
SHIPPED_CHECKPOINTS = PACKAGE / "shipped" if IS_INSTALLED else PROJECT / "checkpoints"
DEFAULT_CHECKPOINT = SHIPPED_CHECKPOINTS / "kochat-mini"
SPACE_DISK = Path("/data")
KOGPT2 = "skt/kogpt2-base-v2"

# What the notebook fine-tunes KoGPT2 with. A base of ours brings its own in its kochat.json.
NOTEBOOK_DEFAULTS = {"epochs": 10, "batch_size": 32, "learning_rate": 3e-5, "max_length": 40}

MAX_SEED = 2**32 - 1  # that numpy takes
COLUMN_SETTINGS = {column: f"{column}_column" for column in ("question", "answer", "label")}
# Asked after each epoch, beside some of the data's own.
SAMPLE_QUESTIONS = ("안녕", "오늘 날씨는 어때?", "12시 땡!", "고마워")


def home() -> Path:
    """Where checkpoints, runs and downloads are written.

    KOCHAT_HOME, on a Space with a lasting disk that disk, else the project folder, or ~/kochat where there is none, or
    where it is somebody else's.
    """
    if chosen := os.environ.get("KOCHAT_HOME"):
        return Path(chosen).resolve()
    if "SPACE_ID" in os.environ and SPACE_DISK.is_dir():
        return SPACE_DISK
    return PROJECT if not IS_INSTALLED and os.access(PROJECT, os.W_OK) else Path("~/kochat").expanduser()


def _setting(default: Any, sentence: str) -> Any:
    return field(default=default, metadata={"help": sentence})


def reading(settings: dict[str, Any]) -> dict[str, Any]:
    """How data are read, as `read_pairs` takes it, out of the settings of a training; of an earlier one a few lack."""
    columns = {column: settings.get(name) for column, name in COLUMN_SETTINGS.items()}
    others = {name: settings.get(name) for name in ("rows", "sheet", "header")}
    return {**others, "columns": columns, "bad_rows": settings.get("bad_rows", "refuse")}


@dataclass(frozen=True)
class TrainingConfig:
    """The settings of one fine-tuning, checked when made (SettingsError).

    A setting that is None follows from the number of pairs (recipe.py), or is the base's own default, else the
    notebook's (`with_defaults`).
    """

    data: str = _setting("", "A file (CSV, XLSX, JSON, Parquet), a URL, a Hub dataset (owner/name) or a sample's name.")
    base: str = _setting(str(DEFAULT_CHECKPOINT), "What is trained further: a checkpoint folder or a Hub id.")
    output: str = _setting("", "The folder of the new checkpoint; it must not exist yet.")
    question_column: str | None = _setting(
        None, "The column of the questions, by name or number, where its name does not say."
    )
    answer_column: str | None = _setting(None, "The column of the answers.")
    label_column: str | None = _setting(None, "The column of the labels.")
    sheet: str | None = _setting(None, "The sheet of a workbook. Unset: all visible ones that have the same columns.")
    header: int | None = _setting(None, "The row with the names of the columns; 0: there is none. Unset: it is found.")
    rows: int | None = _setting(None, "Use only the first rows, as the notebook does with 300.")
    bad_rows: str = _setting("refuse", "Rows that cannot be used: refuse the data and name them, or skip them.")
    validation_share: float | None = _setting(
        None, "Share of the questions kept out of training to choose by; 0 for none. Unset: 0.05 from 400 pairs on."
    )
    test_share: float | None = _setting(
        None, "Share of the questions kept out of training and of choosing, to report on. Unset: as for validation."
    )
    epochs: int | None = _setting(None, "Passes over the pairs.")
    batch_size: int | None = _setting(None, "Pairs of a batch; several processes share it.")
    gradient_accumulation_steps: int = _setting(
        1, "Batches whose gradients make one step: one of as many pairs in less memory."
    )
    gradient_checkpointing: bool = _setting(
        False, "Compute activations again in the backward pass instead of keeping them: slower, in less memory."
    )
    lora_rank: int | None = _setting(
        None, "Train adapters of this rank instead of all weights, and merge them in the end (pip install peft)."
    )
    learning_rate: float | None = _setting(None, "The highest rate of the schedule.")
    max_length: int | None = _setting(None, "The longest example in tokens; longer ones are cut.")
    strip_punctuation: bool | None = _setting(None, "Replace ? . ! , by a space, as the notebook does.")
    schedule: str = _setting("cosine", "How the rate falls after warm-up: cosine, linear or constant.")
    warmup_share: float = _setting(0.06, "Share of the steps in which the rate rises from 0.")
    optimizer: str = _setting("adamw", "adamw, or muon: slower steps that learn more.")
    weight_decay: float = _setting(0.01, "The optimiser's decay.")
    max_grad_norm: float = _setting(1.0, "Gradients are clipped to this norm.")
    dropout: float | None = _setting(None, "Dropout while training; without it the base's own.")
    recipe: str = _setting(
        "auto", "What is not set follows from the number of pairs, or is the base's: pairs, base, or auto."
    )
    label_loss: float | None = _setting(
        None, "Weight of predicting the label from the question; an answer token counts 1."
    )
    question_loss: float = _setting(0.0, "Weight of predicting the question itself.")
    label_dropout: float = _setting(
        0.1, "Share of the examples trained without their label; 1 leaves it out of all, as the notebook does."
    )
    question_dropout: float = _setting(0.0, "Share of the question's tokens left out, drawn anew in every epoch.")
    subword_dropout: float = _setting(0.0, "Share of the question's tokens spelled in smaller ones, drawn anew.")
    calibrate: bool = _setting(False, "In the end fit one factor of the logits on the validation questions.")
    repeats: int = _setting(1, "How often an epoch goes over each pair.")
    rehearsal: int | None = _setting(
        None,
        "Earlier pairs of the base gone over beside each pair, drawn anew in every epoch, so that it does not forget.",
    )
    keep_labels: bool | None = _setting(None, "The base's labels stay, beside those of the data.")
    label_names: tuple[str, ...] = _setting((), "A label's name for display, as label=name; once for each label.")
    keep: str = _setting("auto", "Which epoch is kept: best (by validation loss), last, or auto.")
    patience: int | None = _setting(None, "End after so many epochs without a better validation loss.")
    save_minutes: float = _setting(5.0, "Save the state so often within an epoch, to resume from.")
    report_to: str = _setting("none", "trackio: report each epoch there too (pip install trackio).")
    seed: int = _setting(0, "Of the split, the order and the dropout.")
    precision: str = _setting("auto", "float32, bfloat16, float16 (on a GPU), or auto: what this machine is faster in.")
    save_dtype: str = _setting("float32", "Of the saved weights: float32, float16 or bfloat16.")
    sample_questions: tuple[str, ...] = _setting(
        (), "Answered after every epoch; without any, some of the data's own and a few general ones."
    )

    def __post_init__(self):
        validate.not_empty(self)
        for name in ("sample_questions", "label_names"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for text in self.label_names:
            if not all(part.strip() for part in text.partition("=")):
                validate.refuse("label_names", text, "label=name", "라벨=이름 꼴인")
        validate.is_text(self, *COLUMN_SETTINGS.values(), "sheet")
        validate.at_least(self, header=0)
        validate.at_least(
            self, rows=1, epochs=1, batch_size=1, max_length=8, patience=1, seed=0, repeats=1, rehearsal=0
        )
        validate.at_least(self, gradient_accumulation_steps=1, lora_rank=1)
        validate.between(self, 0, 0.9, "validation_share", "test_share")
        validate.between(self, 0, 0.9, "dropout", "question_dropout", "subword_dropout")
        validate.between(self, 0, 1, "warmup_share", "label_loss", "label_dropout", "question_loss", "weight_decay")
        validate.between(self, 0, MAX_SEED, "seed")
        validate.positive(self, 1.0, "learning_rate")
        validate.positive(self, 1e6, "max_grad_norm", "save_minutes")
        validate.one_of(self, bad_rows=("refuse", "skip"))
        validate.one_of(self, recipe=("auto", "pairs", "base"))
        validate.one_of(self, schedule=("cosine", "linear", "constant"))
        validate.one_of(self, optimizer=("adamw", "muon"))
        validate.one_of(self, precision=("auto", "float32", "bfloat16", "float16"))
        if self.optimizer == "muon" and (self.lora_rank or self.precision == "float16"):
            validate.refuse(
                "optimizer", "muon", "adamw with lora_rank or float16", "lora_rank나 float16과 함께라면 adamw인"
            )
        validate.one_of(self, keep=("auto", "best", "last"))
        validate.one_of(self, report_to=("none", "trackio"))
        validate.one_of(self, save_dtype=("float32", "float16", "bfloat16"))

    def with_defaults(self, base_defaults: dict[str, Any]) -> TrainingConfig:
        """A copy in which every None that the base, else the notebook, has a default for is filled."""
        defaults = {**NOTEBOOK_DEFAULTS, "strip_punctuation": False, **base_defaults}
        # A base made by a later kochat may have defaults for settings that are not known here.
        missing = {name: value for name, value in defaults.items() if getattr(self, name, False) is None}
        return replace(self, **missing)

    def reading(self) -> dict[str, Any]:
        """How the data are read, as `read_pairs` takes it."""
        return reading(asdict(self))

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON can hold them; `from_dict` is the way back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """Settings from `to_dict`; unknown names are refused (SettingsError)."""
        known = {one.name for one in fields(cls)}
        for name in values:
            if name not in known:
                validate.refuse(name, values[name], "left out", "없는 것")
        return cls(**values)


@dataclass(frozen=True)
class PretrainingConfig:
    """The settings of a pre-training; the defaults made the base of the first kochat-mini."""

    text: str = _setting("", "A file with a line a text, .xz or plain.")
    output: str = _setting("", "The folder of the new base; it must not exist yet.")
    pairs: tuple[str, ...] = _setting(
        (), "Pairs whose training part the tokenizer learns from too; may be given several times."
    )
    withheld_share: float = _setting(
        0.05, "Share of the questions of the pairs kept out for validation, and as many for test."
    )
    vocabulary: int = _setting(6000, "Tokens.")
    layers: int = _setting(6, "Transformer blocks.")
    width: int = _setting(224, "Numbers a token is made of.")
    heads: int = _setting(7, "Attention heads; they share the width.")
    positions: int = _setting(192, "The longest input in tokens.")
    block: int = _setting(128, "Tokens of an example.")
    batch_size: int = _setting(16, "Blocks a step.")
    passes: int = _setting(1, "Passes over the text.")
    learning_rate: float = _setting(3e-3, "The highest rate of the schedule.")
    lines: int | None = _setting(None, "Use only the first lines.")
    seed: int = _setting(0, "Of the order of the lines and the first weights.")
    save_dtype: str = _setting("float32", "Of the saved weights: float32, float16 or bfloat16.")

    def __post_init__(self):
        validate.not_empty(self)
        validate.at_least(
            self, vocabulary=400, layers=1, width=1, heads=1, positions=8, block=8, batch_size=1, passes=1
        )
        validate.at_least(self, lines=1, seed=0)
        validate.between(self, 0, 0.45, "withheld_share")
        validate.one_of(self, save_dtype=("float32", "float16", "bfloat16"))
        validate.between(self, 0, MAX_SEED, "seed")
        validate.positive(self, 1.0, "learning_rate")
        object.__setattr__(self, "pairs", tuple(self.pairs))
