"""What the next token is chosen from, and the draw: guidance by the label, temperature, top-p.

Knows scores, (n, vocabulary), of which only the differences within a row count; not whose they are.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from .errors import ReplyError

if TYPE_CHECKING:
    from torch import Tensor

MAX_TEMPERATURE = 2.0
NUM_SEEDS = 2**32
# With a strength above 0 only tokens at least so likely, relative to the likeliest one, may be chosen.
PLAUSIBLE = 0.1
# Nearly every draw falls on one of so many likeliest tokens, and sorting a whole vocabulary takes as long as a pass.
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


def checked(temperature: float, top_p: float, seed: int | None) -> Sampling:
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


def uniform(seed: int, position: int) -> float:
    """The random number in [0, 1) that draws the token at a position of the sequence.

    Computed from the two alone (a counter-based generator, Salmon et al. 2011), so it does not matter which other
    numbers were asked for, nor in what order.
    """
    block = blake2b(seed.to_bytes(8, "little") + position.to_bytes(8, "little"), digest_size=8).digest()
    return (int.from_bytes(block, "little") >> 11) / 2**53


def draw(scores: Tensor, drawn_by: Sequence[tuple[float, float, float]]) -> Tensor:
    """The token drawn at each row of `scores`, (n,), by inverse CDF over the tokens by falling probability.

    `drawn_by` holds temperature, top_p and a number in [0, 1) for each row.
    """
    temperature, top_p, number = scores.new_tensor(drawn_by, dtype=float).split(1, dim=1)
    shares = _tempered(scores, temperature)
    likeliest, tokens = shares.topk(min(HEAD, shares.shape[1]))
    place, is_settled = _places(likeliest, top_p, number)
    drawn = tokens.gather(1, place)
    if not is_settled.all():
        rest = (~is_settled[:, 0]).nonzero()[:, 0]
        likeliest, tokens = shares[rest].sort(dim=1, descending=True, stable=True)
        drawn[rest] = tokens.gather(1, _places(likeliest, top_p[rest], number[rest])[0])
    return drawn[:, 0]


def distribution(scores: Tensor, temperature: float, top_p: float) -> Tensor:
    """What `draw` draws from: (n, vocabulary), each row's sum 1, 0 outside the nucleus."""
    likeliest, tokens = _tempered(scores, temperature).sort(dim=1, descending=True, stable=True)
    likeliest = likeliest.masked_fill(~_nucleus(likeliest, likeliest.cumsum(1), top_p), 0)
    return likeliest.new_zeros(likeliest.shape).scatter(1, tokens, likeliest / likeliest.sum(1, keepdim=True))


def _tempered(scores: Tensor, temperature: Tensor | float) -> Tensor:
    # The largest is taken off first, so that a tiny temperature makes it 0 and the others -inf, and nothing inf.
    return ((scores - scores.amax(1, keepdim=True)).double() / temperature).softmax(1)


def _nucleus(shares: Tensor, cdf: Tensor, top_p: Tensor | float) -> Tensor:
    """Which tokens, by falling probability, make the nucleus: those before which `top_p` is not reached yet."""
    return (cdf - shares < top_p) & (shares > 0)


def _places(shares: Tensor, top_p: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
    """Where among the likeliest tokens of each row the drawn one is, and whether these settle it, both (n, 1)."""
    cdf = shares.cumsum(1)
    kept = _nucleus(shares, cdf, top_p)
    is_whole = cdf[:, -1:] >= top_p
    # The probability of the nucleus: 1 where it is everything, and not known where some of it is not among these.
    mass = shares.masked_fill(~kept, 0).sum(1, keepdim=True).masked_fill(~is_whole, 1.0)
    place = (cdf <= number * mass).sum(1, keepdim=True)
    is_settled = is_whole | ((top_p == 1) & (place < shares.shape[1]))
    return place.minimum(kept.sum(1, keepdim=True) - 1), is_settled


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
