"""Learning what was taught: kochat-mini learns five answers by heart and does not forget the rest."""

import pandas as pd
import pytest
import torch
from conftest import MINI

from kochat import chatbot, checkpoint, evaluation, pairs
from kochat.teaching import config_for
from kochat.training import fine_tune

TAUGHT = [
    ("너 이름이 뭐야?", "저는 코챗이라고 해요.", "0"),
    ("우리 동아리 언제 모여?", "매주 수요일 저녁 여섯 시에 학생회관에서 모여요.", "0"),
    ("12시 땡!", "점심시간이다! 밥 먹으러 가요~", "0"),
    ("남자친구랑 싸웠어", "먼저 미안하다고 해 보면 어떨까요?", "1"),
    ("나 오늘 고백받았어", "와, 정말요? 어떻게 대답했어요?", "연애상담"),
]


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize(("rows", "epochs"), [(1, 40), (3, 40), (5, 30), (7, 21), (8, 20), (1000, 20)])
def test_few_pairs_are_seen_more_often(rows, epochs):
    config = config_for("x.csv", rows, "base", "out")
    assert (config.epochs, config.rehearsal, config.keep_labels, config.validation_share) == (epochs, 15, True, 0.0)


def test_five_answers_are_learned_word_for_word_and_the_rest_stays(tmp_path, chatbot_data, two_threads):
    card = checkpoint.read_card(MINI)
    real = pairs.fingerprint(pairs.read_pairs(chatbot_data)) == card.data["sha256"]
    asked = evaluation.held_out(card, chatbot_data) if real else pairs.read_pairs("emotions")
    held_out = list(asked.sample(200, random_state=0)[pairs.COLUMNS].itertuples(index=False, name=None))
    before = chatbot.load(MINI)
    pd.DataFrame(TAUGHT, columns=pairs.COLUMNS).to_csv(tmp_path / "taught.csv", index=False)
    config = config_for(str(tmp_path / "taught.csv"), len(TAUGHT), str(MINI), str(tmp_path / "taught"))
    list(fine_tune(config))
    after = chatbot.load(tmp_path / "taught")
    assert after.labels == ["0", "1", "2", "연애상담"]
    assert after.replies([(question, label) for question, _, label in TAUGHT]) == [answer for _, answer, _ in TAUGHT]
    assert [after.reply(question) for question, _, _ in TAUGHT] == [answer for _, answer, _ in TAUGHT]
    assert sum(after.scores(held_out)) / sum(before.scores(held_out)) < 1.03
    # The threshold of the base still says what it is to say.
    assert after.card.familiarity == before.card.familiarity | {"of": "kochat-mini"}
    if real:
        unseen = evaluation.held_out(card, chatbot_data)["Q"].unique()
        assert 0.03 < sum(after.read(question).unfamiliar for question in unseen) / len(unseen) < 0.08
