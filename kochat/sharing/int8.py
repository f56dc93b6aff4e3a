"""The weights of a GPT-2 in 8 bits, one scale for each row, so that a page holding them is small.

Knows tensors and the names of GPT-2's weights; not where they go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from kochat.model.weights import Weights

LARGEST = 127
MULTIPLE = 8  # the kernel of the page reads so many weights at a time


@dataclass(frozen=True)
class Int8Matrix:
    """Whole numbers, (outputs, inputs), and the float32 scale of each output, (outputs,)."""

    whole: Tensor
    scale: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Int8Matrix:
        """The nearest such matrix to `rows`, (outputs, inputs): the largest number of each row becomes 127."""
        scale = rows.abs().amax(1).clamp(min=1e-12) / LARGEST
        return cls((rows / scale[:, None]).round().clamp(-LARGEST, LARGEST).char(), scale)

    def rows(self) -> Tensor:
        """The numbers that it stands for, float32 (outputs, inputs)."""
        return self.whole.float() * self.scale[:, None]

    def bytes(self) -> bytes:
        """The scales, then the whole numbers, each row filled up with zeros to a multiple of eight."""
        padded = functional.pad(self.whole, (0, -self.whole.shape[1] % MULTIPLE))
        return self.scale.numpy().astype("<f4").tobytes() + padded.numpy().tobytes()


def matrices(weights: Weights) -> Iterator[tuple[str, Tensor, bool]]:
    """(name, tensor, whether a file has it as (inputs, outputs)) of every matrix; a tied LM head is the embedding."""
    for name, tensor in weights.tensors.items():
        if tensor.ndim == 2 and not (name == "lm_head.weight" and _is_tied(weights)):
            yield name, tensor, name.startswith("h.")


def _is_tied(weights: Weights) -> bool:
    return weights.head().equal(weights.tensors["wte.weight"])


def quantised(weights: Weights) -> Iterator[tuple[str, Int8Matrix]]:
    """(name, matrix) of every matrix, one at a time."""
    for name, tensor, is_transposed in matrices(weights):
        yield name, Int8Matrix.of(tensor.t() if is_transposed else tensor)


def quantised_size(weights: Weights) -> int:
    """How many bytes the matrices take in 8 bits, and the vectors in float32."""
    rows = [(tensor.t() if is_transposed else tensor).shape for _, tensor, is_transposed in matrices(weights)]
    vectors = sum(tensor.numel() for tensor in weights.tensors.values() if tensor.ndim == 1)
    return sum(outputs * (4 + inputs + -inputs % MULTIPLE) for outputs, inputs in rows) + 4 * vectors


def dequantised(weights: Weights) -> Weights:
    """The float32 weights that the 8-bit ones stand for: what a page computes with, for Python."""
    tensors = {name: tensor for name, tensor in weights.tensors.items() if name != "lm_head.weight"}
    for name, matrix in quantised(weights):
        tensors[name] = matrix.rows().t().contiguous() if name.startswith("h.") else matrix.rows()
    return Weights(weights.config, tensors)
