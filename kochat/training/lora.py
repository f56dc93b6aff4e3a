"""LoRA: a base stays as it is, and small matrices beside its own are trained (Hu et al. 2021).

Knows peft, which is imported only when it is asked for, and models; no data and no step.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from kochat.errors import SettingsError
from kochat.model.architectures import GPT2

if TYPE_CHECKING:
    from peft import PeftModel

    from kochat.model.gpt2 import Model

# What is added to a matrix is divided by the rank and multiplied by this: so one rate suits all ranks (Schulman et al.
# 2025, "LoRA Without Regret").
ALPHA = 32


def package() -> ModuleType:
    """The package peft. Raises SettingsError where it is not installed."""
    try:
        return importlib.import_module("peft")
    except ImportError as error:
        raise SettingsError("needs_peft") from error


def adapt(model: Model, rank: int, tokens: Sequence[int]) -> PeftModel:
    """Put an adapter of this rank beside every linear layer of a model but its LM head; only they are trained then.

    And the embeddings of `tokens`, those of the prompt's structure, which may be new to the base, also in the LM head.
    The model itself is changed. Raises SettingsError where peft is not installed.
    """
    peft = package()
    # A tied LM head follows the embedding.
    matrices = {id(module) for module in (model.get_input_embeddings(), model.get_output_embeddings())}
    names = [name for name, module in model.named_modules() if id(module) in matrices]
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=ALPHA,
        target_modules="all-linear",
        fan_in_fan_out=model.config.model_type == GPT2,  # whose matrices are (inputs, outputs)
        trainable_token_indices={name: list(tokens) for name in names},
    )
    return peft.get_peft_model(model, config)


def merge(adapted: PeftModel) -> None:
    """Add what was learned to the model's own weights, in float32; it is a plain model again, on the CPU.

    There is more memory there, and in lower precision small changes would be lost.
    """
    adapted.to("cpu").float()
    adapted.merge_and_unload()
