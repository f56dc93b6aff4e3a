"""The comparison: which columns there are, what is asked, what differs, and the CSV of it."""

import csv

import pytest

from kochat.errors import DataError, SettingsError
from kochat.evaluation import comparison
from kochat.evaluation.comparison import Column, Comparison, Words, differing_words, plan, questions_of, read_questions
from kochat.inference import chatbot
from kochat.model.cards import Card
from kochat.model.checkpoint import save
from kochat.model.gpt2 import make_model

ABLE = {"label_dropout": 0.1}
CARDS = {
    "able": Card(["0", "1"], strength=2.0, config=ABLE),
    "plain": Card(["1", "우산장수"], config={"label_dropout": 0}),
}


@pytest.fixture
def bots(tmp_path, tokenizer):
    """Two untrained chatbots: `able` says something else with a strength, `plain` cannot."""
    made = {}
    for seed, (name, card) in enumerate(CARDS.items()):
        model = make_model(tokenizer, layers=2, width=8, heads=2, positions=96, seed=seed)
        for weights in model.parameters():
            weights.data.mul_(8)
        kept = Card(card.labels, max_length=64, strength=card.strength, config=card.config)
        made[name] = chatbot.load(save(tmp_path / name, model, tokenizer, kept))
    return made


def test_there_is_a_column_for_each_checkpoint_label_and_strength_and_what_is_lacking_is_known():
    labels = ["auto", "1", "우산장수"]
    columns = plan(["안녕"], CARDS, labels * 10_000, [None, 0, 2.0] * 10_000).columns  # repeats are cheap
    # The own strength of `able` is 2, that of `plain` 0: neither stands there twice.
    assert [(one.checkpoint, one.label, one.strength, one.possible) for one in columns] == [
        ("able", "auto", 2.0, True),
        ("able", "auto", 0, True),
        ("able", "1", 2.0, True),
        ("able", "1", 0, True),
        ("able", "우산장수", 2.0, False),
        ("able", "우산장수", 0, False),
        ("plain", "auto", 0.0, True),
        ("plain", "auto", 2.0, False),
        ("plain", "1", 0.0, True),
        ("plain", "1", 2.0, False),
        ("plain", "우산장수", 0.0, True),
        ("plain", "우산장수", 2.0, False),
    ]


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (([], CARDS, ["0"], [None]), "no_questions"),
        ((["안녕"], {}, ["0"], [None]), "no_columns"),
        ((["안녕"], CARDS, [], [None]), "no_columns"),
        ((["안녕"], CARDS, ["0"], []), "no_columns"),
    ],
)
def test_nothing_to_ask_or_to_compare_is_refused(arguments, key):
    with pytest.raises((DataError, SettingsError)) as refused:
        plan(*arguments)
    assert refused.value.key == key


@pytest.mark.slow
def test_every_reply_is_that_of_the_chatbot_and_each_checkpoint_is_loaded_once(bots):
    questions = [f"{n}번 질문" for n in range(11)]
    table, loaded, done = plan(questions, CARDS, ["auto", "1", "우산장수"], [None, 0]), [], []
    for grown in comparison.compare(table, lambda name: loaded.append(name) or bots[name]):
        assert grown is table
        done.append(round(grown.done, 6))
    assert loaded == ["able", "plain"]
    # 7 possible columns of 11 questions, 8 at a time: 8, 11, 19, 22, … of 77.
    assert done == [round(n / 77, 6) for start in range(0, 77, 11) for n in (start + 8, start + 11)]
    for column in table.columns:
        bot = bots[column.checkpoint]
        if column.possible:
            assert column.replies == [bot.reply(one, column.label, column.strength) for one in questions]
            read = [max(p, key=p.get) for p in bot.predict_labels(questions)]
            assert column.labels == (read if column.label == "auto" else [column.label] * 11)
            assert column.seconds > 0
            assert column.ms == pytest.approx(1000 * column.seconds / 11)
        else:
            assert (column.replies, column.seconds, column.ms) == ([], 0, 0)
    assert table.columns[2].replies != table.columns[3].replies  # a strength does something


def test_a_comparison_that_is_left_keeps_what_it_has(bots):
    table = plan([str(n) for n in range(20)], {"able": CARDS["able"]}, ["0", "1"], [0])
    running = comparison.compare(table, bots.__getitem__)
    next(running)
    running.close()
    assert [len(column.replies) for column in table.columns] == [8, 0]
    assert table.done == 0.2
    assert table.replies(7)[1] is None
    assert table.replies(8) == [None, None]


def column(label, *replies, possible=True, seconds=0.5):
    return Column("mini", label, 0.0, possible, list(replies), [label] * len(replies), seconds)


def test_a_reply_differs_from_that_of_the_first_column_that_has_one():
    lacking, first, same, other = (
        column("9", possible=False),
        column("0", "가", "나"),
        column("1", "가"),
        column("2", "다"),
    )
    table = Comparison(["a", "b"], [lacking, first, same, other])
    assert table.replies(0) == [None, "가", "가", "다"]
    assert table.differs(0) == [False, False, False, True]
    assert table.differs(1) == [False] * 4
    assert Comparison(["a"], [lacking]).differs(0) == [False]
    assert Comparison(["a"], [lacking]).done == 1.0


@pytest.mark.parametrize(
    ("before", "text", "pieces"),
    [
        ("하늘 보고 웃어요.", "하늘 보고 웃어요.", [("하늘 보고 웃어요.", False)]),
        ("하늘 보고 웃어요.", "오늘 하늘 보고 울어요.", [("오늘", True), ("하늘 보고", False), ("울어요.", True)]),
        ("가 나 다", "가 다", [("가", False), ("다", False)]),
        ("안녕", "", [("", True)]),
        ("", "안녕", [("안녕", True)]),
        ("가  나", "가  다", [("가 ", False), ("다", True)]),
    ],
)
def test_the_words_that_differ_are_found_and_the_pieces_are_the_text(before, text, pieces):
    assert differing_words(before, text) == pieces
    assert " ".join(piece for piece, _ in pieces) == text


def test_questions_are_single_lines_without_blank_ones():
    lines = ["  안녕 ", "", "\u200b", "한\r\n줄", "\ud83d?", "가" * 20_000]
    assert questions_of(lines) == ["안녕", "한 줄", "\ufffd?", "가" * 10_000]


@pytest.mark.parametrize(
    ("content", "questions"),
    [
        ("번호,질문,답변\n1,안녕,네\n2, ,네\n3,고마워,네\n".encode("cp949"), ["안녕", "고마워"]),
        ("label;Q\n0;안녕\n".encode(), ["안녕"]),
        ('{"prompt": "안녕", "x": 1}\n{"prompt": "고마워"}\n'.encode(), ["안녕", "고마워"]),
        ("Q\n안녕\n안녕\n".encode(), ["안녕", "안녕"]),
        ("안녕\n고마워\n".encode(), ["안녕", "고마워"]),  # no header at all
    ],
)
def test_a_file_gives_its_question_column(tmp_path, content, questions):
    (tmp_path / "some.csv").write_bytes(content)
    assert read_questions(tmp_path / "some.csv") == questions
    assert read_questions(tmp_path / "some.csv", most=1) == questions[:1]


def test_a_file_without_a_question_column_is_refused(tmp_path):
    (tmp_path / "some.csv").write_text("one,two\n1,2\n", "utf-8")
    with pytest.raises(DataError, match="no column Q among one, two"):
        read_questions(tmp_path / "some.csv")


def test_excel_reads_the_csv_and_runs_nothing_in_it(tmp_path):
    auto = Column("mini", "auto", 0.0, True, ["=1+1", 'a,"b"'], ["0", "2"], 1.234)
    strong, lacking = Column("mini", "2", 2.5, True, ["=1+1"], ["2"], 2.0), column("9", possible=False)
    table = Comparison(["@SUM(A1)", "안녕\ud83d"], [auto, strong, lacking])
    table.write_csv(tmp_path / "table.csv")
    raw = (tmp_path / "table.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfQ,")
    assert list(csv.reader(raw.decode("utf-8-sig").splitlines())) == [
        ["Q", "mini · auto · 1.23 s", "mini · auto · label", "mini · 2 · strength 2.5 · 2.00 s", "mini · 9", "≠"],
        ["\u200b@SUM(A1)", "\u200b=1+1", "0", "\u200b=1+1", "–", ""],
        ["안녕\ufffd", 'a,"b"', "2", "", "–", ""],
    ]
    strong.replies[0] = "다른 답"
    table.write_csv(tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text("utf-8-sig").splitlines()[1].endswith(",다른 답,–,≠")
    words = Words("질문", "라벨", "세기 {strength}", "{n}초", lambda name, label: f"{name}의 {label}")
    table.write_csv(tmp_path / "korean.csv", words)
    assert list(csv.reader((tmp_path / "korean.csv").read_text("utf-8-sig").splitlines()))[:2] == [
        [
            "질문",
            "mini · mini의 auto · 1.23초",
            "mini · mini의 auto · 라벨",
            "mini · mini의 2 · 세기 2.5 · 2.00초",
            "mini · mini의 9",
            "≠",
        ],
        ["\u200b@SUM(A1)", "\u200b=1+1", "mini의 0", "다른 답", "–", "≠"],
    ]
    # What was written can be asked again.
    assert read_questions(tmp_path / "table.csv") == ["@SUM(A1)", "안녕\ufffd"]
