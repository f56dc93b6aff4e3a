"""`Chatbot`: a checkpoint that one can talk to, ask for likelihoods and look into.

Knows prompt, model and generation; no page, no file format.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from . import checkpoint
from .decoder import Decoder, suits_int8
from .drafts import Drafts
from .errors import ReplyError
from .generation import Asked, Engine, text_of, text_pieces
from .labels import AUTO
from .prompt import IGNORE, Prompt

if TYPE_CHECKING:
    from .pairs import Pair

LONGEST_QUESTION = 10_000  # characters; of a longer one the end counts, as with max_length


@dataclass(frozen=True)
class ExplainedStep:
    """One token of a reply: its text, its probability, the likeliest other tokens with theirs."""

    token: str
    probability: float
    runners_up: list[tuple[str, float]]


def load(source: str | os.PathLike) -> Chatbot:
    """A Chatbot from a checkpoint folder or a Hub id. Raises CheckpointError or HubError."""
    return Chatbot(checkpoint.load(source))


class Chatbot:
    """Talks. It remembers no earlier turn: every question stands alone.

    `label` is one of `labels`, or "auto" for the label that the model itself reads in the question.
    `strength` is how much the label is strengthened (0: plain greedy; None: the checkpoint's own).
    Safe to use from several threads.
    """

    def __init__(self, loaded: checkpoint.Checkpoint):
        self.name, self.card = loaded.name, loaded.card
        self.tokenizer = loaded.tokenizer
        self.labels = list(loaded.card.labels)
        if not self.labels:
            raise ReplyError("not_for_chat", name=loaded.name)
        self.weights = weights = loaded.weights
        positions = weights.config["n_positions"]
        self.prompt = Prompt(self.tokenizer, min(loaded.card.max_length, positions), loaded.card.strip_punctuation)
        # Likelihoods are of whole answers, however short the examples were cut in training.
        self._uncut = replace(self.prompt, max_length=positions)
        self._exact = Decoder(weights)
        quick = Decoder(weights, int8=True) if suits_int8(weights) else self._exact
        self._engine = Engine(quick, self.tokenizer.eos_token_id, self._drafts(loaded.pairs))

    def reply(self, question: str, label: str = AUTO, strength: float | None = None) -> str:
        """The greedy reply. Raises ReplyError for an empty question, an unknown label or a strength below 0."""
        return "".join(self.stream(question, label, strength))

    def stream(self, question: str, label: str = AUTO, strength: float | None = None) -> Iterator[str]:
        """The reply piece by piece, as soon as each piece is certain; the join is the reply."""
        question = self._checked(question)
        asked = self._asked(question, self._resolved(question, label), strength)
        return text_pieces(self.tokenizer, self._engine.stream(asked))

    def replies(self, asked: Sequence[tuple[str, str]], strength: float | None = None) -> list[str]:
        """Replies to several (question, label), decoded together."""
        asked = [(self._checked(question), label) for question, label in asked]
        unsure = list(dict.fromkeys(question for question, label in asked if label == AUTO))
        read = dict(zip(unsure, self.predict_labels(unsure), strict=True))
        known = [
            (q, max(read[q], key=read[q].get) if label == AUTO else self._resolved(q, label)) for q, label in asked
        ]
        replies = self._engine.replies([self._asked(*one, strength) for one in known])
        return [text_of(self.tokenizer, tokens) for tokens in replies]

    def predict_label(self, question: str) -> dict[str, float]:
        """The probability of each label, given the question alone."""
        return self.predict_labels([self._checked(question)])[0]

    def predict_labels(self, questions: Sequence[str]) -> list[dict[str, float]]:
        """`predict_label` for several questions at once."""
        choices = [self.prompt.encode_label_choice(q, label) for q in questions for label in self.labels]
        scores = self._engine.decoder.log_likelihoods(choices)
        n = len(self.labels)
        rows = torch.tensor(scores, dtype=torch.float64).reshape(len(questions), n).softmax(-1).tolist()
        return [dict(zip(self.labels, row, strict=True)) for row in rows]

    def score(self, question: str, answer: str, label: str = AUTO) -> float:
        """log P(answer </s> | question, label), in nats."""
        return self.scores([(question, answer, self._resolved(question, label))])[0]

    def scores(self, rows: Sequence[tuple[str, str, str]]) -> list[float]:
        """`score` for several (question, answer, label) at once."""
        examples = [self._uncut.encode_example(*row) for row in rows]
        counted = [(e.input_ids, len(e.labels) - e.labels.count(IGNORE)) for e in examples]
        return self._exact.log_likelihoods(counted)

    def explain(self, question: str, label: str = AUTO, runners_up: int = 5) -> list[ExplainedStep]:
        """The steps of the greedy reply, its </s> included, as the checkpoint decodes without strength.

        A reply that is cut at its longest has no </s>.
        """
        prompt = self.prompt.encode_prompt(self._checked(question), self._resolved(question, label))
        [reply], end = self._engine.replies([Asked(prompt)]), self.tokenizer.eos_token_id
        rows = self._exact.probabilities(prompt, [*reply, end])
        if rows[-1].argmax() == end:
            reply.append(end)
        explained = []
        for token, row in zip(reply, rows, strict=False):
            best = row.topk(min(runners_up + 1, len(row)))
            others = [(i, p) for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True) if i != token]
            named = [(self._token_text(i), p) for i, p in others[:runners_up]]
            explained.append(ExplainedStep(self._token_text(token), row[token].item(), named))
        return explained

    def _checked(self, question: str) -> str:
        question = question.strip()[-LONGEST_QUESTION:]
        if not question:
            raise ReplyError("empty_question")
        return question

    def _resolved(self, question: str, label: str) -> str:
        if label == AUTO:
            read = self.predict_label(question)
            return max(read, key=read.get)
        if label not in self.labels:
            raise ReplyError("unknown_label", label=label, known=", ".join(self.labels))
        return label

    def _asked(self, question: str, label: str, strength: float | None) -> Asked:
        strength = self.card.strength if strength is None else strength
        if not 0 <= strength < math.inf:
            raise ReplyError("bad_strength", value=strength)
        unlabelled = self.prompt.encode_prompt(question, None) if strength > 0 else None
        return Asked(self.prompt.encode_prompt(question, label), unlabelled, strength)

    def _drafts(self, pairs: Sequence[Pair]) -> Drafts:
        counts, end = Counter(answer for _, answer, _ in pairs), self.tokenizer.eos_token_id
        return Drafts({(*self.prompt.text_ids(answer), end): count for answer, count in counts.items()})

    def _token_text(self, token: int) -> str:
        return self.tokenizer.convert_ids_to_tokens(token).replace("▁", " ")
