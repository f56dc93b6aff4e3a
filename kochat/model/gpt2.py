"""Models: load them strictly, make small new ones, and the loss.

Knows transformers and torch; no data file and no training loop. A folder goes in; errors of its
files come out as CheckpointError.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, GenerationConfig, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.utils import logging as hf_logging

from kochat.errors import CheckpointError
from kochat.model.batches import Batch
from kochat.model.prompt import IGNORE, Part
from kochat.model.tokenizer import UNREADABLE

Model = GPT2LMHeadModel


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
    teacher: GPT2LMHeadModel | None = None,
) -> Loss:
    """The mean negative log-likelihood of the answer tokens and their </s>, as `objective`.

    Label and question tokens join it with their weights, per answer token. Unlike the notebook's
    (cell 39) it has no constant for masked positions and no <pad> target after </s>; the gradient is
    the same but for the count that it divides by. With a `teacher`, the target of a rehearsed example is the
    distribution that the teacher has there instead of the token (Li and Hoiem 2017, "Learning without Forgetting").
    """
    hidden = model.transformer(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    weight_of_part = hidden.new_tensor([0.0, question_loss, label_loss, 1.0], dtype=torch.float32)
    parts, targets = batch["parts"][:, 1:], batch["input_ids"][:, 1:]
    is_answer = batch["labels"][:, 1:] != IGNORE
    weights = weight_of_part[parts]
    learned = weights > 0  # logits only where there is loss: most of the work is in the vocabulary
    logits = model.lm_head(hidden[:, :-1][learned])
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


@torch.no_grad()
def _distributions(teacher: GPT2LMHeadModel, batch: Batch, learned: torch.Tensor) -> torch.Tensor:
    """The teacher's probabilities at the learned positions of the rehearsed examples: (positions, vocabulary)."""
    rows = batch["rehearsed"]
    hidden = teacher.transformer(batch["input_ids"][rows], attention_mask=batch["attention_mask"][rows])
    return teacher.lm_head(hidden.last_hidden_state[:, :-1][learned[rows]]).float().softmax(-1)


class LossModule(nn.Module):
    """`loss` as a module, so that accelerate can wrap its forward (precision, several processes)."""

    def __init__(
        self,
        model: GPT2LMHeadModel,
        label_loss: float = 0.0,
        question_loss: float = 0.0,
        teacher: GPT2LMHeadModel | None = None,
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


def set_dropout(model: GPT2LMHeadModel, share: float) -> None:
    """Make every dropout of the model leave out `share` of its inputs while training."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
    model.config.resid_pdrop = model.config.embd_pdrop = model.config.attn_pdrop = share


def load_model(folder: Path, tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    """The GPT-2 of a folder in float32, its vocabulary grown to the tokenizer's. Raises CheckpointError.

    Strict: transformers fills weights that are missing at random; here the folder is refused.
    """
    try:
        config = AutoConfig.from_pretrained(folder)
        if config.model_type != "gpt2":
            raise CheckpointError("not_a_gpt2", name=folder.name, found=config.model_type)
        if config.activation_function == "gelu_new":  # the same function in one kernel instead of eight
            config.activation_function = "gelu_pytorch_tanh"
        model, info = GPT2LMHeadModel.from_pretrained(
            folder, config=config, dtype=torch.float32, weights_only=True, output_loading_info=True
        )
    except UNREADABLE as error:
        raise CheckpointError("damaged_checkpoint", name=folder.name) from error
    # Old checkpoints hold masks that are computed today.
    extra = [k for k in info["unexpected_keys"] if not k.endswith((".attn.bias", ".attn.masked_bias"))]
    finite = all(tensor.isfinite().all() for tensor in model.parameters())
    if extra or info["missing_keys"] or info["mismatched_keys"] or info["error_msgs"] or not finite:
        raise CheckpointError("damaged_checkpoint", name=folder.name)
    if len(tokenizer) > model.config.vocab_size:
        model.resize_token_embeddings(len(tokenizer))
    for config in (model.config, model.generation_config):
        config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    return model


def save_model(model: GPT2LMHeadModel, folder: Path, dtype: str, max_new_tokens: int) -> None:
    """Write config.json, model.safetensors with weights of `dtype`, and generation_config.json.

    With the last, other engines decode as we do: greedily, up to `max_new_tokens`. The model itself stays as it is.
    """
    weights = {name: tensor.to(getattr(torch, dtype)) for name, tensor in model.state_dict().items()}
    if model.lm_head.weight is model.transformer.wte.weight:
        del weights["lm_head.weight"]  # converted apart, the shared matrix would be written twice
    model.save_pretrained(folder, state_dict=weights)
    ids = {f"{kind}_token_id": getattr(model.config, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    GenerationConfig(**ids, do_sample=False, max_new_tokens=max_new_tokens).save_pretrained(folder)


assert len(Part) == 4, "loss() has a weight for each part"
