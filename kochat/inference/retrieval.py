"""Retrieval: the answers that are written to the nearest questions, candidates beside a chatbot's own reply.

How alike questions are is the cosine of TF-IDF of their characters. Knows texts and numbers; no model: how likely an
answer is, whoever asks says. scikit-learn takes a second to import and so is imported when it is needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kochat.data.pairs import Pair

NGRAMS = (1, 3)  # characters, within words
# Chosen on the validation questions of kochat-mini: benchmarks/retrieval.py.
NUM_NEAREST = 4  # answers
WEIGHT = 2.0  # of a similarity, in nats a character
# Of a question whose answer may be given. To less similar ones hardly a true answer is found, and people find more
# sense in what the model says by itself.
MIN_SIMILARITY = 0.4


@dataclass(frozen=True)
class Nearest:
    """An answer that may be given: to which of the known questions it was one, and how alike that is, from 0 to 1.

    `is_generated` where the model says it by itself; `question` is None where no question was answered so.
    """

    answer: str
    question: str | None
    similarity: float
    is_generated: bool = False


@dataclass(frozen=True)
class Candidate(Nearest):
    """The same with what the model makes of it under the label: nats a character, of which </s> is one."""

    log_likelihood: float = 0.0

    @property
    def score(self) -> float:
        """What candidates are ranked by."""
        return self.log_likelihood + WEIGHT * self.similarity


class Retriever:
    """Finds the nearest of the questions of `pairs`, (question, answer, label), of which there is at least one."""

    def __init__(self, pairs: Sequence[Pair]):
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._questions, self._answers = (list(dict.fromkeys(pair[i] for pair in pairs)) for i in (0, 1))
        self._vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=NGRAMS, sublinear_tf=True, dtype=np.float32)
        # The rows that it makes have length 1, so that a product is the cosine.
        self._vectors = self._vectorizer.fit_transform(self._questions).T.tocsr()
        places = {question: i for i, question in enumerate(self._questions)}
        self._numbers = {answer: i for i, answer in enumerate(self._answers)}
        rows: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for question, answer, label in pairs:
            rows[label].append((places[question], self._numbers[answer]))
        self._rows = {label: np.array(ones).T for label, ones in rows.items()}  # question and answer, (2, pairs)

    def candidates(self, question: str, label: str, generated: str, most: int = NUM_NEAREST) -> list[Nearest]:
        """What the model says by itself, and the answers to the nearest questions under the label, the nearest first.

        Questions below MIN_SIMILARITY do not count. Of those that were answered alike the nearest does, of several as
        near the first.
        """
        own, others = Nearest(generated, None, 0.0, is_generated=True), {}
        if label not in self._rows:
            return [own]
        places, answers = self._rows[label]
        similarities = (self._vectorizer.transform([question]) @ self._vectors).toarray()[0][places].clip(max=1)

        def nearest(i: int, is_generated: bool = False) -> Nearest:
            question, answer = self._questions[places[i]], self._answers[answers[i]]
            return Nearest(answer, question, float(similarities[i]), is_generated)

        is_own = answers == self._numbers.get(generated, -1)
        said = np.flatnonzero(is_own & (similarities > 0))
        if said.size:
            own = nearest(said[similarities[said].argmax()], is_generated=True)
        alike = np.flatnonzero(~is_own & (similarities >= MIN_SIMILARITY))
        for i in alike[np.argsort(-similarities[alike], kind="stable")]:
            if len(others) == most:
                break
            others.setdefault(answers[i], nearest(i))
        return [own, *others.values()]
