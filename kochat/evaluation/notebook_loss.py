"""The notebook's loss beside ours, of one pair: both numbers, what makes them differ, and whether they teach the same.

Knows a model and a prompt. The mathematics is that of tests/model/test_gpt2.py, which proves it for a whole batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from kochat.model.batches import pad
from kochat.model.checkpoint import Checkpoint
from kochat.model.gpt2 import loss
from kochat.model.prompt import IGNORE, Example, Prompt

LENGTH = 40  # tokens; the notebook pads every example to it
NEGATIVE = -1e18  # the notebook's Sneg


@dataclass(frozen=True)
class TwoLosses:
    """Of one pair what both losses are, in nats, and the directions of their gradients."""

    ours: float  # mean over the answer's tokens and their </s>
    notebook: float  # sum over all LENGTH positions, divided by those that count
    answer: float  # summed over the answer's tokens: what both have in common
    answer_tokens: int  # their </s> counted
    masked: int  # positions whose logits the notebook overwrites
    a_masked: float  # what each of these costs: ln of the size of the vocabulary
    pad_target: float  # what the <pad> costs that the notebook wants after </s>
    masked_gradient: float  # the largest gradient of a logit that was overwritten
    cosine: float  # of the notebook's gradient without its pad target and ours
    cosine_with_pad: float

    @property
    def counted(self) -> int:
        """The positions that the notebook counts: the answer's tokens, and one for its <pad>."""
        return self.answer_tokens + 1


def compare(base: Checkpoint, question: str, answer: str, label: str) -> TwoLosses:
    """Both losses of a pair under a checkpoint loaded as a base. Raises DataError where the label has no room."""
    model, pad_id = base.model.eval(), base.tokenizer.pad_token_id
    example = Prompt(base.tokenizer, LENGTH).encode_example(question, answer, label)
    ours = loss(model, pad([example], pad_id))
    ids, is_counted, targets = _as_the_notebook_has_it(example, pad_id)
    logits = model(ids, attention_mask=torch.ones_like(ids)).logits[0]  # the notebook has no mask of padding
    losses = functional.cross_entropy(
        torch.where(is_counted[:, None], logits, torch.full_like(logits, NEGATIVE)), targets, reduction="none"
    )
    is_pad_target = is_counted & (targets == pad_id)
    weights = list(model.parameters())
    whole = losses.sum() / is_counted.sum()
    without = losses.masked_fill(is_pad_target, 0).sum() / is_counted.sum()
    own, plain = _gradient(ours.objective, weights), _gradient(without, weights)
    with_pad, on_logits = _gradient(whole, weights, logits)
    return TwoLosses(
        ours=ours.objective.item(),
        notebook=whole.item(),
        answer=ours.answer.item(),
        answer_tokens=int(ours.tokens),
        masked=int((~is_counted).sum()),
        a_masked=math.log(logits.shape[-1]),
        pad_target=losses[is_pad_target].sum().item(),
        masked_gradient=on_logits[~is_counted].abs().max().item(),
        cosine=functional.cosine_similarity(own, plain, dim=0).item(),
        cosine_with_pad=functional.cosine_similarity(own, with_pad, dim=0).item(),
    )


def _as_the_notebook_has_it(example: Example, pad_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids of shape (1, LENGTH); of each position whether it counts, and the token that it is to predict."""
    ids = example.input_ids + [pad_id] * (LENGTH - len(example.input_ids))
    first = next(i for i, target in enumerate(example.labels) if target != IGNORE) - 1  # <sys> predicts it
    is_counted = [first <= i < len(example.input_ids) for i in range(LENGTH)]
    return torch.tensor([ids]), torch.tensor(is_counted), torch.tensor([*ids[1:], pad_id])


def _gradient(value: torch.Tensor, weights: list[torch.Tensor], logits: torch.Tensor | None = None):
    """The gradient of a loss as one long vector; with `logits` theirs beside it."""
    more = [] if logits is None else [logits]
    found = torch.autograd.grad(value, [*weights, *more], retain_graph=True)
    vector = torch.cat([one.flatten() for one in found[: len(weights)]]).double()  # millions of products are summed
    return vector if logits is None else (vector, found[-1])
