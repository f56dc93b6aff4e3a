"""What a training tells while it goes on, one small record after the other. Knows nothing else."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

# The last three of a run that is trained on another machine.
PREPARING = (
    "starting",
    "reading_data",
    "loading_model",
    "asking_base",
    "uploading",
    "waiting_for_job",
    "waiting_anew",  # since there is no saved state to go on from
)


@dataclass(frozen=True)
class Preparing:
    """It gets ready for the first step, and what it does now takes a moment."""

    what: str  # one of PREPARING


@dataclass(frozen=True)
class Started:
    """The data are read, the model is loaded and asked, the next step comes next.

    The last four are of the base, before the first step, as an Epoch has them.
    """

    pairs: int  # to train on
    validation_pairs: int
    test_pairs: int
    near_duplicates: int  # questions that would be withheld but for a near-duplicate in another part
    withheld: dict[str, list[str]]  # the first questions of "validation" and of "test"
    test_known_to_base: int  # questions of the test part that are among the kept pairs of the base
    cut: int  # pairs longer than max_length, of training and validation
    rehearsed: int  # earlier pairs of the base beside them in each epoch; 0 also where the base has none
    labels: list[str]
    label_names: dict[str, str]  # for display, of some of them
    data_sha256: str
    epochs: int
    steps: int  # in all
    keep: str  # which epoch becomes the checkpoint: best or last
    parameters: int
    device: str
    precision: str
    at_step: int  # the step that a saved state goes on from; 0 for a new start
    learning_rate: float
    rehearsal: int  # as TrainingConfig has it
    samples: list[dict[str, Any]] = field(default_factory=list)
    own_right: int | None = None
    own_asked: int | None = None
    base_nll: float | None = None


@dataclass(frozen=True)
class Step:
    """One optimiser step is done."""

    step: int
    steps: int
    loss: float  # mean negative log-likelihood of an answer token, nats
    seconds: float  # of training so far, pauses left out


@dataclass(frozen=True)
class Epoch:
    """One pass over the pairs is done."""

    epoch: int
    epochs: int
    loss: float  # over the epoch's steps, nats a token
    validation_loss: float | None
    perplexity: float  # of a token of the validation answers; without validation of the training answers
    tokens_per_second: float  # trained, padding left out
    seconds: float
    samples: list[dict[str, Any]]  # question, label, reply, answer: what the data answer, or None
    own_right: int | None = None  # own answers said word for word; None where it was not asked after this epoch
    own_asked: int | None = None  # of so many
    base_nll: float | None = None  # of the base's validation answers, nats a character, </s> counting as one


@dataclass(frozen=True)
class Saved:
    """The state is on disk: a training that ends now can go on from here."""

    step: int


@dataclass(frozen=True)
class Stopped:
    """Asked to, it has ended before its last step."""

    step: int
    seconds: float


@dataclass(frozen=True)
class Finished:
    """The checkpoint is written."""

    checkpoint: str
    epoch: int | None  # whose weights it has; None: ended within an epoch
    seconds: float
    own_right: int | None = None  # the last three as an Epoch has them, of the weights that were kept
    own_asked: int | None = None
    base_nll: float | None = None


Event = Preparing | Started | Step | Epoch | Saved | Stopped | Finished


def to_dict(event: Event) -> dict:
    """An event as JSON can hold it; `type` is its class in lower case."""
    return {"type": type(event).__name__.lower(), **asdict(event)}


def best_epoch(history: list[dict]) -> int | None:
    """Of epochs with their losses the one with the lowest validation loss; None without validation."""
    validated = [one for one in history if one["validation_loss"] is not None]
    return min(validated, key=lambda one: one["validation_loss"])["epoch"] if validated else None
