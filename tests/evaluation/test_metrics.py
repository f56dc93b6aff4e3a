"""The figures of a checkpoint, computed again by hand on six pairs, and which pairs are held out."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import plain_model

from kochat.config import TrainingConfig
from kochat.data import pairs
from kochat.errors import DataError, ReplyError
from kochat.evaluation.baselines import answer_classifier
from kochat.evaluation.metrics import Progress, evaluate, held_out, measure, reply_parts, shares
from kochat.inference import chatbot
from kochat.model import checkpoint
from kochat.model.cards import FIGURE_NAMES
from kochat.model.gpt2 import make_model
from kochat.training.events import Epoch
from kochat.training.fine_tuning import fine_tune

ROWS = [
    ("안녕", "안녕하세요.", "0"),
    ("안녕", "울어도 돼요.", "1"),
    ("안녕", "보고 싶었어요.", "2"),
    ("고마워", "저도요.", "0"),
    ("헤어졌어", "많이 힘들죠.", "1"),
    ("좋아해", "축하해요!", "2"),
]
TABLE = pd.DataFrame(ROWS, columns=["Q", "A", "label"])


def train(folder, tokenizer, data, **settings):
    """Fine-tune a small model made for it; the folder of the checkpoint and the events."""
    model = make_model(tokenizer, layers=2, width=64, heads=2, positions=64, seed=0)
    base = checkpoint.save(folder / "base", model, tokenizer, checkpoint.Card())
    settings = {
        "batch_size": 6,
        "learning_rate": 5e-3,
        "max_length": 60,
        "schedule": "constant",
        "precision": "float32",
        "sample_questions": (),
        **settings,
    }
    output = str(folder / "trained")
    return output, list(fine_tune(TrainingConfig(data=str(data), base=str(base), output=output, **settings)))


@pytest.fixture(scope="module")
def bot(tmp_path_factory, tokenizer):
    """A bot that knows the answers of ROWS by heart, but not the order of their labels."""
    folder = tmp_path_factory.mktemp("learned")
    TABLE.to_csv(folder / "six.csv", index=False)
    output, _ = train(folder, tokenizer, folder / "six.csv", epochs=50, validation_share=0, label_dropout=0)
    return chatbot.load(output)


@torch.inference_mode()
def log_probability(bot, question, answer, label):
    example = bot.prompt.encode_example(question, answer, label)
    ids, start = example.input_ids, example.labels.count(-100)
    rows = plain_model(bot)(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(rows[i - 1, ids[i]].item() for i in range(start, len(ids)))


def check_by_hand(bot, rows, figures):
    labels = ["0", "1", "2"]
    true = [log_probability(bot, *row) for row in rows]
    others = [sum(log_probability(bot, q, a, other) for other in labels if other != label) / 2 for q, a, label in rows]
    characters = sum(len(a) + 1 for _, a, _ in rows)
    assert figures.nll_per_char == pytest.approx(-sum(true) / characters, rel=1e-5)
    tokens = sum(len(bot.prompt.text_ids(a)) + 1 for _, a, _ in rows)
    assert figures.perplexity_per_token == pytest.approx(math.exp(-sum(true) / tokens), rel=1e-5)
    assert figures.true_label_gain == pytest.approx((sum(true) - sum(others)) / characters, rel=1e-5)

    n = len(rows)
    assert figures.questions == n
    assert figures.exact == sum(bot.reply(q, label) == a for q, a, label in rows) / n
    assert figures.exact_auto == sum(bot.reply(q) == a for q, a, _ in rows) / n
    read = [bot.predict_label(q) for q, _, _ in rows]
    assert figures.label_accuracy == sum(max(p, key=p.get) == row[2] for p, row in zip(read, rows, strict=True)) / n
    differ = [len({bot.reply(q, label) for label in labels}) > 1 for q, _, _ in rows]
    assert figures.label_changes_reply == sum(differ) / n
    said = [{q: bot.reply(q, label) for q, _, _ in rows} for label in labels]
    shares = [len(set(of_label.values())) / len(of_label) for of_label in said]
    assert figures.distinct == pytest.approx(sum(shares) / 3)
    measured = {
        "nll_per_char",
        "perplexity_per_token",
        "exact",
        "exact_auto",
        "label_accuracy",
        "label_changes_reply",
        "true_label_gain",
        "distinct",
    }
    assert set(figures.to_dict()) == measured | {"questions", "strength", "intervals"}
    assert set(figures.intervals) == measured
    for name, (low, high) in figures.intervals.items():
        assert low <= getattr(figures, name) <= high, name


@pytest.mark.slow
def test_the_figures_of_pairs_known_by_heart(bot):
    figures = evaluate(bot, TABLE)
    check_by_hand(bot, ROWS, figures)
    assert figures.exact == 1
    assert figures.nll_per_char < 0.1
    assert figures.perplexity_per_token < 1.1
    # One 안녕 of three is read right, and the three questions that have one label.
    assert (figures.label_accuracy, figures.exact_auto) == (4 / 6, 4 / 6)
    assert figures.label_changes_reply >= 3 / 6
    assert figures.true_label_gain > 0.05


def test_the_figures_of_pairs_never_seen(bot):
    unseen = [("고마워", "울어도 돼요.", "2"), ("안녕", "안녕하세요.", "0"), ("뭐해?", "기다려요.", "1")]
    figures = evaluate(bot, pd.DataFrame(unseen, columns=["Q", "A", "label"], index=[7, 3, 9]))
    check_by_hand(bot, unseen, figures)
    assert figures.exact == 1 / 3
    assert figures.nll_per_char > 0.5


def test_strength_changes_replies_and_no_likelihood(bot):
    plain, strong = evaluate(bot, TABLE, strength=0), evaluate(bot, TABLE, strength=50)
    assert plain == evaluate(bot, TABLE)
    assert (plain.strength, strong.strength) == (0, 50)
    assert (strong.nll_per_char, strong.label_accuracy) == (plain.nll_per_char, plain.label_accuracy)
    replies = bot.replies([(q, label) for q, _, label in ROWS], 50)
    assert strong.exact == sum(said == a for said, (_, a, _) in zip(replies, ROWS, strict=True)) / 6


def test_more_pairs_than_are_answered_at_once_give_the_same_figures(bot):
    once, often = evaluate(bot, TABLE).to_dict(), evaluate(bot, pd.concat([TABLE] * 12)).to_dict()
    assert often.pop("intervals") == {
        name: pytest.approx(ends, rel=1e-5) for name, ends in once.pop("intervals").items()
    }
    assert often == pytest.approx({**once, "questions": 72}, rel=1e-5)


REPLIES = {
    "0": {"a": "하나", "b": "하나", "c": "둘"},
    "1": {"a": "하나", "b": "셋", "c": "넷"},
}


def test_the_figures_of_replies_by_hand():
    class Classifier:
        labels = ("0", "1")

        def predict(self, texts):
            return np.array([{"하나": "0", "둘": "0", "셋": "1", "넷": "0"}[text] for text in texts])

    rows = [("a", "하나", "0"), ("b", "셋", "1"), ("c", "다섯", "1"), ("a", "여섯", "1")]
    training = pd.DataFrame([("x", "하나", "0"), ("y", "넷", "1")], columns=["Q", "A", "label"])
    figures = shares(reply_parts(rows, REPLIES, {"a": "1", "b": "1", "c": "0"}, training, Classifier()))
    assert figures == {
        "exact": 2 / 4,
        "exact_auto": 2 / 4,
        "label_accuracy": 2 / 4,
        "label_changes_reply": 2 / 4,
        "distinct": pytest.approx((2 / 3 + 3 / 3) / 2),  # of three questions, one asked twice
        # Of 8 replies: 하나 under 0 to a, b and a again, under 1 to a twice; 넷 once.
        "verbatim": 6 / 8,
        # Right: under 0 all four, under 1 셋 alone.
        "recognised": 5 / 8,
    }


def test_a_label_that_the_classifier_never_saw_is_not_held_against_the_bot():
    class Classifier:
        labels = ("0", "7")

        def predict(self, texts):
            return np.array(["0"] * len(texts))

    parts = reply_parts([("a", "하나", "0")], REPLIES, classifier=Classifier())
    assert shares(parts)["recognised"] == 1


def test_with_pairs_to_learn_from_there_are_recognition_and_baselines(bot):
    training = pd.DataFrame(
        [("안녕!", "안녕하세요.", "0"), ("안녕?", "울어도 돼요.", "1"), ("좋아", "축하해요!", "2")],
        columns=["Q", "A", "label"],
    )
    seen = list(measure(bot, TABLE, training))
    assert all(isinstance(one, Progress) for one in seen[:-1])
    done = [one.done for one in seen[:-1]]
    assert done == sorted(done)
    assert 0 < done[0] < done[-1] <= 1
    figures = seen[-1]
    assert evaluate(bot, TABLE, training=training) == figures
    assert set(FIGURE_NAMES) == {*figures.intervals, "questions"}
    asked = [(q, label) for q, _, _ in ROWS for label in "012"]
    replies = [bot.reply(*one) for one in asked]
    learned = {"안녕하세요.", "울어도 돼요.", "축하해요!"}
    told = answer_classifier(training).predict(replies)
    assert figures.recognised == sum(label == one for label, (_, one) in zip(told, asked, strict=True)) / 18
    told = answer_classifier(training).predict([answer for _, answer, _ in ROWS])
    assert figures.recogniser_accuracy == sum(told == TABLE["label"]) / 6
    assert not any(told[TABLE["A"].isin(learned)] == TABLE["label"][TABLE["A"].isin(learned)])
    assert figures.verbatim == pytest.approx(sum(reply in learned for reply in replies) / 18)
    assert figures.nearest_exact == 1 / 6 + 1 / 6  # 안녕 -> 안녕!, 좋아해 -> 좋아
    assert figures.frequent_exact == 1 / 6
    json.dumps(figures.to_dict())
    # One label alone: nothing to recognise, but still a nearest question.
    alone = evaluate(bot, TABLE, training=training[:1])
    assert (alone.recognised, alone.recogniser_accuracy, alone.linear_label_accuracy) == (None, None, None)
    assert "recognised" not in alone.to_dict()
    assert alone.nearest_exact == 1 / 6
    assert evaluate(bot, TABLE, training=training[:0]) == evaluate(bot, TABLE)


def test_one_question_has_figures_but_no_intervals(bot):
    figures = evaluate(bot, TABLE[:3])
    assert (figures.questions, figures.intervals) == (3, {})
    assert figures.perplexity_per_token > 1


def test_what_cannot_be_evaluated_is_refused(bot):
    with pytest.raises(ReplyError, match=r"does not know the label “건설현장”\. It knows: 0, 1, 2"):
        evaluate(bot, pd.DataFrame([*ROWS, ("안녕", "네", "건설현장")], columns=["Q", "A", "label"]))
    with pytest.raises(DataError, match="There is no pair to evaluate on"):
        evaluate(bot, TABLE[:0])


@pytest.mark.slow
def test_held_out_are_told_where_training_left_bad_rows_out_too(tmp_path, tokenizer):
    data = tmp_path / "pairs.csv"
    with_bad = [*ROWS, ("", "네", "0"), ROWS[0], ("안녕", "네", "")]
    pd.DataFrame(with_bad, columns=["Q", "A", "label"]).to_csv(data, index=False)
    with pytest.raises(DataError, match="2 of the rows of pairs"):
        train(tmp_path / "refused", tokenizer, data, epochs=1)
    train(tmp_path, tokenizer, data, epochs=1, bad_rows="skip", validation_share=0.3)
    card = checkpoint.read_card(tmp_path / "trained")
    assert card.data["rows"] == len(ROWS)
    table = held_out(card, str(data))
    assert set(table["Q"]) < {question for question, _, _ in ROWS}
    assert table.equals(pairs.split_by_question(TABLE.astype("str"), 0.3, 0, 0).validation)


@pytest.mark.slow
def test_columns_that_nobody_can_tell_are_settings_of_the_training_and_recorded(tmp_path, tokenizer):
    data = tmp_path / "pairs.csv"
    pd.DataFrame(ROWS, columns=["손님 말", "우리 답", "기분"]).to_csv(data, index=False)
    with pytest.raises(DataError, match="no column Q, A among"):
        train(tmp_path / "refused", tokenizer, data, epochs=1)
    columns = {"question_column": "손님 말", "answer_column": "우리 답", "label_column": "기분"}
    train(tmp_path, tokenizer, data, epochs=1, validation_share=0.3, **columns)
    card = checkpoint.read_card(tmp_path / "trained")
    assert set(card.labels) == {label for _, _, label in ROWS}
    assert "--question-column '손님 말' --answer-column '우리 답' --label-column '기분'" in card.recipe[-1]
    assert held_out(card, str(data)).equals(pairs.split_by_question(TABLE.astype("str"), 0.3, 0, 0).validation)


@pytest.mark.slow
def test_held_out_are_exactly_the_validation_pairs(tmp_path, tokenizer):
    output, events = train(tmp_path, tokenizer, "emotions", epochs=1, rows=90, seed=3, validation_share=0.2)
    card = checkpoint.read_card(tmp_path / "trained")
    table = held_out(card, "emotions")
    parts = pairs.split_by_question(pairs.read_pairs("emotions", rows=90), 0.2, 0, 3)
    training, validation = parts.training, parts.validation
    assert table.equals(validation)
    assert len(table) == events[0].validation_pairs == 18
    assert set(table["Q"]).isdisjoint(training["Q"])
    # The loss that training reported on them is the one measured now.
    [reported] = [event.validation_loss for event in events if isinstance(event, Epoch)]
    assert evaluate(chatbot.load(output), table).perplexity_per_token == pytest.approx(math.exp(reported), rel=1e-4)

    # The same pairs in another file are the same data; any other pairs are not.
    copy = tmp_path / "copy.csv"
    pairs.read_pairs("emotions").to_csv(copy, index=False, encoding="cp949")
    assert held_out(card, str(copy)).equals(validation)
    copy.write_text(copy.read_text("cp949").replace("안녕하세요", "안녕하세용", 1), "utf-8")
    for other in (copy, "jobs"):
        with pytest.raises(DataError, match="does not hold the pairs that this checkpoint was trained with"):
            held_out(card, str(other))
