"""What a page has to know of a chatbot beside its weights, as plain values for JSON.

Knows the Chatbot, its tokenizer and its matcher; no file and no page. What a page cannot do is refused here.
"""

from __future__ import annotations

import json
import unicodedata
import zlib
from collections.abc import Iterator
from typing import Any

from kochat.data.checks import BLANK, HANGUL_FILLERS
from kochat.errors import CheckpointError
from kochat.inference.chatbot import MAX_QUESTION_LENGTH, Chatbot
from kochat.inference.engine import MAX_REPLY_TOKENS
from kochat.inference.familiarity import BYTES_FOR_FREE
from kochat.inference.matching import CONCEPT, MIN_SIMILARITY, synonyms
from kochat.inference.sampling import PLAUSIBLE
from kochat.labels import AUTO, AUTO_NAMES, NAMES, are_emotions, label_name
from kochat.model.cards import licence_of, sources_of
from kochat.model.prompt import EOS, LABEL_MARK, SYSTEM, UNK, USER

LANGUAGES = tuple(NAMES)
ACTIVATIONS = ("gelu_new", "gelu_pytorch_tanh")  # the same function
NUM_SUGGESTIONS = 4
# The steps of a normalizer that a page knows, as tokenizers writes them.
NORMALIZERS = {
    '{"content": " ", "pattern": {"Regex": "[^\\\\S\\\\n]+"}, "type": "Replace"}': "spaces",
    '{"strip_left": true, "strip_right": true, "type": "Strip"}': "strip",
} | {f'{{"type": "{form}"}}': form for form in ("NFC", "NFD", "NFKC", "NFKD")}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


def description_of(bot: Chatbot) -> dict[str, Any]:
    """Everything but the weights and what the owner adds. Raises CheckpointError for what a page cannot do.

    DataError where a label leaves no room for a question.
    """
    if (activation := bot.weights.config["activation_function"]) not in ACTIVATIONS:
        raise CheckpointError("web_activation", name=bot.name, found=activation)
    for label in bot.labels:
        bot.prompt.encode_prompt("", label)  # refuses one that is too long
    return {
        "name": bot.name,
        "labels": bot.card.offered_labels,
        "labelNames": {language: _names(bot, language) for language in LANGUAGES},
        "maxLength": bot.prompt.max_length,
        "maxQuestionLength": MAX_QUESTION_LENGTH,
        "maxReplyTokens": MAX_REPLY_TOKENS,
        "blank": BLANK,
        "unseen": BLANK + HANGUL_FILLERS + "\u200d" + "".join(map(chr, range(0xFE00, 0xFE10))),
        "stripPunctuation": bot.prompt.strip_punctuation,
        "strength": bot.card.strength,
        "canStrengthen": bot.card.can_strengthen,
        "plausible": PLAUSIBLE,
        "threshold": bot.card.familiarity.get("threshold"),
        "bytesForFree": BYTES_FOR_FREE,
        "unsure": bot.card.unsure,
        "colour": bot.card.profile.get("colour"),
        "labelTitle": bot.card.label_column,
        "hasEmotions": are_emotions(bot.card.offered_labels),
        "suggestions": _suggestions(bot),
        "licence": licence_of(bot.card),
        "sources": {language: sources_of(bot.card, language) for language in LANGUAGES},
        "tokenizer": _tokenizer(bot),
        "matching": _matching(bot),
    }


def _names(bot: Chatbot, language: str) -> dict[str, str]:
    names = {label: label_name(label, language, bot.labels, bot.card.label_names) for label in bot.card.offered_labels}
    return {AUTO: AUTO_NAMES[language], **names}


def _suggestions(bot: Chatbot) -> list[str]:
    """What one may ask first: what its owner chose, its own questions, or those that its training showed."""
    if chosen := bot.card.profile.get("examples"):
        return chosen
    shown = bot.matcher.questions if bot.matcher else bot.card.config.get("sample_questions", ())
    return [text for text in shown if isinstance(text, str)][:NUM_SUGGESTIONS]


def _tokenizer(bot: Chatbot) -> dict[str, Any]:
    """Its vocabulary by id, its merges as pairs of ids, and the steps before them."""
    found = json.loads(bot.prompt.text_tokenizer.to_str())
    model, vocabulary = found["model"], bot.tokenizer.get_vocab()
    if not is_known_tokenizer(found):
        raise CheckpointError("web_tokenizer", name=bot.name)
    pieces = [""] * (max(vocabulary.values()) + 1)
    for piece, place in vocabulary.items():
        pieces[place] = piece
    ids = model["vocab"]
    return {
        "pieces": pieces,
        "merges": [ids[piece] for pair in model["merges"] for piece in pair],
        "merged": [ids["".join(pair)] for pair in model["merges"]],
        "normalizers": [NORMALIZERS[step] for step in _steps(found["normalizer"])],
        # Emoticons of KoGPT2, say, which are found before anything else is done to a text.
        "added": [[one["content"], one["id"], one["normalized"]] for one in found["added_tokens"]],
        "byteFallback": model["byte_fallback"],
        "fuseUnknown": model["fuse_unk"],
        "structural": sorted(set(bot.tokenizer.all_special_ids)),
        "usr": vocabulary[USER],
        "label": vocabulary[LABEL_MARK],
        "sys": vocabulary[SYSTEM],
        "end": vocabulary[EOS],
        "unknown": vocabulary[UNK],
    }


def is_known_tokenizer(found: dict[str, Any]) -> bool:
    """Whether the page encodes and decodes as this tokenizer, a tokenizer.json, does."""
    model = found["model"]
    odd = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
    added = (one[flag] for one in found["added_tokens"] for flag in ("single_word", "lstrip", "rstrip"))
    decoder = found["decoder"] or {}
    return (
        model["type"] == "BPE"
        and not any(model.get(name) for name in odd)
        and model["unk_token"] == UNK
        and found["pre_tokenizer"] == METASPACE
        and METASPACE in (decoder, *decoder.get("decoders", ()))
        and all(step in NORMALIZERS for step in _steps(found["normalizer"]))
        and not any(added)
    )


def _steps(normalizer: dict[str, Any] | None) -> Iterator[str]:
    """Each step of a normalizer as JSON."""
    for step in normalizer["normalizers"] if normalizer and normalizer["type"] == "Sequence" else [normalizer]:
        if step:
            yield json.dumps(step, sort_keys=True)


def _matching(bot: Chatbot) -> dict[str, Any] | None:
    """What finds the own question that is meant: the own questions, and how rare each feature is.

    Of other questions, which stand for themselves, a page only has to know one when it sees it: their checksums do,
    and what somebody once asked stays at home.
    """
    matcher = bot.matcher
    if not matcher:
        return None
    weights = {feature: matcher.weight(feature) for feature in sorted(matcher.features)}
    levels = sorted(set(weights.values()))
    places = {weight: i for i, weight in enumerate(levels)}
    offered = {q: [one for one in labels if one in bot.card.offered_labels] for q, labels in matcher.labels.items()}
    return {
        "questions": [[question, labels] for question, labels in offered.items() if labels],
        "ownLabels": sorted(bot.own_labels),
        "minSimilarity": MIN_SIMILARITY,
        "levels": levels,
        "features": {feature: places[weight] for feature, weight in weights.items()},
        "otherWeights": [matcher.weight(one) for one in ("\0", CONCEPT)],
        "others": sorted({checksum(text) for text in matcher.background}),
        "synonyms": synonyms(),
        "folds": _folds(),
    }


def checksum(text: str) -> int:
    """The CRC-32 of a text in UTF-8, which the page computes too."""
    return zlib.crc32(text.encode("utf-8", "replace"))


def _folds() -> dict[str, str]:
    """Characters whose case JavaScript's toLowerCase folds otherwise than str.casefold."""
    every = (chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000)
    return {c: c.casefold() for c in every if c.casefold() != c.lower() and unicodedata.normalize("NFKC", c) == c}
