"""`Chatbot`: a checkpoint that one can talk to, ask for likelihoods and look into.

Knows prompt, model and generation; no page, no file format.
"""

from __future__ import annotations

import math
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from kochat.data.checks import clean, clean_label
from kochat.data.lookup import lookup_pairs
from kochat.errors import ReplyError
from kochat.inference import familiarity, sampling
from kochat.inference.causal_lm import decoder_of, device_for
from kochat.inference.decoder import Decoder, suits_int8
from kochat.inference.drafts import Drafts
from kochat.inference.engine import MAX_REPLY_TOKENS, Engine, GenerationRequest, text_of, token_texts
from kochat.inference.generation import Generation
from kochat.inference.matching import MAX_QUESTIONS, Match, QuestionMatcher
from kochat.inference.reading import Reading
from kochat.inference.remote import RemoteChatbot, is_url
from kochat.inference.retrieval import Candidate, Retriever
from kochat.labels import AUTO
from kochat.model import checkpoint
from kochat.model.kept_pairs import newest
from kochat.model.prompt import IGNORE, Part, Prompt

if TYPE_CHECKING:
    from kochat.data.pairs import Pair
    from kochat.model.weights import Weights

MAX_STRENGTH = 100  # one too large for a float32 would break the pass that it shares with others
MAX_QUESTION_LENGTH = 10_000  # characters; of a longer one the end counts, as with max_length


@dataclass(frozen=True)
class ExplainedStep:
    """One token of a reply: its text, its probability, the likeliest other tokens with theirs.

    The ids are those of the token and of its runners-up. `drawn`: it was drawn though another one was likelier.
    """

    token: str
    probability: float
    runners_up: list[tuple[str, float]]
    token_id: int
    runner_up_ids: list[int]
    drawn: bool = False


@dataclass(frozen=True)
class ExaminedToken:
    """A token of a pair as training sees it.

    `part` is what it is to look at, `learned_as` what training counts its loss as: the <sys> after a label
    belongs to the label, the </s> to the answer. `label` is what the loss has there (-100 where it is masked),
    `nats` what the model pays for the token after those before it. The last three are None where the token
    is cut, `nats` also for the first one.
    """

    text: str
    token_id: int
    part: Part
    kept: bool
    learned_as: Part | None
    label: int | None
    nats: float | None


def load(source: str | os.PathLike) -> Chatbot | RemoteChatbot:
    """A Chatbot of a checkpoint: its folder, its name on the page, or a Hub id. Raises CheckpointError or HubError.

    http://host/v1#model is one that answers on another server: see remote.py.
    """
    return RemoteChatbot(str(source)) if is_url(source) else Chatbot(checkpoint.load(source))


class Chatbot:
    """Talks. It remembers no earlier turn: every question stands alone.

    `label` is one of `labels`, or "auto" for the label that the model itself reads in the question.
    `strength` is how much the label is strengthened (0: not at all; None: the checkpoint's own).
    Replies are greedy. With a `temperature` above 0 they are drawn, out of the likeliest tokens that together have
    the probability `top_p`: the same `seed` draws the same reply, None another one each time (sampling.py).
    With `rerank` a reply is the best of `candidates`: the one that would have been given without, or an answer that
    was written to a question like it.
    Safe to use from several threads.
    """

    def __init__(self, loaded: checkpoint.Checkpoint):
        self.name, self.card = loaded.name, loaded.card
        self.tokenizer = loaded.tokenizer
        self.labels = list(loaded.card.labels)
        if not self.labels:
            raise ReplyError("not_for_chat", name=loaded.name)
        self._loaded, self._exact = loaded, decoder_of(loaded, device_for(loaded.num_parameters))
        positions = self._exact.positions
        self.prompt = Prompt(self.tokenizer, min(loaded.card.max_length, positions), loaded.card.strip_punctuation)
        # Likelihoods are of whole answers, however short the examples were cut in training.
        self._uncut = replace(self.prompt, max_length=positions)
        is_quicker_in_int8 = self._exact.device.type == "cpu" and loaded.is_gpt2 and suits_int8(loaded.weights)
        quick = Decoder(loaded.weights, int8=True) if is_quicker_in_int8 else self._exact
        self._engine = Engine(quick, self.tokenizer.eos_token_id, self._drafts(loaded.pairs))
        self._pairs, self._indexing = loaded.pairs, threading.Lock()
        # Among these it reads the label by itself; what its owner hid is there for whoever asks for it by name.
        self._read_labels = [label for label in self.labels if label not in loaded.card.hidden_labels]
        own = newest(loaded.pairs, loaded.card.data)
        earlier = loaded.pairs[len(own) :]
        is_small = bool(own) and len(own) <= MAX_QUESTIONS
        matched = [pair for pair in own if pair[2] in self._read_labels]
        self.matcher = _matcher_of(matched, earlier) if is_small and matched else None
        # Labels that nothing but its own pairs has: under these it can answer nothing else, unless validation
        # questions of its own tell better.
        is_calibrated = bool(self.card.familiarity) and "of" not in self.card.familiarity
        tells = is_small and not is_calibrated
        self.own_labels = {pair[2] for pair in own} - {pair[2] for pair in earlier} if tells else set()

    @property
    def weights(self) -> Weights:
        """The weights of a GPT-2. Raises CheckpointError where it is another model."""
        return self._loaded.weights

    @property
    def num_parameters(self) -> int:
        """How many numbers its model has."""
        return self._loaded.num_parameters

    @property
    def engine(self) -> Engine:
        """What decodes its replies; another one that does the same may take its place."""
        return self._engine

    @engine.setter
    def engine(self, engine: Engine) -> None:
        self._engine = engine

    def reply(
        self,
        question: str,
        label: str = AUTO,
        strength: float | None = None,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        rerank: bool = False,
    ) -> str:
        """The reply. Raises ReplyError for an empty question, an unknown label, or a number out of its range.

        With `rerank` also where the checkpoint keeps no pairs.
        """
        drawn = {"temperature": temperature, "top_p": top_p, "seed": seed}
        return "".join(self.stream(question, label, strength, **drawn, rerank=rerank))

    def stream(
        self,
        question: str,
        label: str = AUTO,
        strength: float | None = None,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        rerank: bool = False,
    ) -> Iterator[str]:
        """The reply piece by piece, as soon as each piece is certain; the join is the reply.

        With `rerank` it comes in one piece.
        """
        drawn = {"temperature": temperature, "top_p": top_p, "seed": seed}
        if rerank:
            return filter(None, [self.candidates(question, label, strength, **drawn)[0].answer])
        return self.generate(question, label, strength, **drawn)

    @property
    def retriever(self) -> Retriever | None:
        """What finds the nearest of `lookup_pairs`; None where the checkpoint keeps no pairs."""
        with self._indexing:  # whoever asks meanwhile waits for it, instead of making another one
            return self._retriever

    @cached_property
    def _retriever(self) -> Retriever | None:
        return Retriever(lookup_pairs(self._pairs, self.card.sources)) if self._pairs else None

    def candidates(
        self,
        question: str,
        label: str = AUTO,
        strength: float | None = None,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> list[Candidate]:
        """What may be said, the best first: the reply, and the answers to the nearest questions under its label.

        The reply alone where the question is one of its own in other words (`matcher`): that answer it has learned.
        Raises as `reply` with `rerank`.
        """
        if not self.retriever:
            raise ReplyError("no_kept_pairs", name=self.name)
        drawn = sampling.checked(temperature, top_p, seed)
        is_matched = self._match(self._checked(question), self._own_label(label)) is not None
        [(question, label)] = self._understood([(question, label)])
        request = self._request(question, label, strength, drawn)
        [tokens] = self._engine.replies([request])
        nearest = self.retriever.candidates(question, label, self.text_of(tokens))[: 1 if is_matched else None]
        room = min(MAX_REPLY_TOKENS, self._exact.positions - len(request.prompt))
        nearest = [one for one in nearest if one.is_generated or len(self.ids_of(one.answer)) <= room]
        # Strengthened likelihoods choose no better, and take twice as long.
        scores = self.scores([(question, one.answer, label) for one in nearest])
        ranked = [
            Candidate(**asdict(one), log_likelihood=nats / (len(one.answer) + 1))
            for one, nats in zip(nearest, scores, strict=True)
        ]
        return sorted(ranked, key=lambda one: one.score, reverse=True)

    def generate(
        self,
        question: str,
        label: str = AUTO,
        strength: float | None = None,
        *,
        max_tokens: int = MAX_REPLY_TOKENS,
        **drawn: Any,
    ) -> Generation:
        """As `stream`, with at most so many tokens, and with what may be asked of the reply beside its text."""
        sampled = sampling.checked(**drawn)
        question, label = self._understood([(question, label)])[0]
        request = self._request(question, label, strength, sampled)
        room = self._engine.decoder.positions - max(map(len, request.rows()))
        limit = max(0, min(max_tokens, MAX_REPLY_TOKENS, room))
        tokens = self._engine.stream(request, limit)
        return Generation(self.tokenizer, tokens, label, len(request.prompt), limit)

    def replies(
        self,
        asked: Sequence[tuple[str, str]],
        strength: float | None = None,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> list[str]:
        """Replies to several (question, label), decoded together.

        Where they are drawn, the i-th (from 0) is the reply with the seed `seed + i`: equal ones may get different
        replies, and each can be had again alone.
        """
        drawn = sampling.checked(temperature, top_p, seed)
        known = self._understood(asked)
        replies = self._engine.replies([self._request(*one, strength, drawn.nth(i)) for i, one in enumerate(known)])
        return [text_of(self.tokenizer, tokens) for tokens in replies]

    def predict_label(self, question: str) -> dict[str, float]:
        """The probability of each label, given the question alone."""
        return self.predict_labels([self._checked(question)])[0]

    def predict_labels(self, questions: Sequence[str]) -> list[dict[str, float]]:
        """`predict_label` for several questions at once."""
        choices = [self.prompt.encode_label_choice(q, label) for q in questions for label in self.labels]
        scores = self._engine.decoder.log_likelihoods(choices)
        n = len(self.labels)
        return [self._shares(self.labels, scores[i : i + n]) for i in range(0, len(scores), n)]

    def read(self, question: str, label: str = AUTO) -> Reading:
        """The labels read in a question and how surprising it is, in one pass.

        A label that is given is not read: it is certain. Raises ReplyError.
        """
        question = self._checked(question)
        label = self._own_label(label)
        match = self._match(question, label)
        labels = self._labels_for(match, label)
        meant = match.question if match else question
        choices = [self.prompt.encode_label_choice(meant, one) for one in labels]
        # The first row is to tell the question's tokens too.
        ids, n = choices[0]
        first, *others = self._engine.decoder.token_log_likelihoods([(ids, len(ids) - 1), *choices[1:]])
        asked = ids[1 : -1 - n]
        surprise = familiarity.surprise(first[: len(asked)], self.prompt.size_of(asked))
        shares = self._shares(labels, [math.fsum(ones) for ones in (first[-n:], *others)])
        return Reading(shares, surprise, self._is_unfamiliar(match, shares, surprise), match and match.question)

    def _is_unfamiliar(self, match: Match | None, shares: dict[str, float], surprise: float) -> bool | None:
        """Whether nothing like a question was learned: neither by the checkpoint itself nor by its base."""
        limit = self.card.familiarity.get("threshold")
        if match or (limit is None and not self.matcher):
            return False if match else None
        return max(shares, key=shares.get) in self.own_labels or (limit is not None and surprise > limit)

    def cuts_question(self, question: str, label: str) -> bool:
        """Whether only the end of a question fits."""
        return self.prompt.cuts_question(question, label)

    def calibrate(self, questions: Sequence[str]) -> dict[str, Any]:
        """The calibration for a card (familiarity.py), on questions that this checkpoint was not trained on."""
        return familiarity.calibrate(self.prompt, self._exact, questions)

    def _shares(self, labels: Sequence[str], scores: Sequence[float]) -> dict[str, float]:
        shares = torch.tensor(scores, dtype=torch.float64).softmax(-1).tolist()
        return dict(zip(labels, shares, strict=True))

    def score(self, question: str, answer: str, label: str = AUTO) -> float:
        """log P(answer </s> | question, label), in nats."""
        return self.scores([(question, answer, self._resolved(question, label))])[0]

    def scores(self, rows: Sequence[tuple[str, str, str]]) -> list[float]:
        """`score` for several (question, answer, label) at once."""
        examples = [self._uncut.encode_example(*row) for row in rows]
        counted = [(e.input_ids, len(e.labels) - e.labels.count(IGNORE)) for e in examples]
        return self._exact.log_likelihoods(counted)

    def examine(self, question: str, answer: str, label: str) -> list[ExaminedToken]:
        """Every token of a pair as training sees it, those too that are cut. Raises ReplyError, DataError."""
        question, label = self._checked(question), self._resolved(question, label)
        example = self.prompt.encode_example(question, answer, label)
        pieces = self.prompt.explain(question, answer, label)
        [nats] = self._exact.token_log_likelihoods([(example.input_ids, len(example.input_ids) - 1)])
        texts = token_texts(self.tokenizer, [piece.token_id for piece in pieces])
        costs = [None, *(-one for one in nats)]
        seen = iter(zip(map(Part, example.parts), example.labels, costs, strict=True))
        return [
            ExaminedToken(text, one.token_id, one.part, one.kept, *(next(seen) if one.kept else [None] * 3))
            for text, one in zip(texts, pieces, strict=True)
        ]

    def explain(
        self,
        question: str,
        label: str = AUTO,
        strength: float | None = None,
        runners_up: int = 5,
        start: Sequence[int] = (),
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> list[ExplainedStep]:
        """The steps of the reply, its </s> included; a reply that is cut at its longest has no </s>.

        `start` are the ids of the tokens that the reply has to begin with. Probabilities are of what decoding
        chooses from: the model's own without a strength; with one, shares among the tokens that are plausible
        under the label, of the strengthened scores; with a temperature, after it and within `top_p`. Raises ReplyError.
        """
        drawn = sampling.checked(temperature, top_p, seed)
        request = self._request(*self._understood([(question, label)])[0], strength, drawn)
        reply = self._continued(request, list(start))
        rows = self._engine.distributions(request, reply)
        explained = []
        for token, text, row in zip(reply, token_texts(self.tokenizer, reply), rows, strict=True):
            best = row.topk(min(runners_up + 1, len(row)))
            both = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            others = [(i, p) for i, p in both if i != token and p > 0][:runners_up]
            named = [(token_texts(self.tokenizer, [i])[0], p) for i, p in others]
            odd = temperature > 0 and row[token].item() < best.values[0].item()
            explained.append(ExplainedStep(text, row[token].item(), named, token, [i for i, _ in others], odd))
        return explained

    def text_of(self, tokens: Sequence[int]) -> str:
        """The text that the tokens of a reply make."""
        return text_of(self.tokenizer, tokens)

    def ids_of(self, reply: str) -> list[int]:
        """The tokens of a whole reply, its </s> included, as the `start` of `explain` may be."""
        return [*self.prompt.text_ids(reply), self.tokenizer.eos_token_id]

    def _continued(self, request: GenerationRequest, start: list[int]) -> list[int]:
        """The tokens of the reply that begins with `start`, and its </s> unless it is cut. Raises ReplyError."""
        eos, room = self.tokenizer.eos_token_id, MAX_REPLY_TOKENS - len(start)
        known = all(type(token) is int and 0 <= token < len(self.tokenizer) for token in start)
        room = min(room, self._exact.positions - max(map(len, request.rows())) - len(start))
        if not known or eos in start[:-1] or room < 0:
            raise ReplyError("bad_start")
        if eos in start or not room:
            return start
        unlabelled = request.unlabelled and [*request.unlabelled, *start]
        going_on = replace(request, prompt=[*request.prompt, *start], unlabelled=unlabelled)
        [said] = self._engine.replies([going_on], room)
        return [*start, *said, *([eos] if len(said) < room else [])]

    def _checked(self, question: str) -> str:
        question = clean(question)[-MAX_QUESTION_LENGTH:]
        if not question:
            raise ReplyError("empty_question")
        return question

    def _resolved(self, question: str, label: str) -> str:
        if label == AUTO:
            return max(self._read_labels, key=self.predict_label(question).get)
        label = self._own_label(label)
        if label not in self.labels:
            raise ReplyError("unknown_label", label=label, known=", ".join(self.labels))
        return label

    def _own_label(self, label: str) -> str:
        """A label as this checkpoint writes it, whatever normal form or width its letters are given in."""
        own = {clean_label(one): one for one in self.labels}
        return label if label in self.labels else own.get(clean_label(label), label)

    def _match(self, question: str, label: str) -> Match | None:
        """The own question that is meant; under a label that is given, one that is answered under it."""
        return self.matcher.match(question, None if label == AUTO else label) if self.matcher else None

    def _labels_for(self, match: Match | None, label: str) -> list[str]:
        """The labels that come into question. Raises ReplyError for one that is not known."""
        if label != AUTO:
            return [self._resolved("", label)]
        return [one for one in self._read_labels if not match or one in match.labels]

    def _understood(self, asked: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Each (question, label) as it is put to the model: the own question that is meant, the label that is read."""
        checked = [(self._checked(question), self._own_label(label)) for question, label in asked]
        matches = [self._match(*one) for one in checked]
        questions = [match.question if match else q for match, (q, _) in zip(matches, checked, strict=True)]
        choices = [self._labels_for(match, label) for match, (_, label) in zip(matches, checked, strict=True)]
        open_ones = dict.fromkeys(q for q, labels in zip(questions, choices, strict=True) if len(labels) > 1)
        read = dict(zip(open_ones, self.predict_labels(list(open_ones)), strict=True))
        return [
            (q, max(labels, key=read[q].get) if len(labels) > 1 else labels[0])
            for q, labels in zip(questions, choices, strict=True)
        ]

    def _request(
        self, question: str, label: str, strength: float | None, drawn: sampling.Sampling
    ) -> GenerationRequest:
        strength = self.card.strength if strength is None else strength
        if not 0 <= strength <= MAX_STRENGTH:
            raise ReplyError("bad_strength", value=strength, most=MAX_STRENGTH)
        unlabelled = self.prompt.encode_prompt(question, None) if strength > 0 else None
        return GenerationRequest(self.prompt.encode_prompt(question, label), unlabelled, strength, *drawn)

    def _drafts(self, pairs: Sequence[Pair]) -> Drafts:
        counts, end = Counter(answer for _, answer, _ in pairs), self.tokenizer.eos_token_id
        return Drafts({(*self.prompt.text_ids(answer), end): count for answer, count in counts.items()})


def _matcher_of(own: Sequence[Pair], earlier: Sequence[Pair]) -> QuestionMatcher:
    questions = {question for question, _, _ in own}
    background = dict.fromkeys(question for question, _, _ in earlier if question not in questions)
    return QuestionMatcher([(question, label) for question, _, label in own], list(background))
