"""What quicker training changes: `python -m benchmarks.losses [--data FILE] [--rows N] [--epochs N] [--seeds N]`.

The validation loss after the same epochs of the same pairs, by a plain loop in float32 (batches as they come,
padded to the longest, transformers' own loss over all positions) and by kochat in float32 and in bfloat16, where
batches are of like length and logits are made only where there is loss.
"""

import argparse
import random
import statistics
import tempfile
from pathlib import Path

import torch
from transformers import get_scheduler

from kochat.config import TrainingConfig
from kochat.model import checkpoint
from kochat.model.batches import pad
from kochat.model.gpt2 import set_dropout
from kochat.model.prompt import Prompt
from kochat.training.events import Epoch
from kochat.training.examples import Examples, read_split
from kochat.training.fine_tuning import fine_tune

from .shapes import MINI

KEYS = ("input_ids", "attention_mask", "labels")


def plain(config: TrainingConfig) -> float:
    """The validation loss after a plain loop, nats a token."""
    loaded = checkpoint.load(config.base, as_base=True)
    model, pad_id = loaded.model, loaded.tokenizer.pad_token_id
    examples = Examples(read_split(config), Prompt(loaded.tokenizer, config.max_length), config, pad_id)
    set_dropout(model, config.dropout)
    optimizer = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    steps = config.epochs * examples.batches_an_epoch()
    schedule = get_scheduler(config.schedule, optimizer, round(steps * config.warmup_share), steps)
    torch.manual_seed(config.seed)
    order, rng = list(examples.training), random.Random(config.seed)
    for _ in range(config.epochs):
        rng.shuffle(order)
        for start in range(0, len(order), config.batch_size):
            batch = pad(order[start : start + config.batch_size], pad_id)
            model.train()(**{key: batch[key] for key in KEYS}).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    total = tokens = 0
    with torch.inference_mode():
        for batch in examples.validation_batches():
            counted = int((batch["labels"] != -100).sum())
            total += model.eval()(**{key: batch[key] for key in KEYS}).loss.item() * counted
            tokens += counted
    return total / tokens


def ours(config: TrainingConfig) -> float:
    """The validation loss after kochat's training, nats a token."""
    return [event for event in fine_tune(config) if isinstance(event, Epoch)][-1].validation_loss


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="emotions")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    found: dict[str, list[float]] = {"a plain loop, float32": [], "kochat, float32": [], "kochat, bfloat16": []}
    for seed in range(chosen.seeds):
        for name, losses in found.items():
            with tempfile.TemporaryDirectory() as folder:
                config = TrainingConfig(
                    data=chosen.data,
                    base=str(MINI),
                    output=str(Path(folder) / "out"),
                    rows=chosen.rows,
                    seed=seed,
                    epochs=chosen.epochs,
                    batch_size=32,
                    learning_rate=1e-3,
                    max_length=40,
                    strip_punctuation=False,
                    validation_share=0.2,
                    test_share=0,
                    dropout=0.1,
                    label_loss=0.0,
                    label_dropout=0.0,
                    sample_questions=(),
                    keep="last",
                    precision="bfloat16" if "bfloat16" in name else "float32",
                )
                losses.append(plain(config) if name.startswith("a plain") else ours(config))
    print("| | validation loss of each seed | mean | of the plain loop's |\n|---|---|---|---|")
    first = statistics.mean(found["a plain loop, float32"])
    for name, losses in found.items():
        mean = statistics.mean(losses)
        print(f"| {name} | {', '.join(f'{loss:.4f}' for loss in losses)} | {mean:.4f} | {mean / first - 1:+.2%} |")


if __name__ == "__main__":
    main()
