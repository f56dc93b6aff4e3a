"""The strengths: what is measured at each is what the bot says at it, and the rule that chooses one."""

import pandas as pd
import pytest

from kochat.errors import DataError, ReplyError
from kochat.evaluation import guidance
from kochat.evaluation.guidance import AtStrength, choose, measure
from kochat.evaluation.metrics import Progress

ROWS = [("안녕", "안녕하세요.", "0"), ("고마워", "저도요.", "1"), ("안녕", "네", "2")]
TABLE = pd.DataFrame(ROWS, columns=["Q", "A", "label"])


def at(strength, recognised, likelihood, people=0.65):
    return AtStrength(strength, recognised, 1.0, 0.1, 0.9, likelihood, people)


def test_the_weakest_that_is_recognised_as_often_as_answers_by_people_is_chosen():
    measured = [at(0, 0.55, -0.32), at(1, 0.6499, -0.325), at(1.5, 0.65, -0.33), at(2, 0.84, -0.335)]
    assert choose(measured) == 1.5
    assert choose(measured[::-1]) == 1.5
    assert choose([at(0, 0.9, -0.3), at(1, 0.95, -0.3)]) == 0
    assert choose([at(0, 0.9, -0.3, 0.95), at(1, 0.95, -0.3, 0.95)]) == 1


def test_else_where_recognition_rises_by_a_point_no_more():
    assert choose([at(0, 0.4, -0.3), at(1, 0.5, -0.3), at(2, 0.595, -0.3), at(4, 0.6, -0.3)]) == 2
    assert choose([at(0, 0.5, -0.3), at(1, 0.505, -0.3)]) == 0


def test_replies_that_stop_making_sense_are_no_choice():
    measured = [at(0, 0.4, -0.30), at(1, 0.5, -0.31), at(2, 0.6, -0.3199), at(3, 0.8, -0.3201), at(4, 0.9, -0.31)]
    assert choose(measured[:4]) == 2
    assert choose(measured) == 4


@pytest.mark.slow
def test_what_is_measured_is_what_it_says(bot, monkeypatch):
    monkeypatch.setattr(guidance, "STRENGTHS", (0.0, 6.0))
    seen = list(measure(bot, TABLE, TABLE))
    progress = [one.done for one in seen if isinstance(one, Progress)]
    assert progress == sorted(progress)
    assert progress[-1] == pytest.approx(1)
    found = [one for one in seen if isinstance(one, AtStrength)]
    assert [one.strength for one in found] == [0, 6]
    for one in found:
        said = {(q, label): bot.reply(q, label, one.strength) for q in ("안녕", "고마워") for label in "012"}
        likely = sum(bot.score(q, reply, label) for (q, label), reply in said.items())
        characters = sum(len(reply) + 1 for reply in said.values())
        assert one.likelihood_per_char == pytest.approx(likely / characters, rel=1e-4)
        assert one.exact == sum(said[q, label] == a for q, a, label in ROWS) / 3
        changes = [len({said[q, label] for label in "012"}) > 1 for q, _, _ in ROWS]
        assert one.label_changes_reply == sum(changes) / 3
        assert set(one.to_dict()) == {
            "strength",
            "recognised",
            "label_changes_reply",
            "exact",
            "distinct",
            "likelihood_per_char",
            "recogniser_accuracy",
        }
        # Three answers, one a label: none can be told by a classifier that has not learned it.
        assert one.recogniser_accuracy == 0


def test_what_has_nothing_to_strengthen_is_refused(bot):
    with pytest.raises(ReplyError, match="no two labels"):
        next(measure(bot, TABLE, TABLE[:1]))
    with pytest.raises(DataError, match="no pair to evaluate"):
        next(measure(bot, TABLE[:0], TABLE))
