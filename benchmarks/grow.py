"""A deeper base out of a checkpoint: `python -m benchmarks.grow CHECKPOINT OUTPUT --times N`.

For the question whether more parameters would help (checkpoints/LOG.md). Behind each block come copies of it whose
last matrices are zero, so that the grown model says exactly what the small one says until it is trained further
(block expansion: Wu et al. 2024, "LLaMA Pro").
"""

import argparse
import copy

import torch
from transformers import GPT2LMHeadModel

from kochat.model import checkpoint
from kochat.model.cards import Card


def grow(model: GPT2LMHeadModel, times: int) -> GPT2LMHeadModel:
    """A model with `times` as many blocks that computes the same."""
    config = copy.deepcopy(model.config)
    config.n_layer *= times
    grown = GPT2LMHeadModel(config)
    weights = {name: value for name, value in model.state_dict().items() if ".h." not in name}
    for i, block in enumerate(model.transformer.h):
        for copied in range(times):
            for name, value in block.state_dict().items():
                nothing = copied > 0 and ".c_proj." in name
                weights[f"transformer.h.{i * times + copied}.{name}"] = torch.zeros_like(value) if nothing else value
    grown.load_state_dict(weights)
    return grown


def main() -> None:
    """Read, grow, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("output")
    parser.add_argument("--times", type=int, default=3)
    chosen = parser.parse_args()
    loaded = checkpoint.load(chosen.checkpoint, as_base=True)
    card = Card(max_length=loaded.card.max_length, strip_punctuation=loaded.card.strip_punctuation)
    checkpoint.save(chosen.output, grow(loaded.model, chosen.times), loaded.tokenizer, card)


if __name__ == "__main__":
    main()
