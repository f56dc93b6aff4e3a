"""Which models can be a base, and what kochat has to know of their architecture.

Any decoder-only causal language model of transformers can, if its layers remember keys and values alone. Replies of a
GPT-2 are decoded by kochat itself, and it alone can be exported; all others are computed by transformers. Knows
configs; no weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

GPT2 = "gpt2"  # its model_type
ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}  # kinds of layers that keep nothing else
POSITIONS = 2048  # of a model whose config names no longest input


def is_causal_lm(config: dict[str, Any]) -> bool:
    """Whether a config.json is that of a model that can be a base; only names are looked at, no code is run."""
    kind = config.get("model_type")
    if kind == GPT2:
        return True
    import transformers  # its models take as long to import as torch
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    # BERT is in this mapping too: what a checkpoint itself says that it is, decides.
    name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
    if name is None or name not in (config.get("architectures") or ()):
        return False
    return set(config.get("layer_types") or ()) <= ATTENTION and not getattr(transformers, name)._is_stateful


def positions_of(config: PreTrainedConfig) -> int:
    """The longest input in tokens."""
    return getattr(config, "max_position_embeddings", None) or POSITIONS
