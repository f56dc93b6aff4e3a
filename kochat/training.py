"""`fine_tune(config)`: from pairs to a checkpoint, as a generator of events.

Knows data, batches, model and checkpoint; no page, no process, no journal. Whoever iterates decides
what to do with an event; `should_stop` is asked before every step.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from transformers import GPT2LMHeadModel, get_scheduler

from . import checkpoint, pairs
from .batches import Batch, epoch_order, pad, thin
from .cards import Card, source_name
from .config import TrainingConfig, command
from .errors import DataError, RunError, SettingsError
from .events import Epoch, Event, Finished, Started, Step
from .generation import generate
from .labels import in_order
from .model import Loss, LossModule, scale_logits, set_dropout
from .prompt import Example, Prompt

CALIBRATION_FACTORS = [f / 100 for f in range(100, 45, -5)]
SAMPLE_LABELS = 6  # of more labels only the first are answered under after each epoch


class Trainer:
    """Model, optimiser and schedule, made ready by accelerate: one `step` a batch."""

    def __init__(self, model: GPT2LMHeadModel, config: TrainingConfig, steps: int):
        precision = {"float32": "no", "bfloat16": "bf16"}[choose_precision(config.precision)]
        # accelerate keeps its precision for the whole process; a second training may want another.
        AcceleratorState._reset_state()
        self.accelerator = Accelerator(mixed_precision=precision)
        if config.dropout is not None:
            set_dropout(model, config.dropout)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        scheduler = get_scheduler(
            {"constant": "constant_with_warmup"}.get(config.schedule, config.schedule),
            optimizer,
            num_warmup_steps=round(steps * config.warmup_share),
            num_training_steps=steps,
        )
        module = LossModule(model, config.label_loss, config.question_loss)
        self.module, self.optimizer, self.scheduler = self.accelerator.prepare(module, optimizer, scheduler)
        self.max_grad_norm, self.learning_rate = config.max_grad_norm, config.learning_rate

    def step(self, batch: Batch) -> Loss:
        """Learn from one batch. Raises SettingsError where the loss is no number any more."""
        self.module.train()
        result = self.module(self._on_device(batch))
        if not result.objective.isfinite():
            raise SettingsError("diverged", learning_rate=self.learning_rate)
        self.accelerator.backward(result.objective)
        self.accelerator.clip_grad_norm_(self.module.parameters(), self.max_grad_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        return result._replace(objective=result.objective.detach())  # else the graph would stay in memory

    def evaluate(self, batches: Sequence[Batch]) -> float:
        """Mean negative log-likelihood of an answer token over all batches, nats."""
        self.module.eval()
        with torch.inference_mode():
            results = [self.module(self._on_device(batch)) for batch in batches]
        return mean_loss(results)

    def agree(self, stop: bool) -> bool:
        """Whether any of the processes wants to stop; then all have to, or the others would wait forever."""
        if stop:
            self.accelerator.set_trigger()
        return self.accelerator.check_trigger()

    def share(self, batches: list) -> list:
        """The batches that this process trains: every n-th, the same number for each."""
        n = self.accelerator.num_processes
        whole = len(batches) - len(batches) % n or len(batches)
        return batches[self.accelerator.process_index : whole : n]

    def _on_device(self, batch: Batch) -> Batch:
        return {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}


def mean_loss(results: Sequence[Loss]) -> float:
    """Summed answer loss of several batches over their answer tokens, nats a token."""
    return sum(r.answer.item() for r in results) / max(1, sum(r.tokens.item() for r in results))


def choose_precision(wish: str) -> str:
    """ "float32" or "bfloat16"; for "auto" what the processor computes fast, asked of torch."""
    if wish != "auto":
        return wish
    fast = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bfloat16" if fast else "float32"


def fine_tune(config: TrainingConfig, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
    """Train `config.base` on `config.data` and write the checkpoint `config.output`.

    Yields Started, a Step for each step, an Epoch for each epoch, Finished. When asked to stop it ends
    before the next step and writes what it has learned so far (RunError where that is nothing). Raises
    DataError, SettingsError, CheckpointError or HubError where something cannot work, nearly always
    before the first step, and leaves no half-written checkpoint behind.
    """
    checkpoint.check_free(config.output)
    table = pairs.read_pairs(config.data, rows=config.rows)
    training, validation = pairs.split_by_question(table, config.validation_share, config.seed)
    if training.empty:
        raise DataError("nothing_to_train", rows=len(table), held_out=len(validation))
    base = checkpoint.load(config.base, as_base=True)
    config = config.with_defaults(base.card.defaults)
    positions = base.model.config.n_positions
    if config.max_length > positions:
        raise SettingsError("length_over_model", max_length=config.max_length, positions=positions)
    set_seed(config.seed)
    card = _card(config, base, table)
    yield from _Run(config, base, card, training, validation).events(should_stop)


class _Run:
    """One fine-tuning between its data and its checkpoint."""

    def __init__(self, config, base, card, training, validation):
        self.config, self.model, self.card = config, base.model, card
        self.prompt = Prompt(base.tokenizer, config.max_length, config.strip_punctuation)
        rows = list(training[["Q", "A", "label"]].itertuples(index=False, name=None))
        self.examples = [self.prompt.encode_example(q, a, label) for q, a, label in rows]
        self.unlabelled = [self.prompt.encode_example(q, a, None) for q, a, _ in rows]
        self.validation = [
            self.prompt.encode_example(q, a, label)
            for q, a, label in validation[["Q", "A", "label"]].itertuples(index=False, name=None)
        ]
        self.pad_id = base.tokenizer.pad_token_id
        self.lengths = [len(example.input_ids) for example in self.examples]
        self.start = time.monotonic()

    def _epoch_batches(self, epoch: int) -> list[list[Example]]:
        config = self.config
        rng = random.Random(f"{config.seed}/{epoch}/labels")
        drop = [rng.random() < config.label_dropout for _ in self.examples]
        chosen = [(u if d else e) for e, u, d in zip(self.examples, self.unlabelled, drop, strict=True)]
        if config.question_dropout:
            rng = random.Random(f"{config.seed}/{epoch}/questions")
            chosen = [thin(example, config.question_dropout, rng) for example in chosen]
        order = epoch_order(self.lengths, config.batch_size, config.seed, epoch)
        return [[chosen[i] for i in batch] for batch in order]

    def events(self, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Started, then Steps and Epochs, then Finished with the checkpoint in place."""
        config = self.config
        an_epoch = -(-len(self.examples) // config.batch_size)
        trainer = Trainer(self.model, config, an_epoch * config.epochs)
        an_epoch = len(trainer.share(list(range(an_epoch))))
        yield self._started(trainer, an_epoch * config.epochs)
        stopped, history, step = False, [], 0
        for epoch in range(1, config.epochs + 1):
            results = []
            for batch in trainer.share(self._epoch_batches(epoch)):
                if stopped := trainer.agree(should_stop()):
                    break
                results.append(trainer.step(pad(batch, self.pad_id)))
                step = (epoch - 1) * an_epoch + len(results)
                yield Step(step, an_epoch * config.epochs, mean_loss(results[-1:]), self._seconds())
            if stopped:
                break
            event = self._end_of_epoch(trainer, epoch, mean_loss(results))
            history.append({"epoch": epoch, "loss": event.loss, "validation_loss": event.validation_loss})
            yield event
        if stopped and not step:
            raise RunError("stopped_early")
        self.card.metrics = {"history": history, "seconds": round(self._seconds(), 1), "stopped": stopped}
        if config.calibrate and self.validation:
            self.card.metrics["calibration"] = self._calibrate(trainer)
        if trainer.accelerator.is_main_process:
            checkpoint.save(config.output, self.model, self.prompt.tokenizer, self.card, config.save_dtype)
        yield Finished(config.output, stopped, self._seconds())

    def _started(self, trainer: Trainer, steps: int) -> Started:
        return Started(
            pairs=len(self.examples),
            validation_pairs=len(self.validation),
            cut=sum(e.cut for e in self.examples + self.validation),
            labels=self.card.labels,
            epochs=self.config.epochs,
            steps=steps,
            parameters=self.model.num_parameters(),
            device=str(trainer.accelerator.device),
            precision=choose_precision(self.config.precision),
        )

    def _end_of_epoch(self, trainer: Trainer, epoch: int, loss: float) -> Epoch:
        validation_loss = trainer.evaluate(self._validation_batches()) if self.validation else None
        return Epoch(epoch, self.config.epochs, loss, validation_loss, self._seconds(), self._samples())

    def _validation_batches(self) -> list[Batch]:
        size = 4 * self.config.batch_size
        by_length = sorted(self.validation, key=lambda e: len(e.input_ids))
        return [pad(by_length[i : i + size], self.pad_id) for i in range(0, len(by_length), size)]

    def _calibrate(self, trainer: Trainer) -> dict[str, float]:
        """Fit the temperature: a model that has learned small data by heart is surer than it should be.

        Guo et al. 2017, "On Calibration of Modern Neural Networks". Greedy replies stay the same.
        """
        batches, losses, before = self._validation_batches(), {}, 1.0
        for factor in CALIBRATION_FACTORS:
            scale_logits(self.model, factor / before)
            losses[factor], before = trainer.evaluate(batches), factor
        best = min(losses, key=losses.get)
        scale_logits(self.model, best / before)
        return {"factor": best, "validation_loss": losses[best]}

    def _samples(self) -> list[dict]:
        asked = [(q, label) for q in self.config.sample_questions for label in self.card.labels[:SAMPLE_LABELS]]
        prompts = [self.prompt.encode_prompt(q, label) for q, label in asked]
        self.model.eval()
        replies = generate(self.model, self.prompt.tokenizer, prompts)
        return [
            {"question": q, "label": label, "reply": reply} for (q, label), reply in zip(asked, replies, strict=True)
        ]

    def _seconds(self) -> float:
        return time.monotonic() - self.start


def _card(config: TrainingConfig, base: checkpoint.Checkpoint, table) -> Card:
    return Card(
        labels=in_order(table["label"]),
        max_length=config.max_length,
        strip_punctuation=config.strip_punctuation,
        strength=base.card.strength,
        base=base.name,
        data={"source": source_name(config.data), "rows": len(table), "sha256": pairs.fingerprint(table)},
        config={
            **config.to_dict(),
            "data": source_name(config.data),
            "base": base.name,
            "output": Path(config.output).name,
        },
        defaults=base.card.defaults,
        sources=[*(base.card.sources or [base.name]), source_name(config.data)],
        recipe=[*base.card.recipe, command("train", config)],
    )
