"""The settings of a training that follow from the number of its pairs, where nobody sets them.

Chosen with kochat-mini on the shops and samples of `benchmarks/shops/dev` (checkpoints/LOG.md has the figures). Few
pairs need many passes, no dropout, and many of the base's earlier pairs beside each: then 12 and 120 pairs alike are
said word for word while the base's validation answers become hardly less likely. Knows settings and cards; no data.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from kochat.config import TrainingConfig
from kochat.data.splits import MIN_PAIRS_TO_WITHHOLD
from kochat.model.cards import Card

MAX_EPOCHS, MIN_EPOCHS = 25, 3
MAX_REHEARSAL = 16
# Wider models take smaller steps.
MINI_WIDTH, MINI_RATE = 224, 1e-3
# What is done beside the visits to the pairs, counted in such visits: the base is asked at rehearsed pairs, and
# replies to own and to sample questions are made at most about 20 times (probes.py).
TEACHER, A_REPLY = 1 / 3, 1.5
SAMPLE_REPLIES, OWN_REPLIES, TIMES = 30, 100, 20
# LoRA's best rate is so many times that of training all weights (Schulman et al. 2025, "LoRA Without Regret").
LORA_RATE = 10
READY = 10.0  # seconds, about, until torch and the base are loaded


def num_epochs(num_pairs: int) -> int:
    """Passes over the pairs: MAX_EPOCHS up to MIN_PAIRS_TO_WITHHOLD pairs, then as the inverse of the square root."""
    return max(MIN_EPOCHS, round(MAX_EPOCHS * min(1.0, math.sqrt(MIN_PAIRS_TO_WITHHOLD / max(1, num_pairs)))))


def num_rehearsed(num_pairs: int) -> int:
    """Earlier pairs of the base beside each pair: 12 pairs take 12, 39 take 6, 120 take 4, and many 1."""
    return max(1, min(MAX_REHEARSAL, round(40 / math.sqrt(max(1, num_pairs)))))


def is_by_pairs(config: TrainingConfig, base: Card) -> bool:
    """Whether the settings follow from the number of pairs: asked for, or "auto" with a base that answers already.

    Any other base has settings of its own, or the notebook's.
    """
    return config.recipe == "pairs" or (config.recipe == "auto" and bool(base.labels))


def filled(
    config: TrainingConfig, base: Card, num_pairs: int, has_earlier: bool, width: int = MINI_WIDTH
) -> TrainingConfig:
    """A copy of `config` in which what nobody set is filled.

    `base` is the card of the base, of a model `width` wide; `has_earlier`: whether it keeps the pairs that it was
    trained on.
    """
    is_rate_open = config.learning_rate is None
    if is_by_pairs(config, base):
        config = _with(config, **_by_pairs(num_pairs, has_earlier, width))
    config = _with(config, rehearsal=0, keep_labels=False, label_loss=0.2).with_defaults(base.defaults)
    if config.lora_rank and is_rate_open:
        config = replace(config, learning_rate=float(f"{min(1.0, LORA_RATE * config.learning_rate):.2g}"))
    return config


def _by_pairs(num_pairs: int, has_earlier: bool, width: int) -> dict[str, Any]:
    settings = {
        "epochs": num_epochs(num_pairs),
        "learning_rate": float(f"{MINI_RATE * min(1.0, MINI_WIDTH / width):.2g}"),
        "rehearsal": num_rehearsed(num_pairs) if has_earlier else 0,
        "keep_labels": has_earlier,
    }
    # Few pairs are learned whole, so their labels are too: what 자동 reads decides which of the answers is given.
    return settings | ({"dropout": 0.0, "label_loss": 1.0} if num_pairs < MIN_PAIRS_TO_WITHHOLD else {})


def _with(config: TrainingConfig, **settings: Any) -> TrainingConfig:
    """A copy with these settings where they are None."""
    return replace(config, **{name: value for name, value in settings.items() if getattr(config, name) is None})


def learning(num_pairs: int, rehearsed: int, epochs: int, repeats: int = 1) -> float:
    """The work of all steps of a training, in visits to one pair; `rehearsed` are the earlier pairs of an epoch."""
    return epochs * (num_pairs * repeats + rehearsed * (1 + TEACHER))


def asking(num_pairs: int, epochs: int) -> float:
    """The work of what a training asks before, between and after its epochs, in such visits."""
    times = epochs // -(-epochs // TIMES) + 2
    return times * (min(num_pairs, OWN_REPLIES) + SAMPLE_REPLIES) * A_REPLY


def seconds(config: TrainingConfig, num_pairs: int, parameters: float, a_visit: float) -> float:
    """About how long a training with these settings, all filled, takes; `a_visit` in seconds for each parameter."""
    work = learning(num_pairs, num_pairs * config.rehearsal, config.epochs, config.repeats)
    work += asking(num_pairs, config.epochs)
    return READY + work * a_visit * parameters
