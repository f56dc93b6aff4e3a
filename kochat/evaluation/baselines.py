"""What simple classifiers make of the same pairs: which label an answer sounds like, and baselines to beat.

Knows texts and scikit-learn, which takes a second to import and so is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kochat.evaluation.heldout import spread

MAX_PAIRS = 20_000  # to learn from
MAX_SEARCHED = 100_000  # to find the nearest among, which takes less time
COMPARED_AT_ONCE = 256
NGRAMS = (1, 3)  # characters, within words
REGULARISATION = 10.0  # scikit-learn's C
FOLDS = 5  # of the cross-fitting


def _vectorizer():
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=NGRAMS, sublinear_tf=True)


class LabelClassifier:
    """Tells the label of a text: TF-IDF of its character n-grams, logistic regression.

    Deterministic. `balanced`: every label weighs the same, however many texts have it. At least two labels.
    """

    def __init__(self, texts: Sequence[str], labels: Sequence[str], balanced: bool = False):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        weights = "balanced" if balanced else None
        # newton-cg draws no random numbers, and takes a fifth of the time of lbfgs here.
        classifier = LogisticRegression(C=REGULARISATION, class_weight=weights, max_iter=1000, solver="newton-cg")
        self._pipeline = make_pipeline(_vectorizer(), classifier).fit(list(texts), list(labels))
        self.labels = [str(label) for label in classifier.classes_]

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The likeliest label of each text."""
        return self._pipeline.predict(list(texts)) if len(texts) else np.array([], dtype=object)


class AnswerClassifier:
    """Tells the label of an answer, never by a classifier that has learned this very answer (cross-fitting).

    The answers are divided into FOLDS folds, equal answers into the same (GroupKFold). An answer of one fold is
    judged by the classifier that learned the other folds; any other text by one that learned them all. A chatbot
    repeats answers that it was trained on: judged by a classifier that learned them they would be recognised
    nearly always (in-sample). Chernozhukov et al. 2018, "Double/debiased machine learning".
    """

    def __init__(self, answers: Sequence[str], labels: Sequence[str]):
        from sklearn.model_selection import GroupKFold

        answers, labels = np.array(answers, dtype=object), np.array(labels, dtype=object)
        self._all = LabelClassifier(answers, labels, balanced=True)
        self._fold_of: dict[str, int] = {}
        self._folds: list[LabelClassifier | None] = []
        folds = GroupKFold(min(FOLDS, len(set(answers)))).split(answers, groups=answers)
        for number, (learned, left_out) in enumerate(folds):
            self._fold_of |= dict.fromkeys(answers[left_out], number)
            # What has but one label left knows no other: its answers count as not recognised.
            enough = len(set(labels[learned])) > 1
            self._folds.append(LabelClassifier(answers[learned], labels[learned], balanced=True) if enough else None)
        self.labels = self._all.labels

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The likeliest label of each text; "" where nothing could learn it."""
        told, folds = np.full(len(texts), "", dtype=object), np.array([self._fold_of.get(text, -1) for text in texts])
        for number, classifier in [(-1, self._all), *enumerate(self._folds)]:
            chosen = np.flatnonzero(folds == number)
            if len(chosen) and classifier:
                told[chosen] = classifier.predict([texts[i] for i in chosen])
        return told


def answer_classifier(training: pd.DataFrame | None) -> AnswerClassifier | None:
    """What tells the label of a reply, learned from the answers of `training`, cross-fitted.

    None where that has one label or none, or one answer. Learns from at most MAX_PAIRS pairs, every label weighing
    the same.
    """
    chosen = None if training is None else spread(training, MAX_PAIRS)
    if chosen is None or chosen["label"].nunique() < 2 or chosen["A"].nunique() < 2:
        return None
    return AnswerClassifier(list(chosen["A"]), list(chosen["label"]))


def baselines(training: pd.DataFrame, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """For each pair of `table` whether a baseline that learned from `training` is right (1.0 or 0.0), by figure.

    `nearest_…`: the answer and the label of the training question nearest by TF-IDF and cosine, of several the
    first; `frequent_exact`: the most frequent answer; `linear_label_accuracy`: a linear classifier of questions,
    where there is more than one label. Both tables have the columns Q, A, label and are not empty.
    """
    searched, training = spread(training, MAX_SEARCHED), spread(training, MAX_PAIRS)
    nearest = searched.iloc[_nearest(list(searched["Q"]), list(table["Q"]))]
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
