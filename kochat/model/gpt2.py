"""Models: load them strictly, make small new ones, and the loss.

Knows transformers and torch; no data file and no training loop. A folder goes in; errors of its
files come out as CheckpointError.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as hf_logging

from kochat.errors import CheckpointError
from kochat.model.architectures import GPT2, is_causal_lm
from kochat.model.batches import Batch
from kochat.model.prompt import IGNORE, Part
from kochat.model.tokenizer import UNREADABLE, added_specials
from kochat.model.weights import without_a_team

Model = PreTrainedModel
COMPUTED = (".attn.bias", ".attention.bias", ".masked_bias", ".rotary_emb.inv_freq")


def make_model(
    tokenizer: PreTrainedTokenizerFast, layers: int, width: int, heads: int, positions: int, seed: int = 0
) -> GPT2LMHeadModel:
    """A randomly filled GPT-2 for this tokenizer; `positions` is its longest input in tokens."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=positions,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return GPT2LMHeadModel(config)


class Loss(NamedTuple):
    """What a batch gives: the number to minimise, and what is reported, of the pairs that are new."""

    objective: torch.Tensor  # scalar, with the weighted parts
    answer: torch.Tensor  # scalar: summed negative log-likelihood of the answers, nats
    tokens: torch.Tensor  # scalar: how many answer tokens, </s> counted
    targets: torch.Tensor  # scalar: how many answer tokens of all pairs, over which the objective is a mean


def loss(
    model: nn.Module,
    batch: Batch,
    label_loss: float = 0.0,
    question_loss: float = 0.0,
    teacher: Model | None = None,
) -> Loss:
    """The mean negative log-likelihood of the answer tokens and their </s>, as `objective`.

    Label and question tokens join it with their weights, per answer token. Unlike the notebook's
    (cell 39) it has no constant for masked positions and no <pad> target after </s>; the gradient is
    the same but for the count that it divides by. With a `teacher`, the target of a rehearsed example is the
    distribution that the teacher has there instead of the token (Li and Hoiem 2017, "Learning without Forgetting").
    """
    parts, targets = batch["parts"][:, 1:], batch["input_ids"][:, 1:]
    weight_of_part = torch.tensor([0.0, question_loss, label_loss, 1.0], device=parts.device)
    is_answer = batch["labels"][:, 1:] != IGNORE
    weights = weight_of_part[parts]
    learned = weights > 0
    logits = _logits(model, batch["input_ids"], batch["attention_mask"], learned)
    losses = functional.cross_entropy(logits.float(), targets[learned], reduction="none")
    objective_losses, is_new = losses, ~batch["rehearsed"]
    if teacher is not None and not is_new.all():
        is_old = ~is_new[:, None].expand_as(learned)[learned]
        soft = _distributions(teacher, batch, learned)
        objective_losses = losses.clone()
        objective_losses[is_old] = functional.cross_entropy(logits[is_old].float(), soft, reduction="none")
    objective = (objective_losses * weights[learned]).sum() / is_answer.sum().clamp(min=1)
    is_counted = is_answer & is_new[:, None]
    return Loss(objective, losses.detach()[is_counted[learned]].sum(), is_counted.sum(), is_answer.sum())


def _logits(model: nn.Module, ids: torch.Tensor, mask: torch.Tensor, learned: torch.Tensor) -> torch.Tensor:
    """The logits at the learned positions, bool of shape (examples, tokens - 1): (positions, vocabulary).

    Only there, since most of the work is in the vocabulary.
    """
    kept = functional.pad(learned, (0, 1))  # nothing is learned at the last token
    return model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=kept).logits


@torch.no_grad()
def _distributions(teacher: Model, batch: Batch, learned: torch.Tensor) -> torch.Tensor:
    """The teacher's probabilities at the learned positions of the rehearsed examples: (positions, vocabulary)."""
    rows = batch["rehearsed"]
    return _logits(teacher, batch["input_ids"][rows], batch["attention_mask"][rows], learned[rows]).float().softmax(-1)


class LossModule(nn.Module):
    """`loss` as a module, so that accelerate can wrap its forward (precision, several processes)."""

    def __init__(
        self,
        model: Model,
        label_loss: float = 0.0,
        question_loss: float = 0.0,
        teacher: Model | None = None,
    ):
        super().__init__()
        self.model, self.label_loss, self.question_loss = model, label_loss, question_loss
        self.teacher = (teacher,)  # not a submodule: it is neither trained nor saved

    def forward(self, batch: Batch) -> Loss:
        """See `loss`."""
        return loss(self.model, batch, self.label_loss, self.question_loss, *self.teacher)


def quiet() -> None:
    """No progress bars and no warnings of transformers: the page and the command line have their own."""
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    # It tells of every file of every saved state, and that the LM head shares the embedding's weights.
    logging.getLogger("accelerate").setLevel(logging.ERROR)


def scale_logits(model: GPT2LMHeadModel, factor: float) -> None:
    """Multiply all logits by `factor`, in the last normalisation: another temperature, the same ranking."""
    with torch.no_grad():
        model.transformer.ln_f.weight *= factor
        model.transformer.ln_f.bias *= factor


def set_dropout(model: Model, share: float) -> None:
    """Make every dropout of the model leave out `share` of its inputs while training."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
        elif isinstance(getattr(module, "attention_dropout", None), float):  # of Llama's attention, and others'
            module.attention_dropout = share
    if model.config.model_type == GPT2:
        model.config.resid_pdrop = model.config.embd_pdrop = model.config.attn_pdrop = share


@without_a_team()
def load_model(folder: Path, tokenizer: PreTrainedTokenizerFast) -> Model:
    """The model of a folder in float32, its vocabulary grown to the tokenizer's. Raises CheckpointError.

    Strict: transformers fills weights that are missing at random; here the folder is refused. Tokens of ours that the
    folder's tokenizer lacks get the mean of all others' embeddings (Hewitt 2021, "Initializing New Word Embeddings
    for Pretrained Language Models").
    """
    try:
        config = _read_config(folder)
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            weights_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except UNREADABLE as error:
        raise CheckpointError("damaged_checkpoint", name=folder.name) from error
    # Old checkpoints hold masks and angles that are computed today.
    extra = [k for k in info["unexpected_keys"] if not k.endswith(COMPUTED)]
    finite = all(tensor.isfinite().all() for tensor in model.parameters())
    if extra or info["missing_keys"] or info["mismatched_keys"] or info["error_msgs"] or not finite:
        raise CheckpointError("damaged_checkpoint", name=folder.name)
    _add_tokens(model, len(tokenizer), added_specials(folder, tokenizer))
    for config in (model.config, model.generation_config):
        config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    return model


def _read_config(folder: Path) -> PreTrainedConfig:
    found = json.loads((folder / "config.json").read_text("utf-8"))
    if not is_causal_lm(found):
        raise CheckpointError("not_a_causal_lm", name=folder.name, found=found["model_type"])
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if config.model_type == GPT2 and config.activation_function == "gelu_new":
        config.activation_function = "gelu_pytorch_tanh"  # the same function in one kernel instead of eight
    return config


@torch.no_grad()
def _add_tokens(model: Model, size: int, added: list[int]) -> None:
    """Grow the vocabulary to `size`; its new rows, and those of the ids `added`, become the mean of the others.

    A model may have rows for more tokens than its tokenizer, which were never trained.
    """
    known = model.config.vocab_size
    if size > known:
        model.resize_token_embeddings(size, mean_resizing=False)
    if new := sorted({*added, *range(known, size)}):
        for matrix in {model.get_input_embeddings().weight, model.get_output_embeddings().weight}:
            matrix[new] = matrix[: new[0]].mean(0)


def save_model(model: Model, folder: Path, dtype: str, max_new_tokens: int) -> None:
    """Write config.json, model.safetensors with weights of `dtype`, and generation_config.json.

    With the last, other engines decode as we do: greedily, up to `max_new_tokens`. The model's own weights stay.
    """
    weights = {name: tensor.to(getattr(torch, dtype)) for name, tensor in model.state_dict().items()}
    # Converted apart, a shared matrix (that of a tied LM head) would be written twice.
    once = {name for name, _ in model.named_parameters()}
    for name in {name for name, _ in model.named_parameters(remove_duplicate=False)} - once:
        del weights[name]
    ids = {f"{kind}_token_id": getattr(model.config, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    model.generation_config = GenerationConfig(**ids, do_sample=False, max_new_tokens=max_new_tokens)
    model.save_pretrained(folder, state_dict=weights, max_shard_size=sys.maxsize)


assert len(Part) == 4, "loss() has a weight for each part"
