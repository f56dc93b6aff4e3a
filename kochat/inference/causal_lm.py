"""A decoder for any causal language model, computed by transformers: what kochat's own does for GPT-2.

Knows torch, and the interface that the causal language models of transformers have in common.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kochat.inference.decoder import Decoder
from kochat.model.architectures import GPT2, positions_of
from kochat.model.weights import weights_of

if TYPE_CHECKING:
    from transformers import DynamicCache

    from kochat.model.checkpoint import Checkpoint
    from kochat.model.gpt2 import Model

PARAMETERS_FOR_GPU = 30_000_000  # a smaller model is as quick on the CPU (docs/performance.md)


def device_for(num_parameters: int) -> str:
    """Where a model of this size is quickest: on the GPU, where this process has one of its own.

    On a ZeroGPU Space torch says that it has, but it must not touch it (ui/zero_gpu.py).
    """
    is_lent = "SPACES_ZERO_GPU" in os.environ
    return "cuda" if num_parameters >= PARAMETERS_FOR_GPU and not is_lent and torch.cuda.is_available() else "cpu"


def decoder_of(loaded: Checkpoint, device: str = "cpu") -> Decoder:
    """The decoder of a checkpoint. Raises CheckpointError."""
    if loaded.is_gpt2:
        return Decoder(loaded.weights.to(device))
    return CausalLMDecoder(loaded.model.to(device), loaded.num_tokens)


def decoder_of_model(model: Model) -> Decoder:
    """The decoder of a model that is being trained, as it is now, also with LoRA's adapters in it."""
    is_plain = type(model.get_input_embeddings()) is nn.Embedding
    return Decoder(weights_of(model)) if model.config.model_type == GPT2 and is_plain else CausalLMDecoder(model)


class CausalLMDecoder(Decoder):
    """The rows of one model of transformers, none at first. Not safe to use from several threads at once.

    A pass pads its rows: what they hold on the left, what they are fed on the right. So what a row gives depends, by
    rounding alone, on the rows beside it. Tokens from `vocabulary` on, if given, do not exist.
    """

    def __init__(self, model: Model, vocabulary: int | None = None):
        self.model = model.eval()
        self.vocabulary = vocabulary or model.config.vocab_size
        self.positions, self.device = positions_of(model.config), model.device
        self.takes_places = "position_ids" in inspect.signature(model.forward).parameters
        self.lengths: list[int] = []
        self._clear()

    def copy(self) -> CausalLMDecoder:
        """Another decoder without rows over the same model."""
        other = object.__new__(CausalLMDecoder)
        other.__dict__ |= self.__dict__
        other.lengths = []
        other._clear()
        return other

    def add(self) -> None:
        """A new, empty row behind the others."""
        if not self.lengths:
            self._clear()
        self.lengths.append(0)
        self._held.append((0, 0))

    def remove(self, row: int) -> None:
        """Take a row out; the last one moves to its place."""
        for rows in (self.lengths, self._held):
            rows[row] = rows[-1]
            rows.pop()
        if not self.lengths:
            self._clear()

    @torch.inference_mode()
    def extend(self, new: Sequence[Sequence[int]], wanted: Sequence[int]) -> Tensor:
        """As Decoder.extend."""
        past, most = max(self.lengths), max(map(len, new))
        self._align(past)
        held, counts = self._column(self.lengths), self._column([len(ids) for ids in new])
        place = torch.arange(most, device=self.device)
        column = torch.arange(past + most, device=self.device)
        inputs = {
            "input_ids": torch.tensor([[*ids, *[0] * (most - len(ids))] for ids in new], device=self.device),
            "attention_mask": ((column >= past - held) & (column < past + counts)).long(),
            "past_key_values": self._cache,
            "use_cache": True,
            "logits_to_keep": (place >= counts - self._column(wanted)) & (place < counts),
        }
        if self.takes_places:  # others count what is not masked
            inputs["position_ids"] = (held + place).clamp(max=self.positions - 1)
        logits = self.model(**inputs).logits
        self._held, self._size = self._aligned(past), (len(new), past + most)
        self.lengths = [length + len(ids) for length, ids in zip(self.lengths, new, strict=True)]
        return logits[:, : self.vocabulary].float()

    def _column(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, device=self.device)[:, None]

    def _clear(self) -> None:
        self._cache, self._size = _empty_cache(), (0, 0)  # rows and places of the cache
        self._held: list[tuple[int, int]] = []  # the row of the cache that each row is, and where it begins there

    def _aligned(self, past: int) -> list[tuple[int, int]]:
        return [(row, past - length) for row, length in enumerate(self.lengths)]

    def _align(self, past: int) -> None:
        """Let the cache hold just our rows, each one's tokens at the end of `past` places."""
        if not past:
            self._cache = _empty_cache()
            return
        if self._size == (len(self.lengths), past) and self._held == self._aligned(past):
            return
        row, first = (self._column(numbers) for numbers in zip(*self._held, strict=True))
        # What stands before the first token is masked, so anything may.
        place = (first + self._column(self.lengths) - past + torch.arange(past, device=self.device)).clamp(min=0)
        for layer in self._cache.layers:
            if layer.is_initialized:  # and does not use the keys and values of another
                # (rows, heads, places, size of a head)
                layer.keys, layer.values = (one[row, :, place].transpose(1, 2) for one in (layer.keys, layer.values))


def _empty_cache() -> DynamicCache:
    from transformers import DynamicCache  # takes seconds, and who talks to a GPT-2 needs none

    return DynamicCache()  # not for the config: a layer that forgets what is too far back could not be aligned
