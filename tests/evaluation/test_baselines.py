"""The classifiers and baselines, on pairs so few that the right result can be seen."""

import pandas as pd
import pytest

from kochat.evaluation import baselines as module
from kochat.evaluation.baselines import LabelClassifier, answer_classifier, baselines

TRAINING = pd.DataFrame(
    [
        ("오늘 뭐 먹지", "맛있게 드세요.", "0"),
        ("점심 뭐 먹지", "맛있게 드세요.", "0"),
        ("헤어졌어", "많이 힘들죠.", "1"),
        ("이별했어", "많이 아프죠.", "1"),
        ("고백할까", "고백해 보세요.", "2"),
    ],
    columns=["Q", "A", "label"],
)


def test_the_label_of_an_answer_is_told_by_its_characters():
    classifier = answer_classifier(TRAINING)
    assert classifier.labels == ["0", "1", "2"]
    assert classifier.predict(["맛있게 먹어요.", "힘들죠?", "고백해요!"]).tolist() == ["0", "1", "2"]
    assert classifier.predict([]).tolist() == []


def test_balanced_means_that_a_frequent_label_is_no_better_guess():
    # The text says nothing: what is left is how much each label weighs.
    texts, labels = ["가"] * 10, ["many"] * 9 + ["one"]
    plain, balanced = (LabelClassifier(texts, labels, balanced)._pipeline for balanced in (False, True))
    assert plain.predict_proba(["가"])[0] == pytest.approx([0.9, 0.1], abs=0.01)
    assert balanced.predict_proba(["가"])[0] == pytest.approx([0.5, 0.5], abs=0.01)


def test_an_answer_is_never_judged_by_a_classifier_that_has_learned_it():
    # Ten answers under two labels, no letter in common: learned they are told every time, else there is only chance.
    answers = [letter * 3 for letter in "가나다라마바사아자차"]
    rows = [(f"질문 {i}", answers[i % 10], str(i % 2)) for i in range(40)]
    training = pd.DataFrame(rows, columns=["Q", "A", "label"])
    labels = training["label"].to_numpy()
    in_sample = LabelClassifier(list(training["A"]), list(labels), balanced=True)
    assert (in_sample.predict(list(training["A"])) == labels).mean() == 1
    classifier = answer_classifier(training)
    told = classifier.predict(list(training["A"]))
    assert (told == labels).mean() == 0.5
    assert len({classifier._fold_of[answer] for answer in answers}) == 5
    for answer in answers:
        fold = classifier._folds[classifier._fold_of[answer]]
        assert fold.predict([answer]) == classifier.predict([answer])
        assert answer[0] not in fold._pipeline[0].vocabulary_
    # What is no answer of training is judged by what learned them all.
    assert classifier.predict(["가가", "나나"]).tolist() == ["0", "1"]


def test_a_label_with_a_single_answer_is_not_recognised_in_it():
    training = pd.DataFrame([("a", "하나", "0"), ("b", "둘", "1")], columns=["Q", "A", "label"])
    classifier = answer_classifier(training)
    assert classifier.predict(["하나", "둘", "하나요"]).tolist() == ["", "", "0"]
    assert answer_classifier(training.assign(A="하나")) is None


@pytest.mark.slow
def test_where_there_are_not_two_labels_nothing_tells_them_apart():
    assert answer_classifier(None) is None
    assert answer_classifier(TRAINING[:2]) is None
    assert answer_classifier(TRAINING[:0]) is None
    rare = pd.concat([TRAINING[:1]] * 40_001 + [TRAINING[-1:]], ignore_index=True)
    assert rare["label"].nunique() == 2
    assert answer_classifier(rare) is None  # of so many pairs not all are looked at


def test_the_baselines_are_right_where_they_should_be():
    asked = pd.DataFrame(
        [
            ("저녁 뭐 먹지", "맛있게 드세요.", "0"),  # nearest, and the most frequent answer
            ("헤어졌어요", "많이 힘들죠.", "1"),  # nearest
            ("고백할까 말까", "망설이지 마세요.", "2"),  # its label alone
            ("이별 후 뭐 먹지", "힘내세요.", "1"),  # looks like 0
        ],
        columns=["Q", "A", "label"],
        index=[7, 3, 9, 1],
    )
    right = baselines(TRAINING, asked)
    assert {name: values.tolist() for name, values in right.items()} == {
        "nearest_exact": [1, 1, 0, 0],
        "frequent_exact": [1, 0, 0, 0],
        "nearest_label_accuracy": [1, 1, 1, 0],
        "linear_label_accuracy": [1, 1, 1, 0],
    }
    one_label = baselines(TRAINING[:2], asked)
    assert set(one_label) == {"nearest_exact", "frequent_exact", "nearest_label_accuracy"}


def test_of_two_equally_near_questions_the_first_counts_and_pieces_change_nothing(monkeypatch):
    known = ["안녕", "안녕", "잘 가", "또 봐"]
    asked = ["또 봐", "안녕", "잘 가", "안녕"]
    assert module._nearest(known, asked) == [3, 0, 2, 0]
    monkeypatch.setattr(module, "COMPARED_AT_ONCE", 3)
    assert module._nearest(known, asked) == [3, 0, 2, 0]


@pytest.mark.slow
def test_they_reach_on_chatbot_data_what_such_classifiers_reach(chatbot_data):
    from kochat.data import pairs, splits

    table = pairs.read_pairs(chatbot_data)
    if len(table) < 11_000:  # the sample stands in; it has every question under three labels
        assert set(baselines(table[:150], table[150:180])) >= {"nearest_exact", "linear_label_accuracy"}
        return
    training, held_out = splits.split_in_two(table, 0.05, 0)
    means = {name: values.mean() for name, values in baselines(training, held_out).items()}
    assert means["nearest_exact"] == pytest.approx(0.217, abs=0.005)
    assert means["linear_label_accuracy"] == pytest.approx(0.854, abs=0.01)
    answers, labels = list(held_out["A"]), held_out["label"].to_numpy()
    classifier = answer_classifier(training)
    assert (classifier.predict(answers) == labels).mean() == pytest.approx(0.655, abs=0.01)
    # Half of these answers stand in training too, and whoever learned them tells them:
    in_sample = LabelClassifier(list(training["A"]), list(training["label"]), balanced=True)
    assert (in_sample.predict(answers) == labels).mean() == pytest.approx(0.801, abs=0.01)
