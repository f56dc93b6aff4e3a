"""The weights of a GPT-2 as named tensors, read strictly from a checkpoint's files.

What talking needs, without transformers, whose models take as long to import as torch itself. The files
stay mapped: what is not used is not read into memory. Knows files and tensors; computes nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from threadpoolctl import threadpool_limits
from torch import Tensor

from kochat.errors import CheckpointError

PREFIX = "transformer."  # of all weights but the LM head's in a file
# GPT2Config's own defaults, for what a config.json may leave out.
DEFAULTS = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
}


@contextlib.contextmanager
def without_a_team() -> Iterator[None]:
    """Do something in this thread alone, without a team of threads; also a decorator.

    GNU OpenMP keeps a team for every thread that computed. Where all teams together have more threads than there are
    processors, idle ones sleep at once instead of waiting for the next operation (its `GOMP_SPINCOUNT`): when the
    thread that loads a KoGPT2 has a team, on two cores each token of its replies takes twice as long.
    """
    torch.get_num_threads()  # when a thread first asks, torch gives it its number, which would undo the limit
    with threadpool_limits(1, "openmp"):
        yield


@dataclass(frozen=True)
class Weights:
    """The tensors of a GPT-2 by GPT2Model's names, and the values of its config that decoding needs."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]

    def head(self) -> Tensor:
        """The LM head: (vocabulary, width); the embedding itself where the two are tied."""
        return self.tensors.get("lm_head.weight", self.tensors["wte.weight"])

    def for_vocabulary(self, size: int) -> Weights:
        """The same for the first `size` ids alone: those of a tokenizer whose model's embeddings were padded.

        Without the rest no id is ever chosen, or takes probability, that the tokenizer has no token for.
        """
        if size >= self.config["vocab_size"]:
            return self
        cut = {name: self.tensors[name][:size] for name in ("wte.weight", "lm_head.weight") if name in self.tensors}
        return Weights({**self.config, "vocab_size": size}, {**self.tensors, **cut})

    def to(self, device: str) -> Weights:
        """The same on a device."""
        return Weights(self.config, {name: tensor.to(device) for name, tensor in self.tensors.items()})

    def parameters(self) -> int:
        """How many numbers there are, shared ones once."""
        return sum(tensor.numel() for name, tensor in self.tensors.items() if name != "lm_head.weight")


@without_a_team()
def read_weights(folder: Path) -> Weights | None:
    """The float32 weights of a folder that kochat wrote; None where transformers has to read it.

    Raises CheckpointError where a weight is missing, has another shape than config.json says, or is no
    number: nothing is ever made up.
    """
    try:
        found = json.loads((folder / "config.json").read_text("utf-8"))
        tensors = load_file(folder / "model.safetensors")
        if found.get("model_type") != "gpt2" or not all(name.startswith(PREFIX) for name in tensors):
            return None
        config = {name: found.get(name, default) for name, default in DEFAULTS.items()}
        expected = _shapes(config)
    except (OSError, ValueError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError("damaged_checkpoint", name=folder.name) from error
    named = {name.removeprefix(PREFIX): tensor.float() for name, tensor in tensors.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in named.items()}
    if shapes != expected or not all(tensor.isfinite().all() for tensor in named.values()):
        raise CheckpointError("damaged_checkpoint", name=folder.name)
    return Weights(config, named)


@without_a_team()
def weights_of(model: torch.nn.Module) -> Weights:
    """The weights of a GPT2LMHeadModel, not copied."""
    config = {name: getattr(model.config, name) for name in DEFAULTS}
    return Weights(config, {name.removeprefix(PREFIX): tensor for name, tensor in model.state_dict().items()})


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of each weight that this config asks for."""
    width = config["n_embd"]
    inner = config["n_inner"] or 4 * width
    shapes = {"wte.weight": (config["vocab_size"], width), "wpe.weight": (config["n_positions"], width)}
    for i in range(config["n_layer"]):
        layer = {
            "attn.c_attn": (width, 3 * width),
            "attn.c_proj": (width, width),
            "mlp.c_fc": (width, inner),
            "mlp.c_proj": (inner, width),
        }
        for name, (inputs, outputs) in layer.items():
            shapes |= {f"h.{i}.{name}.weight": (inputs, outputs), f"h.{i}.{name}.bias": (outputs,)}
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{i}.{name}.weight": (width,), f"h.{i}.{name}.bias": (width,)}
    return shapes | {"ln_f.weight": (width,), "ln_f.bias": (width,)}
