"""A GPT-2 made ready for decoding: weights packed once, a cache allocated once, several rows in one pass.

Knows torch and the weights of a GPT-2; not what a token means, nor when a reply ends. Every row
is one sequence; a pass feeds each row its own number of new tokens, so that prompts, single tokens and
drafts travel together. What a row gives does not depend on the rows beside it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from kochat.inference.computing import computed
from kochat.model.weights import Weights, without_a_team

Linear = Callable[[Tensor], Tensor]

# Below this a model's float32 weights come out of the processor's own cache, and quantising what goes into
# each matrix costs more than it saves (benchmarks.replies).
PARAMETERS_FOR_INT8 = 30_000_000
FIRST_LENGTH = 64  # tokens that a row has room for before the cache grows
SCORED_AT_ONCE = 32  # sequences
LOGITS_AT_ONCE = 2**26  # numbers of 4 bytes: a vocabulary of 51,200 has so many at 1,310 tokens


def suits_int8(weights: Weights) -> bool:
    """Whether 8 bits make these weights faster here: there are many of them, and torch has the kernels."""
    on_cpu = weights.head().device.type == "cpu" and "fbgemm" in torch.backends.quantized.supported_engines
    return on_cpu and weights.parameters() >= PARAMETERS_FOR_INT8


class Decoder:
    """The rows of one model, none at first. Not safe to use from several threads at once.

    `lengths` says how many tokens each row holds; lowering an entry takes its last tokens back.
    """

    @without_a_team()
    @torch.inference_mode()
    def __init__(self, weights: Weights, int8: bool = False):
        linear = _int8_linear if int8 else _float_linear
        self.layers = [_Layer(weights, i, linear) for i in range(weights.config["n_layer"])]
        self.tokens, self.places = weights.tensors["wte.weight"], weights.tensors["wpe.weight"]
        self.last_norm = _norm(weights, "ln_f")
        self.head = linear(weights.head().t(), None)
        self.positions, self.width = weights.config["n_positions"], weights.config["n_embd"]
        self.device, self.vocabulary = self.tokens.device, len(self.tokens)
        self.lengths: list[int] = []
        self.cache = self._empty(1, FIRST_LENGTH)

    @torch.inference_mode()
    def copy(self) -> Decoder:
        """Another decoder without rows over the same packed weights."""
        other = object.__new__(Decoder)
        other.__dict__ |= self.__dict__
        other.lengths, other.cache = [], self._empty(1, FIRST_LENGTH)
        return other

    def add(self) -> None:
        """A new, empty row behind the others."""
        self.lengths.append(0)

    @torch.inference_mode()
    def remove(self, row: int) -> None:
        """Take a row out; the last one moves to its place."""
        last = len(self.lengths) - 1
        if row != last:
            if used := self.lengths[last]:  # a row that has read nothing has no place in the cache yet
                self.cache[:, row, :used] = self.cache[:, last, :used]
            self.lengths[row] = used
        self.lengths.pop()
        if not self.lengths:  # a busy minute must not hold its memory for ever
            self.cache = self._empty(1, FIRST_LENGTH)

    @torch.inference_mode()
    def extend(self, new: Sequence[Sequence[int]], wanted: Sequence[int]) -> Tensor:
        """Feed `new[i]` (at least one token) to row i of all rows.

        Returns the float32 logits at the last `wanted[i]` tokens of each, one row after the other:
        (sum of wanted, vocabulary).
        """
        before = self.lengths
        after = [length + len(ids) for length, ids in zip(before, new, strict=True)]
        self._make_room(len(new), max(after))
        place = torch.tensor([p for a, b in zip(before, after, strict=True) for p in range(a, b)], device=self.device)
        row = torch.tensor([i for i, ids in enumerate(new) for _ in ids], device=self.device)
        flat = torch.tensor([token for ids in new for token in ids], device=self.device)
        attention = _Attention(row, place, [len(ids) for ids in new], max(after), self.cache.shape[2])
        hidden = functional.embedding(flat, self.tokens) + functional.embedding(place, self.places)
        for layer, cache in zip(self.layers, self.cache, strict=True):
            hidden = layer(hidden, cache, attention)
        if sum(wanted) < len(flat):
            ends = _running_sum(map(len, new))
            chosen = [i for end, n in zip(ends, wanted, strict=True) for i in range(end - n, end)]
            hidden = hidden[torch.tensor(chosen, dtype=torch.long, device=self.device)]
        self.lengths = after
        return self.head(self.last_norm(hidden)).float()

    def log_likelihoods(self, counted: Sequence[tuple[list[int], int]]) -> list[float]:
        """For each (token ids, n): log P(the last n tokens | those before), in nats. Uses rows of its own."""
        return [math.fsum(ones) for ones in self.token_log_likelihoods(counted)]

    def token_log_likelihoods(self, counted: Sequence[tuple[list[int], int]]) -> list[list[float]]:
        """`log_likelihoods`, of each of the last n tokens by itself."""
        scores: list[list[float]] = [[]] * len(counted)
        for chosen in self._scored_together([(len(ids), n) for ids, n in counted]):
            for i, ones in zip(chosen, self._scores([counted[i] for i in chosen]), strict=True):
                scores[i] = ones
        return scores

    @computed
    @torch.inference_mode()
    def _scores(self, counted: Sequence[tuple[list[int], int]]) -> list[list[float]]:
        """`token_log_likelihoods`, in one pass."""
        wanted = [n for _, n in counted]
        logits = self._fresh_logits([ids[:-1] for ids, _ in counted], wanted)
        targets = [token for ids, n in counted for token in ids[len(ids) - n :]]
        tokens = -functional.cross_entropy(logits, torch.tensor(targets, device=self.device), reduction="none")
        return [ones.tolist() for ones in tokens.double().split(wanted)]

    def _scored_together(self, sizes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
        """The indices of (length, tokens wanted), the shortest first, so many at a time as memory should hold."""
        together: list[int] = []
        tokens, room = 0, LOGITS_AT_ONCE // self.vocabulary
        for i in sorted(range(len(sizes)), key=lambda i: sizes[i][0]):
            if together and (len(together) == SCORED_AT_ONCE or tokens + sizes[i][1] > room):
                yield together
                together, tokens = [], 0
            together.append(i)
            tokens += sizes[i][1]
        if together:
            yield together

    @torch.inference_mode()
    def logits(self, prompts: Sequence[list[int]], reply: list[int]) -> Tensor:
        """What each prompt and the reply so far say about the next token, at each token of `reply`.

        (prompts, len(reply), vocabulary). Uses rows of its own.
        """
        sequences = [[*prompt, *reply[:-1]] for prompt in prompts]
        return self._fresh_logits(sequences, [len(reply)] * len(prompts)).view(len(prompts), len(reply), -1)

    def _fresh_logits(self, sequences: Sequence[list[int]], wanted: Sequence[int]) -> Tensor:
        fresh = self.copy()
        for _ in sequences:
            fresh.add()
        return fresh.extend(sequences, wanted)

    def _empty(self, rows: int, length: int) -> Tensor:
        # Keys and values of a token stand side by side, so that one copy a layer stores them. Zeros, since what
        # is masked still takes part, 0 times; and 0 times whatever memory holds may be no number.
        shape = len(self.layers), rows, min(length, self.positions), 2 * self.width
        return torch.zeros(shape, device=self.device)

    def _make_room(self, rows: int, length: int) -> None:
        _, had_rows, had_length, _ = self.cache.shape
        if rows <= had_rows and length <= had_length:
            return
        grown = self._empty(_doubled(had_rows, rows), _doubled(had_length, length))
        grown[:, :had_rows, :had_length] = self.cache
        self.cache = grown


def _doubled(had: int, needed: int) -> int:
    while had < needed:
        had *= 2
    return had


def _running_sum(numbers) -> list[int]:
    total, sums = 0, []
    for number in numbers:
        total += number
        sums.append(total)
    return sums


class _Attention:
    """Who attends to whom in one pass, the same for all layers."""

    def __init__(self, row: Tensor, place: Tensor, counts: list[int], longest: int, stride: int):
        self.rows, self.longest, self.most = len(counts), longest, max(counts)
        self.target = row * stride + place  # where in a layer's cache each new token goes
        self.padded = None  # where each new token goes when every row is filled up to the longest
        if min(counts) < self.most:
            first = place[_starts(counts)]
            self.padded = row * self.most + (place - first[row])
        places = self._as_padded(place[:, None])
        allowed = torch.arange(longest, device=place.device) <= places
        self.mask = None if allowed.all() else allowed[:, None]

    def __call__(self, qkv: Tensor, cache: Tensor, heads: int, scale: float) -> Tensor:
        width = qkv.shape[1] // 3
        cache.view(-1, 2 * width).index_copy_(0, self.target, qkv[:, width:])
        known = cache[: self.rows, : self.longest].view(self.rows, self.longest, 2, heads, -1).permute(2, 0, 3, 1, 4)
        query = self._as_padded(qkv[:, :width]).view(self.rows, self.most, heads, -1).transpose(1, 2)
        found = functional.scaled_dot_product_attention(query, *known, attn_mask=self.mask, scale=scale)
        found = found.transpose(1, 2).reshape(-1, width)
        return found if self.padded is None else found[self.padded]

    def _as_padded(self, flat: Tensor) -> Tensor:
        """(new tokens, n) as (rows, most new tokens of a row, n), filled up with zeros."""
        if self.padded is None:
            return flat.view(self.rows, self.most, -1)
        filled = flat.new_zeros(self.rows * self.most, flat.shape[1])
        return filled.index_copy_(0, self.padded, flat).view(self.rows, self.most, -1)


def _starts(counts: list[int]) -> list[int]:
    return [0, *_running_sum(counts)[:-1]]


class _Layer:
    """One block of GPT-2 (Radford et al. 2019): attention, then a small network, each on a normalised input."""

    def __init__(self, weights: Weights, number: int, linear: Callable[[Tensor, Tensor | None], Linear]):
        config, tensors, block = weights.config, weights.tensors, f"h.{number}"
        self.norms = _norm(weights, f"{block}.ln_1"), _norm(weights, f"{block}.ln_2")
        self.qkv, self.out, self.up, self.down = (
            linear(tensors[f"{block}.{part}.weight"], tensors[f"{block}.{part}.bias"])
            for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
        )
        self.heads = config["n_head"]
        self.scale = (config["n_embd"] // self.heads) ** -0.5 if config["scale_attn_weights"] else 1.0
        if config["scale_attn_by_inverse_layer_idx"]:
            self.scale /= number + 1
        self.activation = _activation(config["activation_function"])

    def __call__(self, hidden: Tensor, cache: Tensor, attention: _Attention) -> Tensor:
        hidden = hidden + self.out(attention(self.qkv(self.norms[0](hidden)), cache, self.heads, self.scale))
        return hidden + self.down(self.activation(self.up(self.norms[1](hidden))))


def _norm(weights: Weights, name: str) -> Linear:
    weight, bias = weights.tensors[f"{name}.weight"], weights.tensors[f"{name}.bias"]
    return partial(
        functional.layer_norm,
        normalized_shape=weight.shape,
        weight=weight,
        bias=bias,
        eps=weights.config["layer_norm_epsilon"],
    )


def _activation(name: str) -> Linear:
    if name in ("gelu_new", "gelu_pytorch_tanh"):  # the same function; torch has it in one kernel
        return partial(functional.gelu, approximate="tanh")
    from transformers.activations import ACT2FN  # takes seconds, and hardly any GPT-2 needs it

    return ACT2FN[name]


def _float_linear(weight: Tensor, bias: Tensor | None) -> Linear:
    """x @ weight + bias over the model's own tensor: (inputs, outputs)."""
    if bias is None:
        return lambda x: x @ weight
    return lambda x: torch.addmm(bias, x, weight)


def _int8_linear(weight: Tensor, bias: Tensor | None) -> Linear:
    """x @ weight + bias in 8 bits: a scale for each column of the weight, and one for each row of x.

    The scale of a row comes from that row alone, and sums of integers are exact, so a row gives the same
    numbers whatever stands beside it. Without VNNI instructions the kernel adds pairs of products in 16
    bits; 7 bits for x keep them from overflowing.
    """
    steps = 127 if torch.cpu._is_vnni_supported() else 63
    columns = weight.t().contiguous()
    scale = columns.abs().amax(1).clamp(min=1e-12).double() / 127
    packed = _pack((columns.double() / scale[:, None]).round().to(torch.int8), scale)
    multiply = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32

    def apply(x: Tensor) -> Tensor:
        largest = x.abs().amax(1, keepdim=True).clamp_(min=1e-12)
        product = multiply(x / largest, 1 / steps, steps + 1, packed)
        return product.mul_(largest) if bias is None else torch.addcmul(bias, product, largest)

    return apply


def _pack(whole: Tensor, scale: Tensor):
    """Whole numbers (outputs, inputs) with a scale for each output, in the order that the kernel reads them."""
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        with warnings.catch_warnings():
            # torch means to drop tensors of this kind one day; its release is pinned, and no other kernel of
            # it multiplies a single row by 8-bit weights as fast.
            warnings.simplefilter("ignore", UserWarning)
            zeros = torch.zeros(len(scale), dtype=torch.long)
            return torch.ops.quantized.linear_prepack(
                torch._make_per_channel_quantized_tensor(whole, scale, zeros, 0), None
            )
    finally:
        torch.backends.quantized.engine = engine
