"""Batches out of examples: a seeded order, batches of like length, padding.

Knows examples and tensors; no file and no model.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from kochat.model.prompt import IGNORE, Example, Part

Batch = dict[str, torch.Tensor]

# So many batches are sorted by length together: enough to save padding, few enough to stay random.
BATCHES_IN_A_POOL = 20


def epoch_order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Positions of the examples of each batch of an epoch, in the order they are trained.

    The same arguments give the same order; every example is in exactly one batch.
    """
    rng = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    rng.shuffle(order)
    pool = batch_size * BATCHES_IN_A_POOL
    batches = []
    for start in range(0, len(order), pool):
        like_length = sorted(order[start : start + pool], key=lambda i: lengths[i])
        batches += [like_length[i : i + batch_size] for i in range(0, len(like_length), batch_size)]
    rng.shuffle(batches)
    return batches


def thin(example: Example, share: float, rng: random.Random) -> Example:
    """A copy without some of the question's tokens, each left out with probability `share`."""
    left_out = [part == Part.QUESTION and rng.random() < share for part in example.parts]

    def kept(row: list[int]) -> list[int]:
        return [value for value, is_out in zip(row, left_out, strict=True) if not is_out]

    return replace(example, input_ids=kept(example.input_ids), labels=kept(example.labels), parts=kept(example.parts))


def spell(example: Example, share: float, rng: random.Random, smaller: Callable[[int], list[int]]) -> Example:
    """A copy with some of the question's tokens, each with probability `share`, replaced by what `smaller` gives."""
    ids, labels, parts = [], [], []
    for token, label, part in zip(example.input_ids, example.labels, example.parts, strict=True):
        drawn = part == Part.QUESTION and rng.random() < share
        new = smaller(token) if drawn else [token]
        ids += new
        labels += [label] * len(new)
        parts += [part] * len(new)
    return replace(example, input_ids=ids, labels=labels, parts=parts)


def pad(examples: Sequence[Example], pad_id: int) -> Batch:
    """Examples padded on the right to the longest: int64 tensors of shape (examples, tokens).

    `input_ids`, `attention_mask` (1 on tokens, 0 on padding), `labels` (-100 where no answer is) and
    `parts` (prompt.Part of each token; padding is STRUCTURE); and `rehearsed`, bool of shape (examples,).
    """
    longest = max(len(example.input_ids) for example in examples)

    def padded(rows: list[list[int]], value: int) -> torch.Tensor:
        return torch.tensor([row + [value] * (longest - len(row)) for row in rows])

    return {
        "input_ids": padded([e.input_ids for e in examples], pad_id),
        "attention_mask": padded([[1] * len(e.input_ids) for e in examples], 0),
        "labels": padded([e.labels for e in examples], IGNORE),
        "parts": padded([e.parts for e in examples], int(Part.STRUCTURE)),
        "rehearsed": torch.tensor([e.rehearsed for e in examples]),
    }


def block(ids: Sequence[int], start: int, length: int) -> Example:
    """`length` tokens of running text from `start` on, with loss on all of them (pre-training)."""
    piece = list(ids[start : start + length])
    return Example(piece, piece, [int(Part.ANSWER)] * length, cut=False)
