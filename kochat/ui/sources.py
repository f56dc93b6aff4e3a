"""What a training or an evaluation can start from: data by name or uploaded, datasets of the data tab, bases."""

from __future__ import annotations

import itertools
from pathlib import Path

import gradio as gr

from kochat.config import KOGPT2, TrainingConfig, home
from kochat.data import pairs
from kochat.data.datasets import Dataset
from kochat.errors import CheckpointError, DataError
from kochat.model import checkpoint, hub
from kochat.runs import registry
from kochat.ui import auth
from kochat.ui.text import say, t
from kochat.ui.widgets import checkpoint_choices

OWN_FILE = "own"
PREFIX = "dataset:"  # of one in the data tab
MAX_MEGABYTES = 50  # of a file of pairs


def data_choices() -> list[tuple]:
    """What is known by name, and a file of one's own."""
    return [(t(f"k_data_{name}"), name) for name in ("emotions", "jobs", "everyday", "ChatbotData", OWN_FILE)]


def data_dropdown(chosen: str, request: gr.Request) -> gr.Dropdown:
    """What can be trained on, for the owner also what is in the data tab; a choice that is gone becomes the first."""
    own = [(key, PREFIX + key) for key in auth.datasets_of(request)]
    choices = [*(own if auth.is_owner(request) else []), *data_choices()]
    there = chosen in [value for _, value in choices]
    return gr.Dropdown(choices=choices, value=chosen if there else data_choices()[0][1])


def snapshot(key: str, request: gr.Request) -> Path:
    """The good rows of a dataset as they are now, in a file: a run that is resumed sees the same. Raises DataError."""
    dataset = Dataset(auth.path_of(key, request))
    if not dataset.counts().good:
        raise DataError("no_good_rows", name=dataset.name)
    return pairs.keep(pairs.as_csv(dataset.pairs()), f"{dataset.name}.csv", home() / "uploads")


def base_choices() -> list[tuple[str, str]]:
    """What can be trained further: every checkpoint here, and KoGPT2 on the Hub."""
    return [*checkpoint_choices(for_chat=False), (f"KoGPT2 ({KOGPT2})", KOGPT2)]


def base_source(base: str) -> str:
    """The folder of a checkpoint in the list, or a Hub id; never a path. Raises CheckpointError."""
    path = checkpoint.list_checkpoints(for_chat=False).get(base)
    if path:
        return str(path)
    if hub.looks_like_hub_id(base):
        return base
    raise CheckpointError("no_checkpoint", path=base)


def free_name(language: str, stem: str = "k_name_stem") -> str:
    """A name that no checkpoint has yet; `stem` is the text that it begins with."""
    stem, taken = say(language, stem), checkpoint.names_taken() | set(registry.reserved())
    return next(name for number in itertools.count(1) if (name := f"{stem}-{number}") not in taken)


def make_config(source: str, base: str, name: str, **settings) -> TrainingConfig:
    """The settings of a run."""
    config = TrainingConfig(data=source, base=base_source(base), output=str(checkpoint.folder_of(name)), **settings)
    if checkpoint.safe_name(name) in checkpoint.names_taken():
        raise CheckpointError("name_taken", name=name)
    return config


def check_upload(upload: str | None) -> None:
    """Raise DataError where no file was uploaded, or one that is too large."""
    if not upload:
        raise DataError("no_upload")
    if Path(upload).stat().st_size > MAX_MEGABYTES * 2**20:
        raise DataError("file_too_large", name=Path(upload).name, most=MAX_MEGABYTES)
