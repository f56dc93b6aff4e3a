"""What a model is asked while it trains: sample questions, its own training questions, what its base could answer.

Knows prompts, decoding and pairs; no loss, no step and no checkpoint. Asking changes nothing of a training: no
weight, and no random number.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kochat.config import SAMPLE_QUESTIONS, TrainingConfig
from kochat.data.pairs import Pair
from kochat.inference.causal_lm import decoder_of_model
from kochat.inference.decoder import Decoder
from kochat.inference.drafts import Drafts
from kochat.inference.engine import Engine, GenerationRequest, text_of
from kochat.model.cards import Card
from kochat.model.prompt import IGNORE, Prompt
from kochat.training.examples import spread

if TYPE_CHECKING:
    from kochat.model.gpt2 import Model

OWN_SAMPLES = 4  # of the data's own questions
SAMPLE_LABELS = 6  # of more labels only the first are answered under
# Distinct questions under their label: enough to see how far it is, and, in the end, to say so.
OWN_WHILE_TRAINING, OWN_IN_THE_END = 100, 400
BASE_PAIRS = 200
# At most about so often in a run: an epoch of few pairs takes less time than asking after it.
SAMPLE_TIMES, OWN_TIMES, BASE_TIMES = 20, 20, 5


@dataclass(frozen=True)
class Probe:
    """What a model said; None is what it was not asked."""

    samples: list[dict[str, Any]]  # question, label, reply, answer: the data's own to that question, or None
    own_right: int | None = None  # own answers said word for word
    own_asked: int | None = None  # of so many
    base_nll: float | None = None  # of the base's validation answers, nats a character, </s> counting as one

    def figures(self) -> dict[str, int | float | None]:
        """All but the samples, by name."""
        return {"own_right": self.own_right, "own_asked": self.own_asked, "base_nll": self.base_nll}


class Probes:
    """The questions of one training. Replies are greedy, at the strength that the new checkpoint will have.

    `card` is that of the new checkpoint, `rows` are its training pairs, `base_pairs` pairs that neither its base nor
    itself is trained on.
    """

    def __init__(
        self,
        model: Model,
        prompt: Prompt,
        config: TrainingConfig,
        card: Card,
        rows: Sequence[Pair],
        base_pairs: Sequence[Pair],
    ):
        self.model, self.prompt, self.strength, self.epochs = model, prompt, card.strength, config.epochs
        self.own: dict[tuple[str, str], list[str]] = {}  # answers by question and label
        for question, answer, label in rows:
            self.own.setdefault((question, label), []).append(answer)
        self.samples = _samples(config.sample_questions, card.labels, list(self.own))
        self.base_pairs = spread(base_pairs, BASE_PAIRS)

    def at_the_beginning(self) -> Probe:
        """Ask the base, before the first step."""
        return self._ask(True, OWN_WHILE_TRAINING, True)

    def after_epoch(self, epoch: int) -> Probe:
        """Ask what it is time for after this epoch."""
        own = OWN_WHILE_TRAINING if self._is_time(epoch, OWN_TIMES) else 0
        return self._ask(self._is_time(epoch, SAMPLE_TIMES), own, self._is_time(epoch, BASE_TIMES))

    def in_the_end(self) -> Probe:
        """Ask the model that becomes the checkpoint, more questions than before."""
        return self._ask(False, OWN_IN_THE_END, True)

    def for_card(self, before: dict[str, Any], after: Probe) -> dict[str, dict[str, Any]]:
        """What a card tells of the probe `after` training; `before` has the figures of the base by name."""
        figures = {"own_answers": {"right": after.own_right, "asked": after.own_asked}}
        if before.get("base_nll") is not None and after.base_nll is not None:
            base = {"before": before["base_nll"], "after": after.base_nll, "pairs": len(self.base_pairs)}
            figures["base_nll"] = base
        return figures

    def _is_time(self, epoch: int, times: int) -> bool:
        return epoch % -(-self.epochs // times) == 0 or epoch == self.epochs

    def _ask(self, samples: bool, own: int, base: bool) -> Probe:
        if not (samples or own or base):
            return Probe([])
        self.model.eval()
        decoder, keys = decoder_of_model(self.model), spread(list(self.own), own)
        engine = Engine(decoder, self.prompt.tokenizer.eos_token_id, self._drafts)
        said = self._samples(engine) if samples else []
        right = self._own_right(engine, keys) if keys else None
        return Probe(said, right, len(keys) or None, self._base_nll(decoder) if base and self.base_pairs else None)

    def _samples(self, engine: Engine) -> list[dict[str, Any]]:
        said = []
        for (question, label), tokens in zip(self.samples, self._replies(engine, self.samples), strict=True):
            reply = self._text(tokens)
            answers = self._answers((question, label))
            answer = reply if reply in answers else next(iter(answers), None)
            said.append({"question": question, "label": label, "reply": reply, "answer": answer})
        return said

    def _own_right(self, engine: Engine, keys: Sequence[tuple[str, str]]) -> int:
        # One that goes on for longer than any answer is wrong by then.
        most = max(len(self.prompt.text_ids(answer)) for key in keys for answer in self.own[key]) + 1
        replies = self._replies(engine, keys, max_tokens=most)
        return sum(
            len(reply) < most and self._text(reply) in self._answers(key)
            for key, reply in zip(keys, replies, strict=True)
        )

    def _replies(self, engine: Engine, keys: Sequence[tuple[str, str]], **limit: int) -> list[list[int]]:
        strong = self.strength > 0
        asked = [
            GenerationRequest(
                self.prompt.encode_prompt(question, label),
                self.prompt.encode_prompt(question, None) if strong else None,
                self.strength,
            )
            for question, label in keys
        ]
        return engine.replies(asked, **limit)

    def _answers(self, key: tuple[str, str]) -> tuple[str, ...]:
        """The data's answers to a question under a label, as a reply can say them."""
        return tuple(self._text(self.prompt.text_ids(answer)) for answer in self.own.get(key, ()))

    def _text(self, tokens: Sequence[int]) -> str:
        return text_of(self.prompt.tokenizer, tokens)

    @functools.cached_property
    def _drafts(self) -> Drafts:
        end = self.prompt.tokenizer.eos_token_id
        answers = [answer for key in spread(list(self.own), OWN_IN_THE_END) for answer in self.own[key]]
        return Drafts({(*self.prompt.text_ids(answer), end): 1 for answer in answers})

    def _base_nll(self, decoder: Decoder) -> float:
        # Whole answers, however short the examples are cut in training, as in an evaluation.
        uncut = Prompt(self.prompt.tokenizer, decoder.positions, self.prompt.strip_punctuation)
        examples = [uncut.encode_example(*pair) for pair in self.base_pairs]
        counted = [(one.input_ids, len(one.labels) - one.labels.count(IGNORE)) for one in examples]
        return -sum(decoder.log_likelihoods(counted)) / sum(len(answer) + 1 for _, answer, _ in self.base_pairs)


def _samples(given: Sequence[str], labels: Sequence[str], own: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Questions with the label to answer under: those given; else some of the data's own, then general ones."""
    general = [(question, label) for question in given or SAMPLE_QUESTIONS for label in labels[:SAMPLE_LABELS]]
    if given:
        return general
    distinct = {question: (question, label) for question, label in reversed(own)}  # under the first of its labels
    chosen = spread(list(distinct.values())[::-1], OWN_SAMPLES)
    return list(dict.fromkeys([*chosen, *general]))
