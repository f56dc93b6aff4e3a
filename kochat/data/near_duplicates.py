"""Questions that are nearly the same: which of many are spelled alike but for a letter, a space or a mark.

Knows texts only. Found exactly, by a set-similarity join with prefix filtering: of two sets of bigrams as similar
as asked for, the rarest few of the one and of the other share at least one (Chaudhuri et al. 2006; Bayardo et al.
2007, "Scaling Up All Pairs Similarity Search").
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

THRESHOLD = 3, 4  # Jaccard similarity of the bigrams from which on two questions are near-duplicates: three quarters
LAUGHS_AND_TEARS = re.compile("[ㅋㅎㅠㅜ]+")


def canonical(question: str) -> str:
    """A question without what is no matter: case, width, spaces, punctuation, laughs and tears (ㅋㅎㅠㅜ)."""
    # Before NFKC, which would join ㅋ and ㅠ to a syllable.
    text = unicodedata.normalize("NFKC", LAUGHS_AND_TEARS.sub("", question))
    return re.sub(r"[\W_]+", "", text.casefold())


def bigrams(text: str) -> frozenset[str]:
    """The pairs of neighbouring characters of a text; a text of one character or none is its own only one."""
    return frozenset(text[i : i + 2] for i in range(len(text) - 1)) or frozenset([text])


def groups(questions: Collection[str]) -> dict[str, int]:
    """The group of each question: near-duplicates, and near-duplicates of these, have the same number."""
    forms = {question: canonical(question) for question in questions}
    distinct = list(dict.fromkeys(forms.values()))
    parents = list(range(len(distinct)))

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = i = parents[parents[i]]
        return i

    for i, j in similar([bigrams(form) for form in distinct]):
        parents[root(i)] = root(j)
    numbers = {form: root(i) for i, form in enumerate(distinct)}
    return {question: numbers[form] for question, form in forms.items()}


def similar(sets: Sequence[frozenset[str]]) -> Iterator[tuple[int, int]]:
    """Every two of the sets whose Jaccard similarity is at least THRESHOLD."""
    counts = Counter(element for one in sets for element in one)
    ranks = {element: i for i, element in enumerate(sorted(counts, key=lambda element: (counts[element], element)))}
    ordered = [sorted(map(ranks.__getitem__, one)) for one in sets]  # the rarest first, as numbers
    index: dict[int, list[int]] = defaultdict(list)
    part, whole = THRESHOLD
    for i in sorted(range(len(sets)), key=lambda i: len(sets[i])):  # so that a set meets those no larger than it
        size, met = len(ordered[i]), set()
        smallest = -(-part * size // whole)  # of the sets that can be similar enough; as many must be shared
        to_share = -(-2 * part * size // (part + whole))  # with a set no smaller than this one
        for place, element in enumerate(ordered[i][: size - smallest + 1]):
            met.update(index[element])
            if place <= size - to_share:
                index[element].append(i)
        for j in met:
            other = len(ordered[j])
            # shared / (size + other - shared) >= part / whole, in whole numbers
            if other >= smallest and len(sets[i] & sets[j]) * (part + whole) >= part * (size + other):
                yield i, j
