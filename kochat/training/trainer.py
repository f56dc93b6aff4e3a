"""Trainer: model, optimisers and schedule, made ready by accelerate; it learns one batch at a time.

Knows batches, the loss and torch; no data, no checkpoint and no epoch.
"""

from __future__ import annotations

import contextlib
import copy
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DataLoaderConfiguration
from torch.optim import AdamW, Optimizer
from transformers import get_scheduler

from kochat import validate
from kochat.config import TrainingConfig
from kochat.errors import SettingsError
from kochat.model.batches import Batch
from kochat.model.gpt2 import Loss, LossModule, Model, scale_logits, set_dropout
from kochat.model.prompt import IGNORE, Example, Part
from kochat.training import lora

MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}  # as accelerate calls it
StateDict = dict[str, torch.Tensor]
T = TypeVar("T")


class Trainer:
    """A model on its way: one `step` a batch. With `rehearses` it is held to what it knew for rehearsed examples.

    `structure` are the ids of the prompt's special tokens, which LoRA trains too.
    """

    def __init__(
        self,
        model: Model,
        config: TrainingConfig,
        steps: int,
        rehearses: bool = False,
        structure: Sequence[int] = (),
    ):
        precision = choose_precision(config.precision)
        # accelerate keeps its precision for the whole process; a second training may want another.
        AcceleratorState._reset_state()
        # Each process has a share of a batch, so a step is one step of the schedule however many processes there are.
        shares = DataLoaderConfiguration(split_batches=True)
        self.accelerator = Accelerator(mixed_precision=MIXED_PRECISION[precision], dataloader_config=shares)
        if config.dropout is not None:
            set_dropout(model, config.dropout)
        self.model, self.adapted = model, None
        if config.lora_rank:  # what is not trained need not be more precise than what is computed with it
            model.to(getattr(torch, precision))
        teacher = copy.deepcopy(model).eval().requires_grad_(False).to(self.accelerator.device) if rehearses else None
        if config.lora_rank:
            self.adapted = lora.adapt(model, config.lora_rank, structure)
            self.accelerator.register_save_state_pre_hook(_leave_out_frozen)
        else:
            # Without this the few rows that a batch looks up become a gradient as large as the vocabulary, zeros
            # nearly all, to be added to that of the LM head. Several processes exchange dense gradients only.
            embedding = model.get_input_embeddings()
            is_tied = model.get_output_embeddings().weight is embedding.weight
            embedding.sparse = is_tied and self.accelerator.num_processes == 1
        if config.gradient_checkpointing:
            model.activation_checkpointing_enable()
        optimizers = make_optimizers(model, config)
        schedule = {"constant": "constant_with_warmup"}.get(config.schedule, config.schedule)
        warmup = round(steps * config.warmup_share)
        self.module = self.accelerator.prepare(LossModule(model, config.label_loss, config.question_loss, teacher))
        self.optimizers = [self.accelerator.prepare(one) for one in optimizers]
        self.schedulers = [
            self.accelerator.prepare(get_scheduler(schedule, one, num_warmup_steps=warmup, num_training_steps=steps))
            for one in optimizers
        ]
        self.max_grad_norm, self.learning_rate = config.max_grad_norm, config.learning_rate
        self.accumulation_steps = config.gradient_accumulation_steps

    def step(self, *parts: Batch) -> Loss:
        """Learn from one batch, of which these are the own `parts`. Raises SettingsError where the loss is no number.

        Gives the loss of the whole batch.
        """
        self.module.train()
        targets = sum((part["labels"][:, 1:] != IGNORE).sum() for part in parts).to(self.accelerator.device)
        targets, losses = self._over_processes(targets), []
        for i, part in enumerate(parts):
            is_last = i == len(parts) - 1  # then the processes exchange their gradients
            with contextlib.nullcontext() if is_last else self.accelerator.no_sync(self.module):
                own = self.module(self._on_device(part))
                # The gradients of the processes are averaged; what we want is that of the mean over all their tokens.
                weight = self.accelerator.num_processes * own.targets.clamp(min=1) / targets.clamp(min=1)
                self.accelerator.backward(own.objective * weight)
            losses.append(own._replace(objective=own.objective.detach()))  # the graph would stay in memory
        whole = self._whole(losses)
        if not whole.objective.isfinite():
            raise SettingsError("diverged", learning_rate=self.learning_rate)
        self.accelerator.clip_grad_norm_(self.module.parameters(), self.max_grad_norm)
        for optimizer, scheduler in zip(self.optimizers, self.schedulers, strict=True):
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        return whole

    def evaluate(self, batches: Sequence[Batch], should_stop: Callable[[], bool] = lambda: False) -> float | None:
        """Mean negative log-likelihood of an answer token over all batches, nats; None when stopped."""
        self.module.eval()
        module = self.accelerator.unwrap_model(self.module)  # no gradients to exchange; some have a batch less
        results = []
        for i in range(0, len(batches), self.accelerator.num_processes):
            if self.agree(should_stop()):
                return None
            for batch in self._own(batches[i : i + self.accelerator.num_processes]):
                with torch.inference_mode():
                    results.append(module(self._on_device(batch)))
        sums = [sum(r.answer.item() for r in results), sum(r.tokens.item() for r in results)]
        answer, tokens = self._over_processes(torch.tensor(sums, dtype=torch.float64)).tolist()
        return answer / max(1, tokens)

    def calibrate(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Fit the temperature: a model that has learned small data by heart is surer than it should be.

        Guo et al. 2017, "On Calibration of Modern Neural Networks". Greedy replies stay the same.
        """
        losses, before = {}, 1.0
        for factor in [f / 100 for f in range(100, 45, -5)]:
            scale_logits(self.model, factor / before)
            losses[factor], before = self.evaluate(batches), factor
        best = min(losses, key=losses.get)
        scale_logits(self.model, best / before)
        return {"factor": best, "validation_loss": losses[best]}

    def weights(self) -> StateDict:
        """A copy of the weights that are trained, as they are now."""
        trained = (named for named in self.model.named_parameters() if named[1].requires_grad)
        return {name: weight.detach().clone() for name, weight in trained}

    def set_weights(self, weights: StateDict) -> None:
        """Put a copy of `weights()` back."""
        with torch.no_grad():
            trained = dict(self.model.named_parameters())
            for name, weight in weights.items():
                trained[name].copy_(weight)

    def merge(self) -> None:
        """Make a plain model of one that LoRA trained; it can be trained no further then."""
        if self.adapted:
            lora.merge(self.adapted)
            self.adapted = None

    def save(self, folder: Path) -> None:
        """Write what is trained of the model, optimisers, schedules and the random states of every process."""
        self.accelerator.save_state(folder)
        self.accelerator.wait_for_everyone()

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        self.accelerator.load_state(folder, strict=self.adapted is None)

    def agree(self, stop: bool) -> bool:
        """Whether any of the processes wants to stop; then all have to, or the others would wait forever."""
        if stop:
            self.accelerator.set_trigger()
        return self.accelerator.check_trigger()

    def parts(self, batch: Sequence[Example]) -> list[Sequence[Example]]:
        """The examples of a batch that this process learns from, in as many parts as gradients are accumulated over.

        They are every n-th: the same batches however many processes there are. All take part in every step; where a
        batch has no example for one of them, it gets one without loss.
        """
        first = batch[0]
        nothing = [IGNORE] * len(first.labels), [int(Part.STRUCTURE)] * len(first.parts)
        own = self._own(batch) or [replace(first, labels=nothing[0], parts=nothing[1], rehearsed=False)]
        size = -(-len(own) // self.accumulation_steps)
        return [own[i : i + size] for i in range(0, len(own), size)]

    def _own(self, items: Sequence[T]) -> Sequence[T]:
        return items[self.accelerator.process_index :: self.accelerator.num_processes]

    def _whole(self, parts: Sequence[Loss]) -> Loss:
        """The loss of a batch of which every process has parts."""
        if len(parts) == self.accelerator.num_processes == 1:
            return parts[0]
        sums = sum(torch.stack([p.objective * p.targets, p.answer, p.tokens, p.targets]).double() for p in parts)
        objective, answer, tokens, targets = self._over_processes(sums)
        return Loss(objective / targets.clamp(min=1), answer, tokens.long(), targets)

    def _over_processes(self, numbers: torch.Tensor) -> torch.Tensor:
        """The sum of each number over all processes."""
        alone = self.accelerator.num_processes == 1
        return numbers if alone else self.accelerator.reduce(numbers.to(self.accelerator.device))

    def _on_device(self, batch: Batch) -> Batch:
        return {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}


def _leave_out_frozen(models: list[torch.nn.Module], weights: list[StateDict], folder: str) -> None:
    """Keep only what is trained of the weights that accelerate is about to save: the rest is the base's."""
    for model, kept in zip(models, weights, strict=True):
        trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
        for name in kept.keys() - trained:
            del kept[name]


def make_optimizers(model: Model, config: TrainingConfig) -> list[Optimizer]:
    """AdamW for every weight; or Muon for the matrices inside the blocks, AdamW for the rest.

    Muon (Jordan 2024) makes each step of a matrix orthogonal; with its steps scaled to AdamW's (Liu et al.
    2025, "Muon is Scalable for LLM Training") both take the same rate. It learns more from a token and
    takes longer for a step, which pays where batches are large: in pre-training. Raises SettingsError where torch
    has no Muon yet.
    """
    rate = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if config.optimizer == "adamw":
        return [AdamW(trained, fused=True, **rate)]
    if not hasattr(torch.optim, "Muon"):  # before 2.9
        raise SettingsError("needs_newer_torch", version=torch.__version__)
    head = model.get_output_embeddings()
    outside = [module for module in model.modules() if isinstance(module, torch.nn.Embedding) or module is head]
    outside = {id(weight) for module in outside for weight in module.parameters()}
    matrices = [weight for weight in trained if weight.ndim == 2 and id(weight) not in outside]
    inside = set(map(id, matrices))
    rest = [weight for weight in trained if id(weight) not in inside]
    return [
        torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **rate),
        AdamW(rest, betas=(0.9, 0.95), fused=True, **rate),
    ]


def with_own_random_numbers(events: Iterator[T]) -> Iterator[T]:
    """The same events; whenever it waits, Python's, NumPy's and torch's random numbers are again what they were.

    A training seeds them for its whole process, where others draw from them, too.
    """
    own: tuple | None = None
    with contextlib.closing(events):
        while True:
            others = _random_states()
            if own:
                _set_random_states(*own)
            try:
                event = next(events)
            except StopIteration:
                return
            finally:
                own = _random_states()
                _set_random_states(*others)
            yield event


def _random_states() -> tuple:
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), torch.cuda.get_rng_state_all()


def _set_random_states(python: tuple, numpy: tuple, on_cpu: torch.Tensor, on_gpus: list[torch.Tensor]) -> None:
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(on_cpu)
    torch.cuda.set_rng_state_all(on_gpus)


def mean_loss(results: Sequence[Loss]) -> float:
    """Summed answer loss of several batches over their answer tokens, nats a token."""
    return sum(r.answer.item() for r in results) / max(1, sum(r.tokens.item() for r in results))


def choose_precision(wish: str) -> str:
    """The precision to train in; for "auto" float32 or bfloat16, in which this processor multiplies matrices faster.

    A GPU is asked, not measured. Of a processor, having bfloat16 instructions does not say so: with
    AVX512-BF16 alone it is the slower one. Raises SettingsError for float16 without a GPU.
    """
    if wish == "float16" and not torch.cuda.is_available():
        others = "auto, float32, bfloat16"
        validate.refuse("precision", wish, f"one of {others} without a GPU", f"GPU가 없으면 {others} 중 하나인")
    if wish != "auto":
        return wish
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1  # which might measure differently
    if several or not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "float32"
    # bfloat16 also has to pay for its casts.
    return "bfloat16" if _seconds_to_multiply(torch.float32) > 1.5 * _seconds_to_multiply(torch.bfloat16) else "float32"


def _seconds_to_multiply(dtype: torch.dtype) -> float:
    """The shortest time that a product of the size that training has takes."""
    inputs, weight = torch.ones(640, 768, dtype=dtype), torch.ones(768, 3072, dtype=dtype)
    times = []
    for _ in range(6):
        start = time.perf_counter()
        inputs @ weight
        times.append(time.perf_counter() - start)
    return min(times)
