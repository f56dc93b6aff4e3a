"""provisional"""

from .config import TrainingConfig


def config_for(data: str, base: str, output: str) -> TrainingConfig:
    return TrainingConfig(
        data=data,
        base=base,
        output=output,
        rehearsal=15,
        keep_labels=True,
        epochs=40,
        learning_rate=6e-4,
        batch_size=32,
        validation_share=0.0,
        keep="last",
        label_loss=1.0,
    )
