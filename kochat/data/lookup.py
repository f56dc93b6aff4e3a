"""What answers are looked up in: the pairs that a checkpoint keeps, and what of its corpora comes with kochat.

Knows files and texts; no model, and no pandas, which a reply does without.
"""

from __future__ import annotations

import csv
import hashlib
import lzma
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kochat.data.pairs import Pair

SAMPLES = Path(__file__).parent / "samples"
CORPUS = "everyday"  # comes with kochat, whole
# The key of a question of ChatbotData or `everyday`, and the question in other words: `python -m benchmarks.corpus`.
PARAPHRASES = SAMPLES / "paraphrases.csv.xz"


def lookup_pairs(kept: Sequence[Pair], sources: Collection[str]) -> list[Pair]:
    """The kept pairs of a checkpoint, those of `everyday` where its `sources` name it, and their questions paraphrased.

    A paraphrase goes with every answer to its question. What a checkpoint keeps comes first: a question that it
    keeps under a label has no other answer under that label. The questions of `everyday` that are withheld for
    validation and test have no paraphrases and are not among these.
    """
    paraphrases = _paraphrases()
    corpus = _corpus() if CORPUS in sources else ()
    answered = {(question, label) for question, _, label in kept}
    rows = list(kept)
    for question, answer, label in corpus:
        if (question, label) not in answered and key_of(question) in paraphrases:
            rows.append((question, answer, label))
    keys = {question: key_of(question) for question in {row[0] for row in rows}}
    return rows + [
        (paraphrase, answer, label)
        for question, answer, label in rows
        for paraphrase in paraphrases.get(keys[question], ())
        if (paraphrase, label) not in answered
    ]


def key_of(question: str) -> str:
    """What stands for a question beside its paraphrases: ChatbotData is not ours to ship."""
    return hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _corpus() -> Iterator[Pair]:
    with (SAMPLES / f"{CORPUS}.csv").open(encoding="utf-8", newline="") as file:
        yield from ((row["Q"], row["A"], row["label"]) for row in csv.DictReader(file))


def _paraphrases() -> dict[str, list[str]]:
    """The paraphrases of each question, by its key."""
    found = defaultdict(list)
    with lzma.open(PARAPHRASES, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["key"]].append(row["paraphrase"])
    return found
