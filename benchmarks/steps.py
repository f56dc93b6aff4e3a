"""Fine-tuning: `python -m benchmarks.steps [kogpt2|mini] [--pairs N] [--rounds N]`: seconds an epoch of each.

All train the same pairs in batches of 32 with AdamW and no dropout: the notebook's loop (padded to 40 tokens,
logits and loss everywhere, -1e18 where there is none), the Hugging Face Trainer in the precisions given
(lengths grouped, padded to the longest of a batch), and kochat in float32, in bfloat16 and as it chooses.
"""

import argparse
import random
import tempfile
from pathlib import Path

import torch
from torch.nn import functional
from transformers import Trainer as HuggingFaceTrainer
from transformers import TrainingArguments
from transformers.utils import logging

from kochat.config import TrainingConfig
from kochat.data import pairs
from kochat.model import checkpoint
from kochat.model.batches import epoch_order, pad
from kochat.model.prompt import IGNORE, Prompt
from kochat.training.trainer import Trainer

from .shapes import MINI, kogpt2_shaped
from .timing import interleaved, print_table

MAX_LENGTH, BATCH, RATE = 40, 32, 3e-5


def examples_of(folder: Path, count: int) -> tuple[list, int]:
    """Encoded pairs of the sample, and the id of <pad>."""
    loaded = checkpoint.load(folder, as_base=True)
    prompt = Prompt(loaded.tokenizer, MAX_LENGTH)
    rows = pairs.read_pairs("emotions")[["Q", "A", "label"]].itertuples(index=False, name=None)
    return [prompt.encode_example(*row) for row in list(rows)[:count]], loaded.tokenizer.pad_token_id


def model_of(folder: Path):
    """A fresh model for each contender, without dropout so that all compute the same."""
    model = checkpoint.load(folder, as_base=True).model
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model.train()


def notebook(folder: Path, examples: list, pad_id: int):
    """One epoch of the notebook's training cell, our writing of it."""
    model = model_of(folder)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)

    def epoch():
        order = list(range(len(examples)))
        random.Random(0).shuffle(order)
        for start in range(0, len(order), BATCH):
            some = [examples[i] for i in order[start : start + BATCH]]
            fill = [MAX_LENGTH - len(one.input_ids) for one in some]
            ids = torch.tensor([one.input_ids + [pad_id] * n for one, n in zip(some, fill, strict=True)])
            target = torch.tensor([one.labels[1:] + [IGNORE] * (n + 1) for one, n in zip(some, fill, strict=True)])
            is_answer = target != IGNORE
            logits = model(ids).logits
            masked = torch.where(is_answer[..., None], logits, -1e18 * torch.ones_like(logits))
            losses = functional.cross_entropy(masked.transpose(2, 1), target.clamp(min=0), reduction="none")
            loss = losses.sum() / is_answer.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def hugging_face(folder: Path, examples: list, pad_id: int, bf16: bool):
    """One epoch of the Hugging Face Trainer."""
    rows = [{"input_ids": e.input_ids, "labels": e.labels, "length": len(e.input_ids)} for e in examples]
    model = model_of(folder)

    def collate(some: list[dict]) -> dict[str, torch.Tensor]:
        longest = max(len(one["input_ids"]) for one in some)

        def padded(name: str, value: int) -> torch.Tensor:
            return torch.tensor([one[name] + [value] * (longest - len(one[name])) for one in some])

        mask = torch.tensor([[1] * len(e["input_ids"]) + [0] * (longest - len(e["input_ids"])) for e in some])
        return {"input_ids": padded("input_ids", pad_id), "labels": padded("labels", IGNORE), "attention_mask": mask}

    def epoch():
        with tempfile.TemporaryDirectory() as output:
            arguments = TrainingArguments(
                output,
                num_train_epochs=1,
                per_device_train_batch_size=BATCH,
                learning_rate=RATE,
                bf16=bf16,
                train_sampling_strategy="group_by_length",
                length_column_name="length",
                remove_unused_columns=False,
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                use_cpu=True,
            )
            HuggingFaceTrainer(model, arguments, train_dataset=rows, data_collator=collate).train()

    return epoch


def ours(folder: Path, examples: list, pad_id: int, precision: str):
    """One epoch of kochat's Trainer."""
    settings = {"precision": precision, "learning_rate": RATE, "dropout": 0.0}
    trainer = Trainer(model_of(folder), TrainingConfig(data="emotions", output="x", **settings), steps=10_000)
    lengths = [len(one.input_ids) for one in examples]

    def epoch():
        for batch in epoch_order(lengths, BATCH, seed=0, epoch=1):
            trainer.step(pad([examples[i] for i in batch], pad_id))

    return epoch


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", nargs="?", choices=("kogpt2", "mini"), default="kogpt2")
    parser.add_argument("--pairs", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder = kogpt2_shaped() if chosen.shape == "kogpt2" else MINI
    examples, pad_id = examples_of(folder, chosen.pairs)
    contenders = {
        "kochat": ours(folder, examples, pad_id, "auto"),
        "kochat, float32": ours(folder, examples, pad_id, "float32"),
        "kochat, bfloat16": ours(folder, examples, pad_id, "bfloat16"),
        "Trainer, float32": hugging_face(folder, examples, pad_id, bf16=False),
        "Trainer, bfloat16": hugging_face(folder, examples, pad_id, bf16=True),
        "the notebook's loop": notebook(folder, examples, pad_id),
    }
    times = interleaved(contenders, chosen.rounds)
    print_table(f"{chosen.shape}, {len(examples)} pairs", times, "seconds an epoch", 1.0, "kochat")


if __name__ == "__main__":
    main()
