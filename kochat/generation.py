"""Greedy decoding with a key-value cache, batched, one step at a time; and texts out of ids.

Knows a model, token ids and a tokenizer; not what a question or a label is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from transformers import DynamicCache, GPT2LMHeadModel, PreTrainedTokenizerFast

MAX_REPLY_TOKENS = 128
# With a strength above 0 only tokens at least so likely, relative to the likeliest one, may be chosen.
PLAUSIBLE = 0.1


@torch.inference_mode()
def greedy_steps(
    model: GPT2LMHeadModel,
    prompts: Sequence[Sequence[int]],
    *,
    eos_id: int,
    pad_id: int,
    max_tokens: int = MAX_REPLY_TOKENS,
    unlabelled: Sequence[Sequence[int]] | None = None,
    strength: float = 0.0,
) -> Iterator[list[int | None]]:
    """The next token of every prompt, step by step; None for those that have ended.

    A prompt ends with `eos_id` (which is not yielded), after `max_tokens`, or where the model has no
    position left for it. With `unlabelled`, the same prompts without their label, the label is
    strengthened: log p(token | label) + strength * (log p(token | label) - log p(token | no label)).
    """
    rows = [list(prompt) for prompt in prompts]
    strong = strength > 0 and unlabelled is not None
    if strong:
        rows += [list(prompt) for prompt in unlabelled]
    longest, positions_in_all = max(map(len, rows)), model.config.n_positions
    # As many tokens for each as it would get alone, however long the others are.
    room = [positions_in_all - max(map(len, rows[i :: len(prompts)])) for i in range(len(prompts))]
    device = model.device
    ids = torch.tensor([[pad_id] * (longest - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    alive = [True] * len(prompts)
    for step in range(min(max_tokens, max(room))):
        hidden = model.transformer(
            ids, past_key_values=cache, attention_mask=mask, position_ids=positions, use_cache=True
        ).last_hidden_state
        logits = model.lm_head(hidden[:, -1]).float()
        chosen = (_strengthen(logits, strength) if strong else logits).argmax(-1)
        tokens = chosen.tolist()
        alive = [was and step < left and t != eos_id for was, left, t in zip(alive, room, tokens, strict=True)]
        if not any(alive):
            return
        yield [token if is_alive else None for token, is_alive in zip(tokens, alive, strict=True)]
        ids = (chosen.repeat(2) if strong else chosen)[:, None]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        positions = (positions[:, -1:] + 1).clamp(max=positions_in_all - 1)


def _strengthen(logits: torch.Tensor, strength: float) -> torch.Tensor:
    labelled, unlabelled = logits.log_softmax(-1).chunk(2)
    scores = labelled + strength * (labelled - unlabelled)
    likely = labelled >= labelled.max(-1, keepdim=True).values + math.log(PLAUSIBLE)
    return scores.masked_fill(~likely, -math.inf)


def generate(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[Sequence[int]], **options
) -> list[str]:
    """Whole replies to `prompts`, decoded together; `options` as in `greedy_steps`."""
    if not prompts:
        return []
    replies: list[list[int]] = [[] for _ in prompts]
    steps = greedy_steps(model, prompts, eos_id=tokenizer.eos_token_id, pad_id=tokenizer.pad_token_id, **options)
    for tokens in steps:
        for reply, token in zip(replies, tokens, strict=True):
            if token is not None:
                reply.append(token)
    return ["".join(text_pieces(tokenizer, reply)) for reply in replies]


def text_pieces(tokenizer: PreTrainedTokenizerFast, tokens: Iterable[int]) -> Iterator[str]:
    """The text of a stream of token ids, piece by piece as soon as each is certain.

    Never half a syllable (a character whose bytes are several tokens waits for the last, and bytes
    that make no character are left out), never a space lost between pieces, none at the ends. The
    join is the reply.
    """
    structural = set(tokenizer.all_special_ids)
    ids: list[int] = []
    shown = ""
    for token in tokens:
        # Not `skip_special_tokens`: in KoGPT2's file emoticons may be flagged special too.
        if token in structural:
            continue
        ids.append(token)
        certain = tokenizer.decode(ids).lstrip().rstrip("\ufffd").rstrip()
        if len(certain) > len(shown):
            piece = certain[len(shown) :].replace("\ufffd", "")
            shown = certain
            if piece:
                yield piece
