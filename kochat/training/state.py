"""The saved state of a training: all that its next step depends on, in a folder a save, the newest counts.

`STATE/EPOCH-BATCHES/` holds the model, optimisers, schedules and random states (one file a process) as accelerate
writes them, position.json (below) and, where the best epoch is to be kept, its weights. Knows the trainer and files.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors.torch import load_file, save_file

from kochat.data.splits import SPLIT_VERSION
from kochat.errors import RunError
from kochat.files import atomic_folder
from kochat.training import processes
from kochat.training.events import best_epoch
from kochat.training.trainer import StateDict, Trainer

BEST = "best.safetensors"


@dataclass
class Position:
    """Where a training is, and what it has seen of the epoch that it is in."""

    data_sha256: str
    base_sha256: str = ""  # of the weights that it began with, where their card says
    precision: str = ""  # that it began with; "auto" may find another one the next time
    epoch: int = 1
    batches: int = 0  # of this epoch that are done
    answer_loss: float = 0.0  # summed over them, nats
    answer_tokens: int = 0
    tokens: int = 0
    epoch_seconds: float = 0.0  # spent in their steps
    seconds: float = 0.0  # of the whole training
    history: list[dict] = field(default_factory=list)  # epoch, loss, validation_loss, what was asked (see events.Epoch)
    before: dict = field(default_factory=dict)  # what the base was asked before the first step
    split: int = 1  # version of the split, see splits.py; states of before say none

    def next_epoch(self) -> None:
        """Begin to count anew."""
        self.epoch, self.batches = self.epoch + 1, 0
        self.answer_loss, self.answer_tokens, self.tokens, self.epoch_seconds = 0.0, 0, 0, 0.0

    def best_epoch(self) -> int | None:
        """The epoch with the lowest validation loss, the first of equals."""
        return best_epoch(self.history)


def save(folder: Path, trainer: Trainer, position: Position, best: StateDict | None) -> None:
    """Write the state as it is now, then remove older ones; every process of a training calls it.

    Raises CheckpointError where the disk is full.
    """
    output = folder / f"{position.epoch:06d}-{position.batches:09d}"  # in the order of time
    if processes.from_main(output.exists):
        return
    with contextlib.ExitStack() as stack:
        part = processes.from_main(lambda: _begin(output, stack))
        trainer.save(part)
        if processes.is_main():
            (part / "position.json").write_text(json.dumps(asdict(position)), "utf-8")
            if best is not None:
                save_file(best, part / BEST)
    if processes.is_main():
        for older in _all(folder)[:-1]:
            shutil.rmtree(older)


def _begin(output: Path, stack: contextlib.ExitStack) -> Path:
    for left in output.parent.glob(".*.part-*"):  # by a process that was killed, perhaps at another step
        shutil.rmtree(left)
    return stack.enter_context(atomic_folder(output))


def newest(folder: Path) -> Path | None:
    """The state to go on from, or None."""
    return next(iter(_all(folder)[-1:]), None)


def split_version(folder: Path | None) -> int:
    """The version of the split that a saved training began with; for a new one the newest."""
    if folder is None:
        return SPLIT_VERSION
    return json.loads((folder / "position.json").read_text("utf-8")).get("split", 1)


def read_position(folder: Path, begun: Position) -> Position:
    """The position of a state. Raises RunError where `begun` has other data or another base."""
    position = Position(**json.loads((folder / "position.json").read_text("utf-8")))
    if (position.data_sha256, position.base_sha256) != (begun.data_sha256, begun.base_sha256):
        raise RunError("data_changed")
    return position


def load(folder: Path, trainer: Trainer) -> StateDict | None:
    """Bring the trainer, and the random numbers of this process, to a state; the best weights are returned."""
    trainer.load(folder)
    return load_file(folder / BEST) if (folder / BEST).is_file() else None


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())
