"""`fine_tune(config)`: from pairs to a checkpoint, as a generator of events.

Knows data, batches, model, saved states and checkpoint; no page, no process, no journal. Whoever
iterates decides what to do with an event; `should_stop` is asked before every step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from accelerate.utils import set_seed

from kochat import validate
from kochat.config import TrainingConfig
from kochat.data.splits import MIN_PAIRS_TO_WITHHOLD
from kochat.errors import SettingsError
from kochat.inference import familiarity
from kochat.inference.causal_lm import decoder_of_model
from kochat.model import checkpoint
from kochat.model.architectures import positions_of
from kochat.model.batches import pad
from kochat.model.cards import card_of_training
from kochat.model.kept_pairs import MAX_PAIRS, MAX_VALIDATION_PAIRS, newest
from kochat.model.prompt import Example, Prompt
from kochat.training import lora, processes, recipe
from kochat.training import state as state_files
from kochat.training.events import Epoch, Event, Finished, Preparing, Saved, Started, Step, Stopped
from kochat.training.examples import Examples, read_split, still_known, still_unseen, to_keep
from kochat.training.probes import Probes
from kochat.training.state import Position
from kochat.training.trainer import StateDict, Trainer, choose_precision, mean_loss

# Fewer questions than this say too little to choose an epoch by, and their owner wants the answers learned.
QUESTIONS_TO_CHOOSE_BY = 50
ONLY_HURTS = 1.005  # times the base's loss of before: less is chance
Tell = Callable[[Preparing], None]


def fine_tune(
    config: TrainingConfig,
    should_stop: Callable[[], bool] = lambda: False,
    state: Path | None = None,
    tell: Tell = lambda event: None,
) -> Iterator[Event]:
    """Train `config.base` on `config.data` and write the checkpoint `config.output`.

    Yields Started, a Step for each step, an Epoch for each epoch, and in the end Finished, or Stopped when
    `should_stop` says so before a step. `tell` is called with what is done before Started (Preparing). With a
    folder `state` everything that the next step depends on is saved there at each epoch, every
    `config.save_minutes` and when stopped (Saved), and a training whose state is there goes on from it: its
    losses are those of one that was never interrupted.

    Raises DataError, SettingsError, CheckpointError, RunError or HubError where something cannot work,
    nearly always before the first step, and leaves no half-written checkpoint behind.
    """
    with processes.told_of_losses():
        yield from _Training(config, state, tell).events(should_stop)


def finish_early(config: TrainingConfig, state: Path) -> Finished:
    """Write the checkpoint of a stopped training from its saved state; raises as `fine_tune`."""
    training = _Training(config, state)
    trainer = training.trainer()
    training.restore(trainer)
    return training.finish(trainer)


class _Training:
    """One fine-tuning between its data and its checkpoint."""

    def __init__(self, config: TrainingConfig, state: Path | None, tell: Tell = lambda event: None):
        self.start, self.state, self.tell = time.monotonic(), state, tell
        if config.lora_rank:
            lora.package()  # where it is missing, that is said now
        self.saved = processes.from_main(lambda: state_files.newest(state)) if state else None
        if not self.saved:
            checkpoint.check_free(config.output)
        tell(Preparing("reading_data"))
        split = read_split(config, state_files.split_version(self.saved))
        config = replace(config, validation_share=split.validation_share, test_share=split.test_share)
        tell(Preparing("loading_model"))
        base = checkpoint.load(config.base, as_base=True)
        self.position = Position(split.sha256, base.card.weights_sha256, split=split.version)
        if self.saved:
            self.position = state_files.read_position(self.saved, self.position)
        self.may_end_early = config.epochs is None  # whoever says how many epochs gets them
        self.config = config = _settle(config, base, len(split.training), split.validation["Q"].nunique())
        set_seed(config.seed + processes.process_index())  # not the same dropout for the shares of a batch
        self.model, labels = base.model, split.table["label"].unique()
        self.card = card_of_training(config, base.name, base.card, labels, len(split.table), split.sha256)
        self.card.architecture = self.model.config.model_type
        self.card.data |= split.facts(base.pairs if len(split.test) else ())
        kept = base.card.data.get("label_column") if config.keep_labels else None
        self.card.data["label_column"] = kept or split.table.attrs.get("label_column")
        self.position.precision = self.position.precision or choose_precision(config.precision)
        self.config = config = replace(config, precision=self.position.precision)
        self.prompt = Prompt(base.tokenizer, config.max_length, config.strip_punctuation)
        earlier = still_known(base.pairs, split, self.card.labels) if config.rehearsal else []
        num_newest = len(still_known(newest(base.pairs, base.card.data), split, self.card.labels)) if earlier else 0
        self.examples = Examples(split, self.prompt, config, base.tokenizer.pad_token_id, earlier, num_newest)
        self.unseen = list(split.validation["Q"])
        self.card.familiarity = self._familiarity_of(base)
        unseen = still_unseen(base.validation, split, self.card.labels)
        self.probes = Probes(self.model, self.prompt, config, self.card, self.examples.rows, unseen)
        self.pairs = to_keep(split.training, earlier, MAX_PAIRS)
        self.card.data["newest_pairs"] = min(len(split.training), MAX_PAIRS) + num_newest
        is_small = recipe.is_by_pairs(config, base.card) and len(split.training) < MIN_PAIRS_TO_WITHHOLD
        self.card.unsure = is_small or base.card.unsure
        self.validation = to_keep(split.validation, unseen, MAX_VALIDATION_PAIRS)
        self.best: StateDict | None = None

    def _familiarity_of(self, base: checkpoint.Checkpoint) -> dict:
        """The base's calibration, where it stays true: it reads questions as before, and goes mostly over old ones.

        Five pairs taught to kochat-mini move the share of its validation questions above the threshold from 5.1 to
        4.2 %.
        """
        same = base.card.strip_punctuation == self.card.strip_punctuation
        mostly_old = self.examples.rehearsed > len(self.examples.training)
        return familiarity.inherited(base.card.familiarity, base.name) if same and mostly_old else {}

    def events(self, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """See `fine_tune`."""
        trainer, position = self.trainer(), self.position
        self.restore(trainer)
        if not self.saved:
            self.tell(Preparing("asking_base"))
            position.before = asdict(processes.from_main(self.probes.at_the_beginning))
        yield self._started(trainer)
        while position.epoch <= self.config.epochs and not (self._is_out_of_patience() or self._only_hurts()):
            for event in self._epoch(trainer, should_stop):
                yield event
                if isinstance(event, Stopped):
                    return
        yield self.finish(trainer)

    def trainer(self) -> Trainer:
        """The model with optimisers and schedules for all steps of this process."""
        batches = self.examples.batches_an_epoch()
        steps, rehearses = batches * self.config.epochs, self.examples.rehearsed > 0
        trainer = Trainer(self.model, self.config, steps, rehearses, self.prompt.structure)
        self.steps_an_epoch = batches
        return trainer

    def restore(self, trainer: Trainer) -> None:
        """Go to the saved state, where there is one."""
        if self.saved:
            self.best = state_files.load(self.saved, trainer)

    def _epoch(self, trainer: Trainer, should_stop: Callable[[], bool]) -> Iterator[Event]:
        position, saved_at = self.position, time.monotonic()
        for batch in self.examples.batches(position.epoch)[position.batches :]:
            if trainer.agree(should_stop()):
                yield from self._stop(trainer)
                return
            yield self._step(trainer, batch)
            if self.state and trainer.agree(time.monotonic() - saved_at > 60 * self.config.save_minutes):
                yield self._save(trainer)
                saved_at = time.monotonic()
        loss = trainer.evaluate(self.examples.validation_batches(), should_stop) if self.examples.validation else None
        if self.examples.validation and loss is None:
            yield from self._stop(trainer)
            return
        yield self._end_of_epoch(trainer, loss)
        position.next_epoch()
        if self.state:
            yield self._save(trainer)

    def _step(self, trainer: Trainer, batch: list[Example]) -> Step:
        position, start = self.position, time.monotonic()
        result = trainer.step(*(pad(part, self.examples.pad_id) for part in trainer.parts(batch)))
        position.answer_loss += result.answer.item()
        position.answer_tokens += result.tokens.item()
        position.tokens += sum(len(example.input_ids) for example in batch)
        position.batches += 1
        position.epoch_seconds += time.monotonic() - start
        # A batch may hold nothing but what is rehearsed.
        loss = mean_loss([result]) if result.tokens else position.answer_loss / max(1, position.answer_tokens)
        return Step(self._steps_done(), self._steps(), loss, self._seconds())

    def _end_of_epoch(self, trainer: Trainer, validation_loss: float | None) -> Epoch:
        position = self.position
        loss = position.answer_loss / max(1, position.answer_tokens)
        asked = processes.from_main(lambda: self.probes.after_epoch(position.epoch))
        losses = {"loss": loss, "validation_loss": validation_loss}
        position.history.append({"epoch": position.epoch, **losses, **asked.figures()})
        if self.config.keep == "best" and position.best_epoch() == position.epoch:
            self.best = trainer.weights()
        return Epoch(
            position.epoch,
            self.config.epochs,
            loss,
            validation_loss,
            perplexity=math.exp(min(loss if validation_loss is None else validation_loss, 700)),
            tokens_per_second=position.tokens / max(position.epoch_seconds, 1e-9),
            seconds=self._seconds(),
            **asdict(asked),
        )

    def _is_out_of_patience(self) -> bool:
        history, best = self.position.history, self.position.best_epoch()
        return bool(self.config.patience and best and len(history) - best >= self.config.patience)

    def _only_hurts(self) -> bool:
        """Whether all own answers were right the last two times, and what the base knew became worse meanwhile."""
        history = self.position.history
        own = [one["own_right"] == one["own_asked"] for one in history if one.get("own_asked")]
        base = [one["base_nll"] for one in history if one.get("base_nll") is not None]
        return self.may_end_early and own[-2:] == [True, True] and len(base) > 1 and base[-1] > ONLY_HURTS * base[-2]

    def _save(self, trainer: Trainer) -> Saved:
        self.position.seconds, self.start = self._seconds(), time.monotonic()
        state_files.save(self.state, trainer, self.position, self.best)
        return Saved(self._steps_done())

    def _stop(self, trainer: Trainer) -> Iterator[Event]:
        if self.state:
            yield self._save(trainer)
        yield Stopped(self._steps_done(), self._seconds())

    def finish(self, trainer: Trainer) -> Finished:
        """Write the checkpoint with the weights that are to be kept."""
        config, history = self.config, self.position.history
        kept = None if self.position.batches or not history else history[-1]["epoch"]
        if self.best is not None:
            trainer.set_weights(self.best)
            kept = self.position.best_epoch()
        self.card.metrics = {
            "history": history,
            "best_epoch": self.position.best_epoch(),
            "epoch": kept,
            "steps": self._steps_done(),
            "seconds": round(self._seconds(), 1),
        }
        if config.calibrate and self.examples.validation:
            self.card.metrics["calibration"] = trainer.calibrate(self.examples.validation_batches())
        asked = processes.from_main(self.probes.in_the_end)
        self.card.metrics |= self.probes.for_card(self.position.before, asked)
        measured = familiarity.calibrate(self.prompt, decoder_of_model(self.model), self.unseen)
        self.card.familiarity = measured or self.card.familiarity
        if processes.is_main() and not self._is_written():
            tokenizer = self.prompt.tokenizer
            trainer.merge()
            checkpoint.save(
                config.output, self.model, tokenizer, self.card, config.save_dtype, self.pairs, self.validation
            )
        return Finished(config.output, kept, self._seconds(), **asked.figures())

    def _is_written(self) -> bool:
        """Whether this very training wrote its checkpoint and ended before it could say so."""
        if not (self.saved and Path(self.config.output).exists()):
            return False
        there = checkpoint.read_card(Path(self.config.output))
        return there.recipe == self.card.recipe and there.metrics.get("history") == self.card.metrics["history"]

    def _started(self, trainer: Trainer) -> Started:
        return Started(
            pairs=len(self.examples.training),
            validation_pairs=len(self.examples.validation),
            test_pairs=self.card.data["parts"]["test"],
            **{name: self.card.data[name] for name in ("near_duplicates", "withheld", "test_known_to_base")},
            cut=self.examples.cut,
            rehearsed=self.examples.rehearsed,
            labels=self.card.labels,
            label_names=self.card.label_names,
            data_sha256=self.position.data_sha256,
            epochs=self.config.epochs,
            steps=self._steps(),
            keep=self.config.keep,
            parameters=self.model.num_parameters(),
            device=str(trainer.accelerator.device),
            precision=self.config.precision,
            at_step=self._steps_done(),
            learning_rate=self.config.learning_rate,
            rehearsal=self.config.rehearsal,
            **self.position.before,
        )

    def _steps_done(self) -> int:
        return (self.position.epoch - 1) * self.steps_an_epoch + self.position.batches

    def _steps(self) -> int:
        return self.config.epochs * self.steps_an_epoch

    def _seconds(self) -> float:
        return self.position.seconds + time.monotonic() - self.start


def _settle(
    config: TrainingConfig, base: checkpoint.Checkpoint, num_pairs: int, validation_questions: int
) -> TrainingConfig:
    """The settings with nothing left open. Raises SettingsError where this base cannot have them."""
    config = recipe.filled(config, base.card, num_pairs, bool(base.pairs), base.model.config.hidden_size)
    positions = positions_of(base.model.config)
    if config.max_length > positions:
        raise SettingsError("length_over_model", max_length=config.max_length, positions=positions)
    if config.calibrate and not base.is_gpt2:  # the last normalisation of others cannot scale their logits alike
        validate.refuse("calibrate", True, "off for a base that is no GPT-2", "GPT-2가 아닌 베이스에서는 끈")
    if config.gradient_checkpointing and not base.model.supports_gradient_checkpointing:
        validate.refuse("gradient_checkpointing", True, "off for this base", "이 베이스에서는 끈")
    enough = validation_questions >= QUESTIONS_TO_CHOOSE_BY
    if config.keep == "auto" or not validation_questions:
        config = replace(config, keep="best" if enough else "last")
    return config
