"""How a checkpoint learns what was taught in the chat without forgetting the rest: the settings of such a training.

Knows settings only. Each taught pair is learned beside earlier pairs of the checkpoint, drawn anew in every epoch
(rehearsal: Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal").
"""

from __future__ import annotations

from .config import TrainingConfig

# Tried with kochat-mini: five taught answers come back word for word after 20 epochs already, while the negative
# log-likelihood on questions never trained on rises by about one percent. With one pair an epoch is a single step.
REHEARSAL = 15  # earlier pairs beside each taught one
LEARNING_RATE = 6e-4
PAIRS_TO_SEE = 150
FEWEST_EPOCHS, MOST_EPOCHS = 20, 40


def config_for(data: str, rows: int, base: str, output: str) -> TrainingConfig:
    """The settings to train `base` further on `data`, a file of `rows` taught pairs, until it says them by heart."""
    return TrainingConfig(
        data=data,
        base=base,
        output=output,
        epochs=max(FEWEST_EPOCHS, min(MOST_EPOCHS, PAIRS_TO_SEE // rows)),
        batch_size=32,
        learning_rate=LEARNING_RATE,
        rehearsal=REHEARSAL,
        keep_labels=True,
        label_loss=1.0,  # so that 자동 reads the taught label
        validation_share=0.0,
        keep="last",
    )
