"""The Chatbot: replies, streams, likelihoods and explanations, alone, in a batch and from threads."""

import math
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import plain_model

from kochat import chatbot, checkpoint
from kochat.config import TrainingConfig
from kochat.errors import ReplyError
from kochat.model import make_model
from kochat.training import fine_tune

QUESTIONS = ["안녕", "오늘 날씨는 어때?", "🦜", "</s><sys>", "헤어졌어 " * 40]


@pytest.fixture
def talker(tiny_checkpoint):
    """The tiny bot with large random weights: untrained, but every question and label gets another reply."""
    generator = torch.Generator().manual_seed(1)
    loaded = checkpoint.load(tiny_checkpoint)
    for weights in loaded.weights.tensors.values():
        weights.mul_(8).add_(torch.randn(weights.shape, generator=generator) * 0.05)
    return chatbot.Chatbot(loaded)


@pytest.fixture(scope="module")
def learned(tmp_path_factory, tokenizer):
    """A bot that knows one question by heart: 안녕 is 좋아요 under 0, 싫어요 under 1."""
    folder = tmp_path_factory.mktemp("learned")
    (folder / "two.csv").write_text("Q,A,label\n안녕,좋아요,0\n안녕,싫어요,1\n", "utf-8")
    model = make_model(tokenizer, layers=2, width=64, heads=2, positions=96, seed=0)
    base = checkpoint.save(folder / "base", model, tokenizer, checkpoint.Card(max_length=64))
    settings = {"epochs": 40, "batch_size": 8, "learning_rate": 5e-3, "max_length": 64, "validation_share": 0}
    config = TrainingConfig(
        data=str(folder / "two.csv"), base=str(base), output=str(folder / "learned"),
        label_dropout=0, schedule="constant", precision="float32", sample_questions=("안녕",), **settings,
    )  # fmt: skip
    for _ in fine_tune(config):
        pass
    return chatbot.load(folder / "learned")


@torch.inference_mode()
def log_probability(bot, ids, count):
    """log P of the last `count` ids after those before, from one plain forward."""
    rows = plain_model(bot)(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(rows[i - 1, ids[i]].item() for i in range(len(ids) - count, len(ids)))


def test_the_stream_joined_is_the_reply(talker):
    asked = [("안녕", "0", None), ("안녕", "2", None), ("안녕", "2", 3), ("안녕", "auto", None), ("🦜", "0", 3)]
    replies = []
    for one in asked:
        pieces = list(talker.stream(*one))
        assert all(pieces)
        replies.append("".join(pieces))
    assert replies == [talker.reply(*one) for one in asked]
    assert len(set(replies)) >= 4


@pytest.mark.parametrize("strength", [None, 0, 2.5])
def test_replies_together_are_those_one_by_one(talker, strength):
    asked = [(question, label) for question in QUESTIONS for label in ("auto", "1")]
    assert talker.replies(asked, strength) == [talker.reply(q, label, strength) for q, label in asked]
    assert talker.replies([], strength) == []


def test_auto_is_the_likeliest_label_and_no_strength_is_the_cards(talker):
    for question in QUESTIONS[:2]:
        read = talker.predict_label(question)
        assert talker.reply(question) == talker.reply(question, max(read, key=read.get))
    plain = talker.replies([(question, "1") for question in QUESTIONS])
    strong = talker.replies([(question, "1") for question in QUESTIONS], strength=4)
    assert plain != strong
    talker.card.strength = 4
    assert talker.replies([(question, "1") for question in QUESTIONS]) == strong


def test_the_probability_of_a_label_is_that_of_its_tokens_against_the_others(talker):
    for question in QUESTIONS:
        read = talker.predict_label(question)
        assert list(read) == talker.labels == ["0", "1", "2"]
        assert sum(read.values()) == pytest.approx(1)
        # Each label is ▁, a byte or digit, and the <sys> after it.
        totals = [log_probability(talker, talker.prompt.encode_prompt(question, label), 3) for label in talker.labels]
        assert list(read.values()) == pytest.approx(torch.tensor(totals).softmax(-1).tolist(), rel=1e-3)
    assert talker.predict_labels(QUESTIONS[:2]) == [
        pytest.approx(talker.predict_label(question), rel=1e-3) for question in QUESTIONS[:2]
    ]


def test_the_score_is_the_sum_of_the_log_probabilities(talker):
    rows = [("안녕", "좋은 아침이에요", "0"), ("안녕", "네", "2"), ("오늘 날씨는 어때?", "비가 와요.", "1")]
    by_hand = []
    for question, answer, label in rows:
        ids = talker.prompt.text_ids(answer)
        whole = [*talker.prompt.encode_prompt(question, label), *ids, talker.tokenizer.eos_token_id]
        by_hand.append(log_probability(talker, whole, len(ids) + 1))
    assert talker.scores(rows) == pytest.approx(by_hand, rel=1e-5)
    assert [talker.score(*row) for row in rows] == pytest.approx(by_hand, rel=1e-5)
    read = talker.predict_label("안녕")
    assert talker.score("안녕", "네") == talker.score("안녕", "네", max(read, key=read.get))


def test_what_was_learned_has_nearly_all_the_probability(learned):
    def probabilities(label):
        return [math.exp(learned.score("안녕", answer, label)) for answer in ("좋아요", "싫어요", "좋아", "안녕", "")]

    assert learned.labels == ["0", "1"]
    assert 0.9 < probabilities("0")[0] < sum(probabilities("0")) <= 1
    assert 0.9 < probabilities("1")[1] < sum(probabilities("1")) <= 1
    # Both labels were asked for equally often.
    assert learned.predict_label("안녕")["0"] == pytest.approx(0.5, abs=0.1)


def test_an_explanation_tells_the_reply_step_by_step(learned):
    for label, answer in (("0", "좋아요"), ("1", "싫어요")):
        steps = learned.explain("안녕", label)
        tokens = [learned.tokenizer.convert_tokens_to_ids(step.token.replace(" ", "▁")) for step in steps]
        assert steps[-1].token == "</s>"
        assert learned.tokenizer.decode(tokens[:-1]) == answer == learned.reply("안녕", label)
        assert sum(math.log(step.probability) for step in steps) == pytest.approx(
            learned.score("안녕", answer, label), rel=1e-4
        )
        for step in steps:
            others = [p for _, p in step.runners_up]
            assert 0.9 < step.probability <= 1
            assert len(others) == 5
            assert others == sorted(others, reverse=True)
            assert step.token not in [token for token, _ in step.runners_up]
            assert step.probability + sum(others) <= 1 + 1e-6


def test_every_explained_token_is_the_likeliest_and_a_cut_reply_has_no_end(talker):
    for question in QUESTIONS[1:]:
        steps = talker.explain(question, "0", runners_up=2)
        for step in steps:
            assert len(step.runners_up) == 2
            assert 1 >= step.probability >= step.runners_up[0][1] >= step.runners_up[1][1] > 0
    # The prompt has 9 tokens and this reply does not end before the model's 96 positions do.
    steps = talker.explain("안녕", "0")
    assert len(steps) == 87
    assert "</s>" not in [step.token for step in steps]
    assert len(talker.explain("안녕", "0", runners_up=10**6)[0].runners_up) == 599


@pytest.mark.parametrize("question", ["", " \n\t", "\u3000"])
def test_an_empty_question_is_refused(bot, question):
    for ask in (bot.reply, bot.stream, bot.explain, bot.predict_label, lambda q: bot.replies([(q, "0")])):
        with pytest.raises(ReplyError, match="The question is empty"):
            ask(question)


def test_a_label_that_was_not_trained_is_refused(bot):
    for ask in (bot.reply, bot.stream, bot.explain, lambda q, label: bot.score(q, "네", label)):
        with pytest.raises(ReplyError, match=r"does not know the label “3”\. It knows: 0, 1, 2"):
            ask("안녕", "3")
    with pytest.raises(ReplyError, match="label “사랑”"):
        bot.replies([("안녕", "0"), ("안녕", "사랑")])


@pytest.mark.parametrize("strength", [-1, float("nan"), float("inf")])
def test_a_strength_that_is_none_is_refused(bot, strength):
    for ask in (bot.reply, bot.stream, lambda q, label, strength: bot.replies([(q, label)], strength)):
        with pytest.raises(ReplyError, match="must be a number from 0 up") as refused:
            ask("안녕", "0", strength)
        assert refused.value.key == "bad_strength"


def test_a_base_that_was_not_trained_to_answer_is_refused(tiny_base):
    with pytest.raises(ReplyError, match="tiny-base was not trained to answer yet") as refused:
        chatbot.load(tiny_base)
    assert refused.value.key == "not_for_chat"


@pytest.mark.parametrize("question", ["</s><sys>", "가" * 5000, "가 " * 100_000, "😀" * 200_000, "\0", "\ud83d", "?"])
def test_odd_and_endless_questions_are_answered_soon(talker, question):
    start = time.monotonic()
    alone = [talker.reply(question, "0"), talker.reply(question)]
    assert talker.replies([(question, "0"), (question, "auto")]) == alone
    assert time.monotonic() - start < 5
    # Of a long question the end counts.
    assert talker.reply(question[-10_000:] + " " * 20_000, "0") == alone[0]


def test_threads_get_the_replies_that_one_gets_alone(talker):
    asked = [("안녕", "auto"), ("🦜", "1"), ("</s><sys>", "auto")]
    alone = [talker.reply(*one) for one in asked]
    with ThreadPoolExecutor(4) as threads:
        turns = [threads.submit(lambda: [talker.reply(*one) for one in asked]) for _ in range(4)]
        assert [turn.result() for turn in turns] == [alone] * 4
