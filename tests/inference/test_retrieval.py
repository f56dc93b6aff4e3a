"""Answers to the nearest questions as candidates beside the reply."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kochat.errors import ReplyError
from kochat.inference import chatbot, retrieval
from kochat.inference.retrieval import Nearest, Retriever
from kochat.model import checkpoint
from kochat.model.cards import Card

PAIRS = [
    ("배고파", "뭐 좀 챙겨 드세요.", "0"),
    ("배고프다", "얼른 맛난 음식 드세요.", "0"),
    ("너무 배고파", "뭐 좀 챙겨 드세요.", "0"),
    ("배고파", "같이 먹어요.", "2"),
    ("심심해", "책을 읽어 보세요.", "0"),
]


@pytest.fixture
def keeper(tmp_path, model, tokenizer):
    """The tiny bot, untrained, with pairs beside it."""
    card = Card(labels=["0", "1", "2"], max_length=64)
    return chatbot.load(checkpoint.save(tmp_path / "keeper", model, tokenizer, card, pairs=PAIRS))


def test_candidates_are_the_reply_and_the_answers_to_the_nearest_questions_under_the_label():
    own, *others = Retriever(PAIRS).candidates("배고프네", "0", "몰라요.")
    assert own == Nearest("몰라요.", None, 0.0, is_generated=True)
    # Of two questions with one answer the nearer one counts; 심심해 is not similar enough.
    assert [(one.answer, one.question) for one in others] == [
        ("얼른 맛난 음식 드세요.", "배고프다"),
        ("뭐 좀 챙겨 드세요.", "배고파"),
    ]
    assert 1 > others[0].similarity > others[1].similarity > retrieval.MIN_SIMILARITY
    [_, only] = Retriever(PAIRS).candidates("배고파", "2", "몰라요.")
    assert only == Nearest("같이 먹어요.", "배고파", pytest.approx(1))


def test_a_similarity_is_the_cosine_of_tf_idf():
    # A word 가 has the n-grams of " 가 ": "가", " 가", "가 ", " 가 ", and twice " ", which is in both questions.
    [_, near, other] = Retriever([("가", "A", "0"), ("나", "B", "0")]).candidates("가 가 나", "0", "C")
    assert (near.question, other.question) == ("가", "나")
    twice, rare = 1 + math.log(2), 1 + math.log(3 / 2)  # sublinear frequency, smooth inverse document frequency
    known = {" ": twice, **{i: rare for i in range(4)}}
    asked = {" ": 1 + math.log(6), **{i: twice * rare for i in range(4)}, **{i: rare for i in range(4, 8)}}
    common = sum(known[one] * asked[one] for one in known)
    assert near.similarity == pytest.approx(common / math.hypot(*known.values()) / math.hypot(*asked.values()))


def test_a_reply_that_was_trained_on_is_no_second_candidate_and_knows_its_question():
    own, other = Retriever(PAIRS).candidates("배고프네", "0", "뭐 좀 챙겨 드세요.")
    assert own.is_generated
    assert own.question == "배고파"
    assert other.question == "배고프다"
    assert other.similarity > own.similarity > 0
    assert Retriever(PAIRS).candidates("배고프네", "0", "몰라요.", most=1)[1:] == [other]


def test_where_nothing_is_alike_or_the_label_has_no_pair_there_is_the_reply_alone():
    for question, label in (("Where?", "0"), ("배고파", "1"), ("", "0")):
        assert Retriever(PAIRS).candidates(question, label, "네.") == [Nearest("네.", None, 0.0, True)]


@pytest.mark.parametrize("strength", [0, 2.0])
def test_candidates_are_ranked_by_likelihood_a_character_and_similarity(keeper, strength):
    found = keeper.candidates("배고파 배고프다", "0", strength)
    assert {one.answer for one in found} == {
        keeper.reply("배고파 배고프다", "0", strength),
        "뭐 좀 챙겨 드세요.",
        "얼른 맛난 음식 드세요.",
    }
    assert [one.is_generated for one in found].count(True) == 1
    for one in found:
        nats = keeper.score("배고파 배고프다", one.answer, "0") / (len(one.answer) + 1)
        assert one.log_likelihood == pytest.approx(nats, abs=1e-4)
        assert one.score == pytest.approx(nats + retrieval.WEIGHT * one.similarity, abs=1e-4)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_a_reranked_reply_is_the_best_candidate_in_one_piece(keeper):
    best = keeper.candidates("배고파", "0")[0]
    assert keeper.reply("배고파", "0", rerank=True) == best.answer
    assert list(keeper.stream("배고파", "0", rerank=True)) == [best.answer]
    # Under "auto" that of the label that is read.
    read = keeper.predict_label("배고파")
    label = max(read, key=read.get)
    assert keeper.reply("배고파", rerank=True) == keeper.reply("배고파", label, rerank=True)
    # Without, nothing is looked up.
    assert keeper.reply("배고파", "0") == "".join(keeper.generate("배고파", "0"))


def test_several_who_ask_at_once_share_one_index(keeper, monkeypatch):
    made, together = [], threading.Barrier(4)

    def slowly(pairs):
        made.append(pairs)
        time.sleep(0.2)
        return Retriever(pairs)

    def ask(_):
        together.wait()
        return keeper.retriever

    monkeypatch.setattr(chatbot, "Retriever", slowly)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(map(id, pool.map(ask, range(4))))) == len(made) == 1


def test_a_drawn_reply_is_a_candidate_too(keeper):
    drawn = {"temperature": 1.5, "seed": 3}
    [own] = [one for one in keeper.candidates("배고파", "1", **drawn) if one.is_generated]
    assert own.answer == keeper.reply("배고파", "1", **drawn) != keeper.reply("배고파", "1")


def test_an_answer_longer_than_a_reply_may_be_is_none(tmp_path, model, tokenizer):
    pairs = [("안녕", "가나다라마바사 " * 30, "0"), ("안녕", "반가워요.", "0")]
    card = Card(labels=["0"], max_length=64)
    keeper = chatbot.load(checkpoint.save(tmp_path / "long", model, tokenizer, card, pairs=pairs))
    assert {one.answer for one in keeper.candidates("안녕", "0")} == {keeper.reply("안녕", "0"), "반가워요."}


def test_an_own_question_in_other_words_gets_what_was_learned(tmp_path, model, tokenizer):
    card = Card(labels=["0", "1", "2"], max_length=64, data={"newest_pairs": 2})
    earlier = [("배달 음식 좋아해", "저도요.", "0"), ("배고파", "드세요.", "0")]
    pairs = [("배달 되나요?", "네, 돼요.", "0"), ("주차 되나요?", "아니요.", "0"), *earlier]
    keeper = chatbot.load(checkpoint.save(tmp_path / "shop", model, tokenizer, card, pairs=pairs))
    assert keeper.matcher.match("혹시 배달 되나요", "0").question == "배달 되나요?"
    [own] = keeper.candidates("혹시 배달 되나요", "0")
    assert own.is_generated
    assert own.answer == keeper.reply("혹시 배달 되나요", "0")
    assert len(keeper.candidates("배고파", "0")) > 1


def test_without_kept_pairs_nothing_can_be_looked_up(bot):
    assert bot.retriever is None
    for ask in (bot.reply, bot.stream):
        with pytest.raises(ReplyError) as error:
            ask("안녕", "0", rerank=True)
        assert error.value.key == "no_kept_pairs"
        assert error.value.values == {"name": "tiny"}


@pytest.mark.parametrize(
    ("wrong", "key"),
    [({"question": " "}, "empty_question"), ({"label": "9"}, "unknown_label"), ({"strength": -1}, "bad_strength")],
)
def test_what_cannot_be_asked_is_refused(keeper, wrong, key):
    with pytest.raises(ReplyError) as error:
        keeper.candidates(**{"question": "안녕", "label": "0", **wrong})
    assert error.value.key == key
