"""The prompt: the only place that knows how a pair becomes token ids.

    <usr> question <unused1> label <sys> answer </s>

Each piece of text is encoded on its own by a copy of the tokenizer that knows no special tokens, and
the structural ids are put between the pieces, so whoever types `<sys>` or `</s>` types text, never
structure. Knows a tokenizer, no model and no tensor. Source: the notebook's ChatbotDataset, with the
label moved from generation only into training too.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

import tokenizers

from kochat.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

USER, SYSTEM, LABEL_MARK = "<usr>", "<sys>", "<unused1>"
EOS, PAD, UNK, MASK = "</s>", "<pad>", "<unk>", "<unused0>"
SPECIALS = (PAD, EOS, USER, LABEL_MARK, SYSTEM, UNK, MASK)

IGNORE = -100  # what torch's cross entropy leaves out
MAX_CHARACTERS = 20_000  # of a pair; tokenizing a cell of 100 MB would take gigabytes, and no model takes so much

# Added tokens that are structure, ours or that of other models; an emoticon, as KoGPT2 has them, is text.
MARKUP = re.compile(r"</?\w+>|<[|｜].+[|｜]>|\[/?[A-Z_]+\]")

MAX_REPLY_TOKENS = 128
STRIPPED = "?.!,"  # by `strip_punctuation`, as the notebook does


class Part(IntEnum):
    """What a token of an example is."""

    STRUCTURE = 0
    QUESTION = 1
    LABEL = 2  # the label's tokens and the <sys> that ends them
    ANSWER = 3  # the answer's tokens and their </s>


@dataclass(frozen=True)
class Example:
    """One encoded pair; the three lists have one entry a token.

    `labels` is -100 everywhere but on the answer and its </s>. `cut` says that tokens were left out,
    `rehearsed` that it is no new pair but one that the base knows and is to keep.
    """

    input_ids: list[int]
    labels: list[int]
    parts: list[int]
    cut: bool
    rehearsed: bool = False


@dataclass(frozen=True)
class Piece:
    """A token of a pair to look at: its text and id, what it is, whether it is kept or cut."""

    text: str
    token_id: int
    part: Part
    kept: bool


@dataclass(frozen=True)
class Prompt:
    """Encodes prompts and examples for one checkpoint.

    `max_length` is the longest example in tokens; `strip_punctuation` replaces ? . ! , by a space in
    question and answer, as the notebook does.
    """

    tokenizer: PreTrainedTokenizerFast
    max_length: int
    strip_punctuation: bool = False

    def text_ids(self, text: str) -> list[int]:
        """Token ids of a piece of text; never one of the structural ids."""
        if self.strip_punctuation:
            text = re.sub(f"[{STRIPPED}]", " ", text)
        return self._encode(text)

    def _encode(self, text: str) -> list[int]:
        # Half a surrogate pair (a broken emoji from a browser) cannot be encoded.
        clean = text.strip().encode("utf-8", "replace").decode()
        return self.text_tokenizer.encode(clean, add_special_tokens=False).ids if clean else []

    @cached_property
    def text_tokenizer(self) -> tokenizers.Tokenizer:
        """The tokenizer of the texts: it knows no structural token."""
        # Not `split_special_tokens=True` a call: that switches the shared tokenizer, so that another
        # thread's text may turn into structure, and it leaves tokens alone that are not flagged special.
        description = json.loads(self.tokenizer.backend_tokenizer.to_str())
        added = description["added_tokens"]
        description["added_tokens"] = [t for t in added if not MARKUP.fullmatch(t["content"])]
        description["post_processor"] = description["truncation"] = description["padding"] = None
        return tokenizers.Tokenizer.from_str(json.dumps(description))

    def smaller(self, token: int, rng: random.Random) -> list[int]:
        """The same text as `token`, cut in two at a random place, each part in tokens of its own.

        Like BPE-dropout (Provilkov et al. 2020, "BPE-Dropout: Simple and Effective Subword Regularization"), whose
        randomness in tokenizers no seed reaches. A token that cannot be cut stays as it is.
        """
        places = self._cuts_of(token)
        return places[rng.randrange(len(places))] if places else [token]

    def _cuts_of(self, token: int) -> list[list[int]]:
        """The tokens of the two parts of `token`, for each place where it can be cut."""
        if token not in self._cuts:
            text, encode = self.tokenizer.convert_ids_to_tokens(token), self.text_tokenizer.model.tokenize
            is_byte = re.fullmatch(r"<0x[0-9A-F]{2}>", text)
            places = () if is_byte else range(1, len(text))
            cuts = [[one.id for part in (text[:i], text[i:]) for one in encode(part)] for i in places]
            unknown = self.tokenizer.unk_token_id
            self._cuts[token] = [[token] if unknown in ids else ids for ids in cuts]
        return self._cuts[token]

    @cached_property
    def _cuts(self) -> dict[int, list[list[int]]]:
        return {}

    @property
    def structure(self) -> list[int]:
        """The ids that stand between the pieces of text, and that of </s>."""
        return [self._id(token) for token in (USER, LABEL_MARK, SYSTEM, EOS)]

    def _id(self, token: str) -> int:
        return self.tokenizer.convert_tokens_to_ids(token)

    def _label_ids(self, label: str) -> list[int]:
        # A label is a name, not prose: its punctuation stays.
        return self._encode(label)

    def _cut(self, question: list[int], label: list[int], label_text: str | None) -> list[int]:
        """The notebook's rule: a question that leaves no room keeps its last max_length // 2 tokens."""
        structure = len(label) + 3  # <usr>, <unused1>, <sys>
        if structure + 2 > self.max_length:
            raise DataError("label_too_long", label=label_text, max_length=self.max_length)
        if len(question) + structure < self.max_length:
            return question
        return question[-min(self.max_length // 2, self.max_length - structure - 1) :]

    def _head(self, question: str, label: str | None) -> tuple[list[int], list[int], bool]:
        """Ids and parts up to and with <sys>, and whether the question was cut."""
        label_ids = [] if label is None else self._label_ids(label)
        whole = self.text_ids(question)
        kept = self._cut(whole, label_ids, label)
        ids = [self._id(USER), *kept, self._id(LABEL_MARK), *label_ids, self._id(SYSTEM)]
        label_part = Part.STRUCTURE if label is None else Part.LABEL
        parts = [Part.STRUCTURE] + [Part.QUESTION] * len(kept) + [Part.STRUCTURE]
        parts += [label_part] * (len(label_ids) + 1)
        return ids, parts, len(kept) < len(whole)

    def encode_prompt(self, question: str, label: str | None) -> list[int]:
        """Ids that the reply continues; `label=None` is the prompt without a label."""
        return self._head(question, label)[0]

    def cuts_question(self, question: str, label: str | None) -> bool:
        """Whether only the end of a question fits."""
        return self._head(question, label)[2]

    def encode_question(self, question: str) -> tuple[list[int], int]:
        """Ids up to the question's last, and how many of them are the question's."""
        ids, parts, _ = self._head(question, None)
        count = parts.count(Part.QUESTION)
        return ids[: 1 + count], count

    def size_of(self, ids: list[int]) -> int:
        """The bytes in UTF-8 of the text that these ids make."""
        return len(self.tokenizer.decode(ids).encode())

    def encode_label_choice(self, question: str, label: str) -> tuple[list[int], int]:
        """Ids up to and with <sys>, and how many of the last ones tell this label from the others."""
        ids, parts, _ = self._head(question, label)
        return ids, parts.count(Part.LABEL)

    def encode_example(self, question: str, answer: str, label: str | None) -> Example:
        """One pair as an Example of at most max_length tokens.

        Raises DataError where the label alone leaves no room.
        """
        ids, parts, cut = self._head(question, label)
        whole = [*self.text_ids(answer), self._id(EOS)]
        kept = whole[: self.max_length - len(ids)]
        return Example(
            input_ids=ids + kept,
            labels=[IGNORE] * len(ids) + kept,
            parts=[int(part) for part in parts] + [int(Part.ANSWER)] * len(kept),
            cut=cut or len(kept) < len(whole),
        )

    def explain(self, question: str, answer: str, label: str) -> list[Piece]:
        """Every token of a pair in order, those too that are cut. Raises as encode_example."""
        ids, parts, _ = self._head(question, label)
        whole, kept = self.text_ids(question), parts.count(Part.QUESTION)
        said, room = [*self.text_ids(answer), self._id(EOS)], self.max_length - len(ids)
        found = [(ids[0], Part.STRUCTURE, True)]
        found += [(one, Part.QUESTION, i >= len(whole) - kept) for i, one in enumerate(whole)]
        found += [(one, part, True) for one, part in zip(ids[1 + kept :], parts[1 + kept :], strict=True)]
        found += [(one, Part.ANSWER, i < room) for i, one in enumerate(said)]
        # What ends a label and an answer is learned with them, but it is structure to look at.
        structure = set(self.structure)
        texts = self.tokenizer.convert_ids_to_tokens([one for one, _, _ in found])
        return [
            Piece(text, one, Part.STRUCTURE if one in structure else part, kept)
            for text, (one, part, kept) in zip(texts, found, strict=True)
        ]

    def too_long(self, rows: Iterable[tuple[str, str, str]]) -> list[bool]:
        """Whether each (question, answer, label) has more tokens than fit, so that some would be cut."""
        return [
            sum(map(len, row)) > MAX_CHARACTERS
            or (sum(map(self._most_tokens, row)) + 4 > self.max_length and self._is_cut(*row))
            for row in rows
        ]

    def _is_cut(self, question: str, answer: str, label: str) -> bool:
        try:
            return self.encode_example(question, answer, label).cut
        except DataError:  # the label alone leaves no room
            return True

    def _most_tokens(self, text: str) -> int:
        """So many tokens a text has at the most, told quickly: most rows of a large file are far from too long."""
        return 1 + (len(text) if self._letters.issuperset(text) else len(text.encode("utf-8", "replace")))

    @cached_property
    def _letters(self) -> frozenset[str]:
        """Characters that are one token at the most; any other one is at most its bytes."""
        vocabulary = self.tokenizer.get_vocab()
        # Without ▁ it is a tokenizer of bytes, where such tokens stand for bytes, not for characters.
        return frozenset(" ") | {t for t in vocabulary if len(t) == 1} if "▁" in vocabulary else frozenset()
