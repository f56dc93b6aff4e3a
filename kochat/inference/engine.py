"""Decoding, the replies of all callers together, one pass at a time; and texts out of ids.

Knows a decoder, token ids and a tokenizer; not what a question or a label is.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedTokenizerFast

from kochat.inference.computing import computed
from kochat.inference.decoder import Decoder
from kochat.inference.drafts import MAX_DRAFT, Drafts
from kochat.inference.sampling import distribution, draw, strengthened, strengthened_scores
from kochat.model.prompt import MAX_REPLY_TOKENS

# More rows in one pass make everybody wait; who comes then waits for a place.
MAX_ROWS = 64
# Drafts are for the time in which the processor waits for memory; so many tokens keep it busy.
TOKENS_OF_A_PASS = 128


@dataclass
class GenerationRequest:
    """What is to be continued: a prompt, and the same without its label where that is strengthened.

    log p(token | label) + strength * (log p(token | label) - log p(token | no label)) then decides, among
    the tokens that are plausible under the label. At temperature 0 the likeliest token is chosen (greedy decoding),
    above it is drawn, as sampling.Sampling says.
    """

    prompt: Sequence[int]
    unlabelled: Sequence[int] | None = None
    strength: float = 0.0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def rows(self) -> list[list[int]]:
        """The one or two sequences that the model reads for it."""
        strong = self.unlabelled is not None and self.strength > 0
        return [list(self.prompt), list(self.unlabelled)] if strong else [list(self.prompt)]


@dataclass(eq=False)
class _Reply:
    """A reply on its way."""

    request: GenerationRequest
    limit: int  # tokens
    new: list[list[int]]  # what each of its rows reads next, before the draft
    draft: list[int] = field(default_factory=list)
    said: list[int] = field(default_factory=list)
    ready: deque[int] = field(default_factory=deque)
    over: bool = False
    error: Exception | None = None

    def take(self, chosen: list[int], eos_id: int) -> int:
        """Accept what the model chose after each token of the draft; how many of these were right."""
        right = 0
        for token in chosen:
            if token == eos_id:
                self.over = True
                break
            self.said.append(token)
            self.ready.append(token)
            self.over |= len(self.said) >= self.limit  # its caller may have gone meanwhile
            if self.over or right == len(self.draft) or self.draft[right] != token:
                break
            right += 1
        self.new = [[token]] * len(self.new)
        return right


class Engine:
    """Decodes the replies of all callers together.

    Whoever waits for a token has the next pass run, for everybody. So a new reply joins at the next pass, one whose
    caller has gone leaves at the next, and nobody waits behind a long one. Safe to use from several threads.
    """

    def __init__(self, decoder: Decoder, eos_id: int, drafts: Drafts | None = None):
        self.decoder, self.eos_id, self.drafts = decoder, eos_id, drafts or Drafts()
        self._passing = threading.Lock()
        self._joining: deque[_Reply] = deque()
        self._rows: list[tuple[_Reply, int]] = []  # of each row of the decoder: whose, and which of that one's

    def stream(self, asked: GenerationRequest, max_tokens: int = MAX_REPLY_TOKENS) -> Iterator[int]:
        """The tokens of one reply as they come.

        It ends with `eos_id` (which is not yielded), after `max_tokens`, or where the model has no
        position left for it.
        """
        reply = self._join(asked, max_tokens)
        try:
            while True:
                over = reply.over  # asked before its last tokens are taken
                while reply.ready:
                    yield reply.ready.popleft()
                if over:
                    break
                with self._passing:
                    if not reply.ready and not reply.over:
                        self._pass()
            if reply.error:
                raise reply.error
        finally:
            reply.over = True

    def replies(self, asked: Sequence[GenerationRequest], max_tokens: int = MAX_REPLY_TOKENS) -> list[list[int]]:
        """All tokens of several replies, decoded together."""
        streams = [self._join(one, max_tokens) for one in asked]
        try:
            for reply in streams:
                while not reply.over:
                    with self._passing:
                        if not reply.over:
                            self._pass()
                if reply.error:
                    raise reply.error
        finally:
            for reply in streams:
                reply.over = True
        return [reply.said for reply in streams]

    @computed
    @torch.inference_mode()
    def distributions(self, asked: GenerationRequest, reply: Sequence[int]) -> torch.Tensor:
        """What each token of `reply` is chosen from: (len(reply), vocabulary), each row's sum 1.

        Without a strength the model's own probabilities. With one, the softmax of the strengthened scores of
        the plausible tokens, and 0 for all others: greedy decoding takes the largest of these. With a temperature
        that of the scores divided by it, within the nucleus.
        """
        if not reply:
            return torch.empty(0, 0)
        logits = self.decoder.logits(asked.rows(), list(reply))
        scores = logits[0] if len(logits) == 1 else strengthened_scores(*logits, asked.strength)
        return distribution(scores, asked.temperature, asked.top_p) if asked.temperature else scores.softmax(-1)

    def _join(self, asked: GenerationRequest, max_tokens: int) -> _Reply:
        rows = asked.rows()
        reply = _Reply(asked, min(max_tokens, self.decoder.positions - max(map(len, rows))), rows)
        if reply.limit < 1:
            reply.over = True
        else:
            self._joining.append(reply)
        return reply

    @computed
    def _pass(self) -> None:
        try:
            self._evict()
            self._admit()
            if self._rows:
                self._decode()
        except Exception as error:
            for reply, _ in self._rows:
                reply.error, reply.over = error, True
            self._rows, self.decoder.lengths = [], []

    def _evict(self) -> None:
        """Take out the rows of those that are over; the decoder moves its last row to their place."""
        gone = {reply for reply, _ in self._rows if reply.over}  # both rows of one, or none
        for row in reversed(range(len(self._rows))):
            if self._rows[row][0] in gone:
                self.decoder.remove(row)
                self._rows[row] = self._rows[-1]
                self._rows.pop()

    def _admit(self) -> None:
        while self._joining and len(self._rows) + len(self._joining[0].new) <= MAX_ROWS:
            reply = self._joining.popleft()
            for which in range(len(reply.new)):
                self.decoder.add()
                self._rows.append((reply, which))

    @torch.inference_mode()
    def _decode(self) -> None:
        new = [reply.new[which] + reply.draft for reply, which in self._rows]
        wanted = [len(reply.draft) + 1 for reply, _ in self._rows]
        logits = self.decoder.extend(new, wanted)
        best = logits.argmax(-1)
        places = dict(zip(self._rows, torch.arange(len(logits), device=logits.device).split(wanted), strict=True))
        strong = [reply for reply, which in self._rows if which == 1 and not reply.request.temperature]
        if strong:
            labelled, unlabelled = (torch.cat([places[reply, which] for reply in strong]) for which in (0, 1))
            strength = torch.cat([torch.full((len(places[reply, 0]),), reply.request.strength) for reply in strong])
            best[labelled] = strengthened(logits, best, labelled, unlabelled, strength)
        if drawing := [reply for reply, which in self._rows if which == 0 and reply.request.temperature]:
            best[torch.cat([places[reply, 0] for reply in drawing])] = _drawn(drawing, logits, places)
        chosen = dict(zip(self._rows, best.split(wanted), strict=True))
        right = {reply: reply.take(chosen[reply, 0].tolist(), self.eos_id) for reply, which in self._rows if which == 0}
        for row, (reply, _) in enumerate(self._rows):
            self.decoder.lengths[row] -= len(reply.draft) - right[reply]
        most = (TOKENS_OF_A_PASS - len(self._rows)) // len(self._rows)
        for reply in right:
            reply.draft = self.drafts.after(reply.said, min(MAX_DRAFT, most, reply.limit - len(reply.said) - 1))


def _drawn(
    replies: Sequence[_Reply], logits: torch.Tensor, places: dict[tuple[_Reply, int], torch.Tensor]
) -> torch.Tensor:
    """The tokens drawn for replies, at the last token of each and after each one of its draft, one after the other.

    The rows of `logits` at `places` are those of a reply, with its label and without.
    """
    scores, drawn_by = [], []
    for reply in replies:
        request, at = reply.request, [logits[places[reply, which]] for which in range(len(reply.new))]
        scores.append(at[0] if len(at) == 1 else strengthened_scores(*at, request.strength))
        first = len(request.prompt) + len(reply.said)
        drawn_by += [(request.temperature, request.top_p, request.seed, first + i) for i in range(len(reply.draft) + 1)]
    return draw(torch.cat(scores), drawn_by)


def text_pieces(tokenizer: PreTrainedTokenizerFast, tokens: Iterable[int]) -> Iterator[str]:
    """The text of a stream of token ids, piece by piece as soon as each is certain.

    Never half a syllable (a character whose bytes are several tokens waits for the last, and bytes
    that make no character are left out), never a space lost between pieces, none at the ends. The
    join is the reply.
    """
    structural = set(tokenizer.all_special_ids)
    ids: list[int] = []
    shown = ""
    for token in tokens:
        # Not `skip_special_tokens`: in KoGPT2's file emoticons may be flagged special too.
        if token in structural:
            continue
        ids.append(token)
        certain = tokenizer.decode(ids).lstrip().rstrip("\ufffd").rstrip()
        if len(certain) > len(shown):
            piece = certain[len(shown) :].replace("\ufffd", "")
            shown = certain
            if piece:
                yield piece


def text_of(tokenizer: PreTrainedTokenizerFast, tokens: Iterable[int]) -> str:
    """The whole text of a reply."""
    return "".join(text_pieces(tokenizer, tokens))


BYTE = re.compile(r"<0x[0-9A-F]{2}>")
MAX_PIECES = 4  # bytes of a character


def token_texts(tokenizer: PreTrainedTokenizerFast, tokens: Sequence[int]) -> list[str]:
    """Each token as a text to look at, a space where a word begins.

    Tokens that only together make a character are called by it and their place: 🦜 1/4, 🦜 2/4 and so on;
    a piece of a character that is not there in full is called as the tokenizer does.
    """
    texts: list[str] = []
    while len(texts) < len(tokens):
        rest = tokens[len(texts) : len(texts) + MAX_PIECES]
        own = tokenizer.convert_ids_to_tokens(rest[0])
        # Decoded alone, a token of this kind of tokenizer would lose the space in front.
        if tokenizer.convert_tokens_to_ids("▁") != tokenizer.unk_token_id and not BYTE.fullmatch(own):
            texts.append(own.replace("▁", " "))
            continue
        runs = (tokenizer.decode(rest[:n]) for n in range(1, len(rest) + 1))
        n, whole = next(((n, run) for n, run in enumerate(runs, 1) if "\ufffd" not in run), (1, own))
        texts += [whole] if n == 1 else [f"{whole} {i}/{n}" for i in range(1, n + 1)]
    return texts
