"""What a training tells while it goes on, one small record after the other. Knows nothing else."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Started:
    """The data are read, the model is loaded, the first step comes next."""

    pairs: int  # to train on
    validation_pairs: int
    cut: int  # pairs longer than max_length, of both
    labels: list[str]
    epochs: int
    steps: int  # in all
    parameters: int
    device: str
    precision: str


@dataclass(frozen=True)
class Step:
    """One optimiser step is done."""

    step: int
    steps: int
    loss: float  # mean negative log-likelihood of an answer token, nats
    seconds: float  # since the start


@dataclass(frozen=True)
class Epoch:
    """One pass over the pairs is done."""

    epoch: int
    epochs: int
    loss: float  # over the epoch's steps, nats a token
    validation_loss: float | None
    seconds: float  # since the start
    samples: list[dict]  # question, label, reply


@dataclass(frozen=True)
class Finished:
    """The checkpoint is written."""

    checkpoint: str
    stopped: bool  # asked to stop before the last step
    seconds: float


Event = Started | Step | Epoch | Finished


def to_dict(event: Event) -> dict:
    """An event as JSON can hold it; `type` is its class in lower case."""
    return {"type": type(event).__name__.lower(), **asdict(event)}
