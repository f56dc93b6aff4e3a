"""What the next token is chosen from, and the draw: guidance by the label, temperature, top-p.

Knows scores, (n, vocabulary), of which only the differences within a row count; not whose they are.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kochat.errors import ReplyError

if TYPE_CHECKING:
    from torch import Tensor

MAX_TEMPERATURE = 2.0
NUM_SEEDS = 2**32
# With a strength above 0 only tokens at least so likely, relative to the likeliest one, may be chosen.
PLAUSIBLE = 0.1
# Nearly every nucleus is among so many likeliest tokens, and sorting a whole vocabulary takes as long as a pass.
HEAD = 128


class Sampling(NamedTuple):
    """How the tokens of a reply are drawn; at temperature 0 they are not: each is the likeliest one (greedy).

    Scores are divided by `temperature`. Of the softmax only the nucleus counts, the smallest set of likeliest tokens
    whose probability reaches `top_p` (Holtzman et al. 2020). What is drawn depends on `seed` and on nothing else.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def nth(self, i: int) -> Sampling:
        """The sampling of the i-th of several replies: with the seed that is larger by i."""
        return self._replace(seed=(self.seed + i) % NUM_SEEDS)


GREEDY = Sampling()


def checked(temperature: float = 0.0, top_p: float = 1.0, seed: int | None = None) -> Sampling:
    """The Sampling of these values, with a fresh seed where it is None and something is drawn. Raises ReplyError."""
    if not (isinstance(temperature, (int, float)) and 0 <= temperature <= MAX_TEMPERATURE):
        raise ReplyError("bad_temperature", value=temperature, most=MAX_TEMPERATURE)
    if not (isinstance(top_p, (int, float)) and 0 < top_p <= 1):
        raise ReplyError("bad_top_p", value=top_p)
    if seed is None:
        seed = secrets.randbelow(NUM_SEEDS) if temperature > 0 else 0
    if not (isinstance(seed, int) and 0 <= seed < NUM_SEEDS):
        raise ReplyError("bad_seed", value=seed, most=NUM_SEEDS - 1)
    return Sampling(temperature, top_p, seed)


def waits(seed: int, position: int, vocabulary: int) -> np.ndarray:
    """Numbers from the exponential distribution, one for each token, that draw the token at a position of the sequence.

    Computed from seed and position alone (Philox, a counter-based generator; Salmon et al. 2011), so it does not
    matter which other numbers were asked for, nor in what order.
    """
    whole = np.random.Philox(key=[seed, 0], counter=[0, position, 0, 0]).random_raw(vocabulary)
    return -np.log(((whole >> 11) + 0.5) / 2**53)


def draw(scores: Tensor, drawn_by: Sequence[tuple[float, float, int, int]]) -> Tensor:
    """The token drawn at each row of `scores`, (n,); `drawn_by` holds temperature, top_p, seed, position of each.

    The first to happen of events with the tokens' probabilities as rates (the Gumbel-max trick; Maddison et al.
    2014): with these probabilities, as by the inverse CDF, but the scores' rounding, which varies with the rows beside
    them, shows only where two tokens are nearly as soon. In the CDF it would move the borders of all that follow.
    """
    temperature, top_p = scores.new_tensor([one[:2] for one in drawn_by], dtype=float).split(1, dim=1)
    shares = _tempered(scores, temperature)
    cut = (top_p[:, 0] < 1).nonzero()[:, 0]
    if len(cut):
        shares[cut] = _nucleus(shares[cut], top_p[cut])
    waiting = np.stack([waits(seed, position, shares.shape[1]) for *_, seed, position in drawn_by])
    return (shares / shares.new_tensor(waiting)).argmax(1)


def distribution(scores: Tensor, temperature: float, top_p: float) -> Tensor:
    """What `draw` draws from: (n, vocabulary), each row's sum 1, 0 outside the nucleus."""
    shares = _tempered(scores, temperature)
    shares = _nucleus(shares, top_p) if top_p < 1 else shares
    return shares / shares.sum(1, keepdim=True)


def _tempered(scores: Tensor, temperature: Tensor | float) -> Tensor:
    # The largest is taken off first, so that a tiny temperature makes it 0 and the others -inf, and nothing inf.
    return ((scores - scores.amax(1, keepdim=True)).double() / temperature).softmax(1)


def _nucleus(shares: Tensor, top_p: Tensor | float) -> Tensor:
    """The probabilities of the nucleus, 0 for all other tokens: those before which `top_p` is not reached yet stay."""
    likeliest, tokens = shares.topk(min(HEAD, shares.shape[1]))
    cdf = likeliest.cumsum(1)
    if (cdf[:, -1:] < top_p).any():
        likeliest, tokens = shares.sort(dim=1, descending=True, stable=True)
        cdf = likeliest.cumsum(1)
    kept = likeliest.masked_fill(cdf - likeliest >= top_p, 0)
    return shares.new_zeros(shares.shape).scatter(1, tokens, kept)


def strengthened_scores(labelled: Tensor, unlabelled: Tensor, strength: float) -> Tensor:
    """The scores that `strengthened` chooses by, of every token; -inf for those that are not plausible."""
    likely = labelled >= labelled.max(-1, keepdim=True).values + math.log(PLAUSIBLE)
    return (labelled + strength * (labelled - unlabelled)).masked_fill(~likely, -math.inf)


def strengthened(logits: Tensor, best: Tensor, labelled: Tensor, unlabelled: Tensor, strength: Tensor) -> Tensor:
    """What is chosen at each row of `logits` in `labelled`: the best of its plausible tokens.

    Logits do for log-probabilities: what they lack is the same for all tokens of a row. Plausible ones are few, so
    hardly more is computed than without a strength.
    """
    rows = logits[labelled]
    least = rows.gather(1, best[labelled, None]) + math.log(PLAUSIBLE)
    row, token = (rows >= least).nonzero(as_tuple=True)
    if len(row) == len(rows):  # one each, so there is nothing to choose
        return token
    likely = rows[row, token]
    scores = likely + strength.to(likely)[row] * (likely - logits[unlabelled[row], token])
    highest = scores.new_full((len(rows),), -math.inf).scatter_reduce(0, row, scores, "amax")
    wins = scores == highest[row]
    return token.new_full((len(rows),), rows.shape[1]).scatter_reduce(0, row[wins], token[wins], "amin")
