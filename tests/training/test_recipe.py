"""Settings that follow from the number of pairs."""

import pytest
import torch

from kochat.config import NOTEBOOK_DEFAULTS, TrainingConfig
from kochat.model.cards import Card
from kochat.training import speed
from kochat.training.recipe import asking, filled, learning, num_epochs, num_rehearsed, seconds

ANSWERS = Card(
    labels=["0", "1", "2"], defaults={"epochs": 10, "batch_size": 32, "learning_rate": 1e-3, "max_length": 96}
)


@pytest.mark.parametrize(
    ("pairs", "epochs", "rehearsal"),
    [
        (5, 25, 16),
        (12, 25, 12),
        (39, 25, 6),
        (120, 25, 4),
        (400, 25, 2),
        (1600, 12, 1),
        (10_000, 5, 1),
        (100_000, 3, 1),
    ],
)
def test_few_pairs_take_more_epochs_and_more_rehearsal(pairs, epochs, rehearsal):
    assert (num_epochs(pairs), num_rehearsed(pairs)) == (epochs, rehearsal)


def test_a_base_that_answers_is_trained_by_the_number_of_pairs():
    made = filled(TrainingConfig(), ANSWERS, 39, has_earlier=True, width=224)
    assert (made.epochs, made.rehearsal, made.learning_rate, made.dropout) == (25, 6, 1e-3, 0.0)
    assert (made.keep_labels, made.label_loss, made.batch_size, made.max_length) == (True, 1.0, 32, 96)
    many = filled(TrainingConfig(), ANSWERS, 10_000, has_earlier=True)
    assert (many.epochs, many.rehearsal, many.dropout, many.label_loss) == (5, 1, None, 0.2)
    forgetful = filled(TrainingConfig(), ANSWERS, 39, has_earlier=False)
    assert (forgetful.rehearsal, forgetful.keep_labels) == (0, False)


def test_what_somebody_set_stays():
    own = {"epochs": 7, "rehearsal": 0, "keep_labels": False, "learning_rate": 0.5, "label_loss": 0.0, "dropout": 0.3}
    made = filled(TrainingConfig(**own), ANSWERS, 39, has_earlier=True)
    assert {name: getattr(made, name) for name in own} == own


def test_a_base_that_does_not_answer_has_the_settings_of_the_notebook_unless_asked_otherwise():
    made = filled(TrainingConfig(), Card(), 39, has_earlier=False, width=768)
    assert {name: getattr(made, name) for name in NOTEBOOK_DEFAULTS} == NOTEBOOK_DEFAULTS
    made = filled(TrainingConfig(recipe="pairs"), Card(), 39, has_earlier=False, width=768)
    assert (made.epochs, made.learning_rate, made.max_length) == (25, 2.9e-4, 40)  # wider, so smaller steps
    made = filled(TrainingConfig(recipe="base"), ANSWERS, 39, has_earlier=True)
    assert (made.epochs, made.rehearsal, made.keep_labels) == (10, 0, False)


def test_the_time_is_estimated_from_the_pairs_gone_over():
    made = filled(TrainingConfig(), ANSWERS, 39, has_earlier=True)
    # 25 times 39 pairs and 234 of the base, with its own answer to each of these; 69 replies, 14 times.
    work = 25 * (39 + 234 * 4 / 3) + 14 * 69 * 1.5
    assert learning(39, 39 * 6, 25) + asking(39, 25) == pytest.approx(work)
    assert seconds(made, 39, 5.0e6, 2e-9) == pytest.approx(10 + work * 0.01)
    assert seconds(made, 39, 125e6, 2e-9) == pytest.approx(10 + work * 0.25)


def test_this_machine_is_measured_once_and_nobodys_random_numbers_change():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    measured = speed.seconds_a_visit()
    assert 1e-11 < measured < 1e-6  # 5 million parameters: between 0.05 ms and 5 s
    assert speed.seconds_a_visit() == measured
    assert torch.equal(torch.random.get_rng_state(), before)
