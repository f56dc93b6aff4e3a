"""What is read in a question before it is answered. Knows nothing of who reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """What a checkpoint reads in a question: the probability of each label, and how surprising it is.

    `surprise` is in nats a byte (familiarity.py); `meant` is the checkpoint's own question that is asked in other
    words (matching.py), if any. `unfamiliar` is None where the checkpoint can tell by neither.
    """

    labels: dict[str, float]
    surprise: float
    unfamiliar: bool | None
    meant: str | None = None
