"""What simple classifiers make of the same pairs: which label an answer sounds like, and baselines to beat.

Knows texts and scikit-learn, which takes a second to import and so is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .heldout import spread

MOST_PAIRS = 20_000  # to learn from
COMPARED_AT_ONCE = 256
NGRAMS = (1, 3)  # characters, within words
REGULARISATION = 10.0  # scikit-learn's C


def _vectorizer():
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=NGRAMS, sublinear_tf=True)


class LabelClassifier:
    """Tells the label of a text: TF-IDF of its character n-grams, logistic regression.

    Deterministic. `balanced`: every label weighs the same, however many texts have it.
    """

    def __init__(self, texts: Sequence[str], labels: Sequence[str], balanced: bool = False):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        weights = "balanced" if balanced else None
        # lbfgs draws no random numbers; the seed holds should scikit-learn choose another solver.
        classifier = LogisticRegression(C=REGULARISATION, class_weight=weights, max_iter=1000, random_state=0)
        self._pipeline = make_pipeline(_vectorizer(), classifier).fit(list(texts), list(labels))
        self.labels = [str(label) for label in classifier.classes_]

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The likeliest label of each text."""
        return self._pipeline.predict(list(texts)) if len(texts) else np.array([], dtype=object)


def answer_classifier(training: pd.DataFrame | None) -> LabelClassifier | None:
    """What tells the label of a reply, learned from the answers of `training`; None where that has one label or none.

    Learns from at most MOST_PAIRS pairs, every label weighing the same.
    """
    chosen = None if training is None else spread(training, MOST_PAIRS)
    if chosen is None or chosen["label"].nunique() < 2:
        return None
    return LabelClassifier(chosen["A"], chosen["label"], balanced=True)


def baselines(training: pd.DataFrame, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """For each pair of `table` whether a baseline that learned from `training` is right (1.0 or 0.0), by figure.

    `nearest_…`: the answer and the label of the training question nearest by TF-IDF and cosine, of several the
    first; `frequent_exact`: the most frequent answer; `linear_label_accuracy`: a linear classifier of questions,
    where there is more than one label. Both tables have the columns Q, A, label and are not empty.
    """
    training = spread(training, MOST_PAIRS)
    nearest = training.iloc[_nearest(list(training["Q"]), list(table["Q"]))]
    answers, labels = table["A"].to_numpy(), table["label"].to_numpy()
    right = {
        "nearest_exact": nearest["A"].to_numpy() == answers,
        "frequent_exact": answers == training["A"].value_counts().index[0],
        "nearest_label_accuracy": nearest["label"].to_numpy() == labels,
    }
    if training["label"].nunique() > 1:
        classifier = LabelClassifier(training["Q"], training["label"])
        right["linear_label_accuracy"] = classifier.predict(list(table["Q"])) == labels
    return {name: np.asarray(one, dtype=float) for name, one in right.items()}


def _nearest(known: Sequence[str], asked: Sequence[str]) -> list[int]:
    """For each question asked, which of the known ones is nearest."""
    vectorizer = _vectorizer()
    there = vectorizer.fit_transform(known).T.tocsr()  # rows have length 1, so that a product is the cosine
    new, found = vectorizer.transform(asked), []
    for start in range(0, len(asked), COMPARED_AT_ONCE):
        found += (new[start : start + COMPARED_AT_ONCE] @ there).toarray().argmax(axis=1).tolist()
    return found
