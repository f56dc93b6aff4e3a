"""How quickly this machine trains: a few steps of the shipped model, timed, for an estimate before the first run.

Knows a checkpoint and torch; no run and no settings.
"""

from __future__ import annotations

import functools
import threading
import time

import torch
from torch.optim import AdamW

from kochat.config import DEFAULT_CHECKPOINT
from kochat.model import checkpoint
from kochat.model.batches import pad
from kochat.model.gpt2 import LossModule
from kochat.model.prompt import Prompt

PAIRS, STEPS = 16, 2  # after one step that is not timed: it takes memory and wakes the threads


_measuring = threading.Lock()  # two at once would take each other for a slow machine


def seconds_a_visit() -> float:
    """What learning from one pair once takes here, in seconds for each parameter of a model.

    Measured once in a process, beside whatever else the machine does then; the random numbers of others stay as they
    are. Raises CheckpointError where the shipped checkpoint cannot be read.
    """
    with _measuring:
        return _measured()


@functools.cache
def _measured() -> float:
    base = checkpoint.load(DEFAULT_CHECKPOINT, as_base=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    prompt = Prompt(base.tokenizer, base.card.max_length, base.card.strip_punctuation)
    examples = [prompt.encode_example(*pair) for pair in base.pairs[:PAIRS]]
    batch = {name: tensor.to(device) for name, tensor in pad(examples, base.tokenizer.pad_token_id).items()}
    module = LossModule(base.model.to(device), label_loss=1.0)
    optimizer = AdamW(module.parameters(), lr=0.0, fused=True)
    with torch.random.fork_rng():
        for step in range(1 + STEPS):
            if step == 1:
                start = time.perf_counter()
            module(batch).objective.backward()
            optimizer.step()
            optimizer.zero_grad()
        module(batch).objective.item()  # a GPU is done by then
    return (time.perf_counter() - start) / (STEPS * len(examples)) / base.model.num_parameters()
