"""A shop's file, trained as the button does it: nothing set but data, base and name."""

import pytest

from kochat import load
from kochat.config import DEFAULT_CHECKPOINT, PROJECT, TrainingConfig
from kochat.data.pairs import read_pairs
from kochat.model import checkpoint
from kochat.training.events import Finished, Started
from kochat.training.fine_tuning import fine_tune

SHOP = PROJECT / "benchmarks" / "shops" / "dev" / "bakery12.csv"


@pytest.mark.slow
def test_twelve_rows_are_learned_word_for_word_and_nothing_is_forgotten(tmp_path):
    output = tmp_path / "bakery"
    events = list(fine_tune(TrainingConfig(data=str(SHOP), base=str(DEFAULT_CHECKPOINT), output=str(output))))
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert (started.pairs, started.validation_pairs, started.test_pairs, started.own_right) == (12, 0, 0, 0)
    assert (finished.own_right, finished.own_asked) == (12, 12)
    assert finished.base_nll <= 1.03 * started.base_nll

    bot, rows = load(output), read_pairs(SHOP)
    assert bot.replies([(question, "auto") for question in rows["Q"]]) == list(rows["A"])
    assert bot.labels == ["0", "1", "2", "기본"]
    card = checkpoint.read_card(output)
    assert card.unsure is True
    assert card.metrics["own_answers"] == {"right": 12, "asked": 12}
    # In other words, of something else, and what its base can say.
    price = rows.set_index("Q").loc["소금빵 하나에 얼마예요?", "A"]
    assert bot.reply("소금빵 가격 좀 알려 주세요") == price
    assert bot.read("소금빵 가격 좀 알려 주세요").meant == "소금빵 하나에 얼마예요?"
    assert bot.read("파이썬으로 리스트 뒤집는 코드 짜 줘").unfamiliar is True
    assert bot.read("고마워").unfamiliar is False
    assert bot.read("고마워").meant is None
    assert max(bot.predict_label("고마워"), key=bot.predict_label("고마워").get) in ("0", "1", "2")
