"""A shop's file, trained as the button does it: nothing set but data, base and name; then taught in the chat."""

import pandas as pd
import pytest

from kochat import load
from kochat.config import DEFAULT_CHECKPOINT, PROJECT, TrainingConfig
from kochat.data.pairs import COLUMNS, read_pairs
from kochat.model import checkpoint
from kochat.training.events import Finished, Started
from kochat.training.fine_tuning import fine_tune
from kochat.training.teaching import config_for

SHOP = PROJECT / "benchmarks" / "shops" / "dev" / "bakery12.csv"
PRICE = "소금빵 하나에 얼마예요?"


@pytest.fixture(scope="module")
def bakery(tmp_path_factory):
    """The events of a training on the shop's twelve rows, and where its checkpoint is."""
    output = tmp_path_factory.mktemp("shop") / "bakery"
    return list(fine_tune(TrainingConfig(data=str(SHOP), base=str(DEFAULT_CHECKPOINT), output=str(output)))), output


@pytest.mark.slow
def test_twelve_rows_are_learned_word_for_word_and_nothing_is_forgotten(bakery):
    events, output = bakery
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
    price = rows.set_index("Q").loc[PRICE, "A"]
    assert bot.reply("소금빵 가격 좀 알려 주세요") == price
    assert bot.read("소금빵 가격 좀 알려 주세요").meant == PRICE
    assert bot.read("파이썬으로 리스트 뒤집는 코드 짜 줘").unfamiliar is True
    assert bot.read("고마워").unfamiliar is False
    assert bot.read("고마워").meant is None
    assert max(bot.predict_label("고마워"), key=bot.predict_label("고마워").get) in ("0", "1", "2")


@pytest.mark.slow
def test_a_bot_made_a_minute_ago_learns_and_keeps_the_answers_of_its_own_file(bakery, tmp_path):
    own = list(read_pairs(SHOP)[COLUMNS].itertuples(index=False, name=None))
    anew = [
        (PRICE, "이번 주부터 소금빵은 3,300원이에요.", "기본"),  # instead of the file's own answer
        ("빵 남은 건 어떻게 보관해요?", "하루 안에 드실 게 아니면 썰어서 얼려 두세요.", "기본"),
    ]
    wrong = next(pair for pair in own if pair[0] != PRICE)
    taught = [*anew, wrong]  # the last with the file's own answer
    pd.DataFrame(taught, columns=COLUMNS).to_csv(tmp_path / "taught.csv", index=False)
    output = tmp_path / "taught"
    list(fine_tune(config_for(str(tmp_path / "taught.csv"), len(taught), str(bakery[1]), str(output))))
    bot = load(output)
    assert bot.card.data["newest_pairs"] == len(own) + 1
    known = [*taught, *(pair for pair in own if pair[0] not in (PRICE, wrong[0]))]
    assert bot.replies([(question, label) for question, _, label in known]) == [answer for _, answer, _ in known]
