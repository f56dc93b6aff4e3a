"""Models to measure: KoGPT2's shape with random weights, the same fine-tuned on some hundred pairs, kochat-mini."""

from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from kochat.config import DEFAULT_CHECKPOINT, TrainingConfig
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.tokenizer import load_tokenizer
from kochat.training.fine_tuning import fine_tune

CACHE = Path(__file__).resolve().parent / ".cache"
VOCABULARY = 51_200
MINI = DEFAULT_CHECKPOINT


def kogpt2_shaped() -> Path:
    """125 M random weights; kochat-mini's tokenizer, whose 6,400 tokens are the first of the 51,200."""
    folder = CACHE / "kogpt2-shaped"
    if not folder.is_dir():
        torch.manual_seed(0)
        tokenizer = load_tokenizer(MINI)
        config = GPT2Config(
            vocab_size=VOCABULARY,
            activation_function="gelu_new",  # as KoGPT2's own config says
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        checkpoint.save(folder, GPT2LMHeadModel(config), tokenizer, Card())
    return folder


def fine_tuned(epochs: int = 20) -> Path:
    """The same, fine-tuned on the first 120 pairs of the shipped sample (minutes, once)."""
    folder = CACHE / "fine-tuned"
    if not folder.is_dir():
        settings = {"learning_rate": 5e-4, "rows": 120, "validation_share": 0.0, "keep": "last", "dropout": 0.0}
        config = TrainingConfig(
            data="emotions", base=str(kogpt2_shaped()), output=str(folder), epochs=epochs, **settings
        )
        for event in fine_tune(config, state=CACHE / "state"):
            if type(event).__name__ == "Epoch":
                print(f"epoch {event.epoch}/{event.epochs}: loss {event.loss:.3f}, {event.seconds:.0f} s", flush=True)
    return folder
