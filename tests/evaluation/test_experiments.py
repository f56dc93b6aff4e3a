"""The experiments of the learning tab, with a tiny base: what is trained, what is counted, what stays behind."""

import tempfile
from pathlib import Path

import pytest

from kochat.evaluation import experiments
from kochat.evaluation.experiments import EMOTIONS, LabelEffect, Overfit, Tick
from kochat.training.events import Epoch

ROWS = [("안녕", "네", "가"), ("안녕", "아니요", "나"), ("뭐해?", "놀아요", "가"), ("뭐해?", "자요", "나")]


class Bot:
    """Says what it was told to, whatever the strength, and reads the first label everywhere."""

    def __init__(self, said):
        self.said, self.labels = said, ["가", "나"]

    def replies(self, asked, strength):
        assert strength == 0
        return [self.said[key] for key in asked]

    def predict_labels(self, questions):
        return [{"가": 0.9, "나": 0.1} for _ in questions]


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_replies_that_change_with_the_label_and_those_that_are_its_answer_are_counted():
    obeys = experiments.label_effect(Bot({(q, label): a for q, a, label in ROWS}), ROWS)
    assert obeys == LabelEffect(["안녕", "뭐해?"], ["가", "나"], [["네", "아니요"], ["놀아요", "자요"]], 4, 4)
    assert obeys.changed == 2
    said = {("안녕", "가"): "네", ("안녕", "나"): "네", ("뭐해?", "가"): "자요", ("뭐해?", "나"): "놀아요"}
    deaf = experiments.label_effect(Bot(said), ROWS)
    assert (deaf.changed, deaf.right) == (1, 1)


def test_a_question_under_several_labels_can_be_read_as_one_only():
    said = {(q, label): a if label == "가" else "?" for q, a, label in ROWS}
    found = experiments.granularity(Bot(said), ROWS, [*ROWS, ("비 와?", "네", "가")])
    assert (found.own_right, found.own_asked) == (2, 4)
    assert (found.label_right, found.label_asked, found.label_possible) == (3, 5, 3)
    assert found.label_accuracy == 0.6


def test_the_best_epoch_is_the_one_with_the_lowest_validation_loss():
    assert Overfit([3, 2, 1], [2.0, 1.5, 1.8], 1, 1, 0, 1).best_epoch == 2


@pytest.mark.slow
def test_both_trainings_have_the_same_pairs_and_nothing_of_them_stays(tiny_base, temporary):
    before = set(temporary.iterdir())
    *ticks, (with_label, without) = experiments.label_in_prompt(tiny_base, epochs=1, questions=2)
    assert [tick.run for tick in ticks if isinstance(tick.event, Epoch)] == [1, 2]
    assert ticks[-1].done == 1
    assert with_label.questions == without.questions == ["안녕", "안녕하세요!"]
    assert with_label.labels == list(EMOTIONS.values())
    assert with_label.asked == 6
    assert set(temporary.iterdir()) == before


@pytest.mark.slow
def test_whoever_closes_an_experiment_ends_it_and_its_folder(tiny_base, temporary):
    before = set(temporary.iterdir())
    going = experiments.overfitting(tiny_base, epochs=50, questions=6)
    assert isinstance(next(going), Tick)
    assert set(temporary.iterdir()) != before
    going.close()
    assert set(temporary.iterdir()) == before


@pytest.mark.slow
def test_the_same_pairs_under_two_labels_and_five(tiny_base):
    *_, (few, many) = experiments.more_labels(tiny_base, epochs=1, questions=2)
    assert few.labels == ["대화", "일터"]
    assert many.labels == [*EMOTIONS.values(), "건설현장", "우산장수"]
    assert few.own_asked == many.own_asked == few.label_asked == few.label_possible == 10
    assert many.label_possible == 4


@pytest.mark.slow
def test_own_questions_and_new_ones_are_told_apart(tiny_base):
    *ticks, found = experiments.overfitting(tiny_base, epochs=2, questions=6)
    assert len(found.training) == len(found.validation) == 2
    assert found.own_asked + found.new_asked == 18
    assert found.own_asked > found.new_asked > 0
    assert found.validation == [tick.event.validation_loss for tick in ticks if isinstance(tick.event, Epoch)]
