"""Learning what was taught: what is answered otherwise is learned by heart, and the rest is not forgotten."""

import pandas as pd
import pytest
from conftest import MINI

from kochat.data import pairs
from kochat.evaluation import metrics
from kochat.inference import chatbot
from kochat.model import checkpoint
from kochat.training.fine_tuning import fine_tune
from kochat.training.teaching import MIN_LESSON, ask, config_for, lesson, not_learned, rows_of, to_ask

TAUGHT = [
    ("너 이름이 뭐야?", "저는 코챗이라고 해요.", "0"),
    ("우리 동아리 언제 모여?", "매주 수요일 저녁 여섯 시에 학생회관에서 모여요.", "0"),
    ("12시 땡!", "점심시간이다! 밥 먹으러 가요~", "0"),
    ("남자친구랑 싸웠어", "먼저 미안하다고 해 보면 어떨까요?", "1"),
    ("나 오늘 고백받았어", "와, 정말요? 어떻게 대답했어요?", "연애상담"),
]


@pytest.mark.parametrize(("rows", "epochs"), [(1, 40), (3, 40), (5, 30), (7, 21), (8, 20), (1000, 20)])
def test_few_pairs_are_seen_more_often(rows, epochs):
    config = config_for("x.csv", rows, "base", "out")
    assert (config.epochs, config.rehearsal, config.keep_labels, config.validation_share) == (epochs, 15, True, 0.0)
    assert config.repeats == 3


def test_learning_stays_a_matter_of_seconds():
    # At the 6.5 ms a row of two idle cores: 5 s for one answer, 18 s for five, 23 s for as a full lesson.
    configs = {rows: config_for("x.csv", rows, "base", "out") for rows in (1, 5, MIN_LESSON)}
    gone_over = [rows * (one.repeats + one.rehearsal) * one.epochs for rows, one in configs.items()]
    assert gone_over == [720, 2700, 3600]


def table_of(rows):
    return pd.DataFrame(rows, columns=pairs.COLUMNS, dtype="str")


def waiting(bot, table, known=None):
    """What `bot` answers otherwise than taught."""
    known = {} if known is None else known
    done = list(ask(bot, to_ask(table, known), known))
    return rows_of(not_learned(table, known, [])), done


@pytest.mark.slow
def test_what_is_answered_word_for_word_is_learned_and_nothing_else():
    bot = chatbot.load(MINI)
    said = bot.reply("심심해", "0")
    trained_on = next(pair for pair in checkpoint.read_pairs(MINI, "mini") if bot.reply(pair[0], pair[2]) != pair[1])
    rows = [
        ("심심해", said, "0"),
        ("심심해", said + "!", "0"),
        ("안녕", bot.reply("안녕", "1").replace(" ", "  "), "1"),  # the tokenizer joins spaces
        trained_on,  # in the training data, and answered otherwise all the same
        ("심심해", said, "우산장수"),  # a label that it does not know
    ]
    assert waiting(bot, table_of(rows)) == ([rows[1], *rows[3:]], [5])
    assert waiting(bot, table_of([])) == ([], [])


def test_a_pair_is_asked_once_and_of_very_many_the_last(bot, monkeypatch):
    known = {}
    table = table_of([(f"질문 {i}", "답", "0") for i in range(20)])
    assert waiting(bot, table, known)[1] == [8, 16, 20]
    assert to_ask(table, known) == []
    more = pd.concat([table, table_of([("새 질문", "답", "0")])], ignore_index=True)
    assert waiting(bot, more, known)[1] == [1]
    many = table_of([(f"많은 질문 {i}", "답", "0") for i in range(250)])
    assert to_ask(many, known) == rows_of(many)[50:]
    # Those that are not asked count as learned where the bot was trained on them.
    told = not_learned(many, dict.fromkeys(rows_of(many)[50:], True), rows_of(many)[:49])
    assert rows_of(told) == [("많은 질문 49", "답", "0")]


def test_beside_what_is_to_be_learned_the_last_of_the_rest_is_trained_again():
    table = table_of([(f"질문 {i}", "답", "0") for i in range(30)])
    assert lesson(table, table.iloc[[0, 5]]).index.tolist() == [0, 5, *range(22, 30)]
    assert lesson(table, table.iloc[:25]).index.tolist() == list(range(25))
    assert lesson(table.iloc[:3], table.iloc[[1]]).index.tolist() == [0, 1, 2]


@pytest.mark.slow
def test_five_answers_are_learned_word_for_word_and_the_rest_stays(tmp_path, chatbot_data):
    card = checkpoint.read_card(MINI)
    real = pairs.fingerprint(pairs.read_pairs(chatbot_data)) == card.data["sha256"]
    asked = metrics.held_out(card, chatbot_data) if real else pairs.read_pairs("emotions")
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
        unseen = metrics.held_out(card, chatbot_data)["Q"].unique()
        assert 0.03 < sum(after.read(question).unfamiliar for question in unseen) / len(unseen) < 0.08
