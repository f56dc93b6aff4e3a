"""The verdict on a training: what it learned, what it forgot, which settings would do better."""

from dataclasses import replace

import pytest

from kochat.runs.journal import Record
from kochat.runs.verdict import FORGOTTEN, verdict

STARTED = {
    "epochs": 10,
    "learning_rate": 1.5e-3,
    "rehearsal": 0,
    "rehearsed": 0,
    "own_right": 1,
    "own_asked": 39,
    "base_nll": 1.10,
}


def record(right=39, base=1.10, asked=39, epoch=10, **started):
    final = {"type": "finished", "epoch": epoch, "own_right": right, "own_asked": asked, "base_nll": base}
    epochs = {number: {"loss": 3.0 / number, "own_right": right, "own_asked": asked} for number in range(1, 11)}
    return Record(state="finished", started={**STARTED, **started}, epochs=epochs, final=final)


@pytest.mark.parametrize(
    ("right", "base", "kind", "changes"),
    [
        (39, 1.10, "learned", {}),
        (38, 1.133, "learned", {}),  # 97 %, and 3 % worse
        (38, None, "learned", {}),
        (37, 1.10, "partly", {"epochs": 20}),  # 94.9 %
        (12, 1.00, "partly", {"epochs": 20}),
        (39, 1.36, "forgot", {"rehearsal": 3}),
        (12, 1.36, "forgot", {"rehearsal": 3, "epochs": 20}),
        (4, 1.10, "not_learned", {"epochs": 30}),
        (4, 1.36, "worse", {"rehearsal": 3, "epochs": 30}),
    ],
)
def test_what_was_learned_and_what_was_forgotten_make_the_verdict(right, base, kind, changes):
    found = verdict(record(right, base))
    assert (found.kind, found.changes) == (kind, changes)
    assert found.forgot == (base == 1.36)
    assert found.learned == ("all" if right >= 38 else "none" if right == 4 else "partly")
    assert (found.own_before, found.own_right, found.own_asked) == (1, right, 39)
    assert (found.base_before, found.base_after) == (1.10, base)


def test_the_end_of_what_may_be_forgotten_is_three_per_cent():
    assert not verdict(record(base=FORGOTTEN * 1.10)).forgot
    assert verdict(record(base=1.14)).forgot


def test_of_more_questions_asked_in_the_end_the_share_counts():
    found = verdict(record(right=120, asked=400, own_right=25, own_asked=100))
    assert (found.own_before, found.kind) == (100, "not_learned")  # 25 % before, 30 % after


def test_more_is_gone_over_again_up_to_what_teaching_takes_then_it_learns_more_slowly():
    def changes(**started):
        return verdict(record(base=1.36, **started)).changes

    assert changes(rehearsal=3, rehearsed=90) == {"rehearsal": 6}
    assert changes(rehearsal=12, rehearsed=90) == {"rehearsal": 15}
    assert changes(rehearsal=15, rehearsed=90) == {"learning_rate": 7.5e-4}
    assert changes(rehearsal=3, rehearsed=0) == {"learning_rate": 7.5e-4}  # the base keeps no pairs


def test_where_not_even_the_loss_fell_it_is_to_learn_more_slowly():
    found = record(right=4, base=1.36)
    risen = {number: {**one, "loss": 2.0 + number / 10} for number, one in found.epochs.items()}
    assert verdict(replace(found, epochs=risen)).changes == {"learning_rate": 5e-4, "rehearsal": 3}


def test_more_epochs_are_offered_only_where_the_last_one_was_kept():
    early = record(right=20, epoch=4)
    assert verdict(early).changes == {}
    # The last epoch said them, the one that the validation loss chose does not.
    late = replace(early, epochs={**early.epochs, 10: {"loss": 1.0, "own_right": 39, "own_asked": 39}})
    assert verdict(late).changes == {"keep": "last"}
    assert verdict(record(right=20, epoch=None)).changes == {"epochs": 20}  # ended within an epoch


def test_there_is_none_before_the_end_nor_of_a_run_that_measured_nothing():
    assert verdict(Record()) is None
    assert verdict(replace(record(), state="stopped")) is None
    old = replace(record(), final={"type": "finished", "epoch": 10, "seconds": 1.0})
    assert verdict(old) is None
