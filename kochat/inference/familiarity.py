"""Is a question like those that a checkpoint was trained on? From the model's own likelihood of it.

Knows a prompt, a decoder and numbers; no card and no file. A question is as surprising as the nats that its
tokens cost, shared among its bytes, and unfamiliar where 95 of 100 questions that validation kept out
were less surprising. Of what was tried on ChatbotData (nats a token, a character, a byte, the worst tokens, with
and without bytes for free) this told nonsense, code, foreign and technical questions best from everyday ones.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from kochat.inference.decoder import Decoder
from kochat.model.prompt import Prompt

# Two syllables more than it has: a question of one short word costs more a byte and is no less familiar.
BYTES_FOR_FREE = 6
THRESHOLD = 0.95  # of the validation questions are less surprising than an unfamiliar one
QUANTILES = (0.5, 0.9, THRESHOLD, 0.975, 0.99)
MIN_QUESTIONS = 20  # fewer say too little about what is usual
MAX_QUESTIONS = 2000  # more make it no surer


def surprise(log_likelihoods: Sequence[float], size: int) -> float:
    """Nats a byte of a question with the log-likelihoods of its tokens; its text has `size` bytes in UTF-8."""
    return -math.fsum(log_likelihoods) / (size + BYTES_FOR_FREE)


def surprises(prompt: Prompt, decoder: Decoder, questions: Sequence[str]) -> list[float]:
    """The surprise of each question, to the model of `decoder`."""
    encoded = [prompt.encode_question(question) for question in questions]
    read = decoder.token_log_likelihoods(encoded)
    return [surprise(ones, prompt.size_of(ids[1:])) for ones, (ids, _) in zip(read, encoded, strict=True)]


def inherited(known: dict[str, Any], base: str) -> dict[str, Any]:
    """What a card keeps of the calibration of its base: the same, and whose it is. Empty where there is none."""
    return {**known, "of": known.get("of", base)} if known else {}


def calibrate(prompt: Prompt, decoder: Decoder, questions: Sequence[str]) -> dict[str, Any]:
    """What a card keeps of validation questions: how many they are, quantiles of their surprise, the threshold.

    Empty where fewer than MIN_QUESTIONS are distinct.
    """
    distinct = list(dict.fromkeys(questions))[:MAX_QUESTIONS]
    if len(distinct) < MIN_QUESTIONS:
        return {}
    cuts = statistics.quantiles(surprises(prompt, decoder, distinct), n=1000, method="inclusive")
    quantiles = {str(share): round(cuts[round(share * 1000) - 1], 4) for share in QUANTILES}
    return {"questions": len(distinct), "threshold": quantiles[str(THRESHOLD)], "quantiles": quantiles}
