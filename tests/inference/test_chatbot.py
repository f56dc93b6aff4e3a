"""The Chatbot: replies, streams, likelihoods and explanations, alone, in a batch and from threads."""

import math
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from conftest import plain_model

from kochat.config import TrainingConfig
from kochat.errors import ReplyError
from kochat.inference import chatbot
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.gpt2 import make_model
from kochat.model.prompt import Part
from kochat.training.fine_tuning import fine_tune

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
        data=str(folder / "two.csv"),
        base=str(base),
        output=str(folder / "learned"),
        label_dropout=0,
        schedule="constant",
        precision="float32",
        sample_questions=("안녕",),
        **settings,
    )
    for _ in fine_tune(config):
        pass
    return chatbot.load(folder / "learned")


@torch.inference_mode()
def log_probability(bot, ids, count):
    """log P of the last `count` ids after those before, from one plain forward."""
    rows = plain_model(bot)(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(rows[i - 1, ids[i]].item() for i in range(len(ids) - count, len(ids)))


@pytest.mark.slow
def test_the_stream_joined_is_the_reply(talker):
    asked = [("안녕", "0", None), ("안녕", "2", None), ("안녕", "2", 3), ("안녕", "auto", None), ("🦜", "0", 3)]
    replies = []
    for one in asked:
        pieces = list(talker.stream(*one))
        assert all(pieces)
        replies.append("".join(pieces))
    assert replies == [talker.reply(*one) for one in asked]
    assert len(set(replies)) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("strength", [None, 0, 2.5])
def test_replies_together_are_those_one_by_one(talker, strength):
    asked = [(question, label) for question in QUESTIONS for label in ("auto", "1")]
    assert talker.replies(asked, strength) == [talker.reply(q, label, strength) for q, label in asked]
    assert talker.replies([], strength) == []


@pytest.mark.slow
def test_a_drawn_reply_is_the_same_for_the_same_seed_alone_together_and_piece_by_piece(talker):
    for strength in (0, 0.5):
        settings = {"strength": strength, "temperature": 1.0, "top_p": 0.95}
        drawn = [talker.reply("안녕", "0", **settings, seed=seed) for seed in (0, 1, 2, 2**32 - 1)]
        assert len(set(drawn)) == 4
        assert ["".join(talker.stream("안녕", "0", **settings, seed=seed)) for seed in (0, 1)] == drawn[:2]
        # Of several the i-th has the seed that is larger by i.
        assert talker.replies([("안녕", "0")] * 3, **settings, seed=0) == drawn[:3]
        assert talker.replies([("🦜", "1"), ("안녕", "0")], **settings, seed=2**32 - 1)[1] == drawn[0]
        # Without a seed it is another one each time.
        assert len({talker.reply("안녕", "0", **settings) for _ in range(3)}) == 3
        assert len(set(talker.replies([("안녕", "0")] * 5, **settings))) == 5


def test_at_temperature_0_replies_are_greedy(talker):
    asked = [(question, "1") for question in QUESTIONS]
    greedy = talker.replies(asked)
    assert talker.replies(asked, temperature=0.0, top_p=0.5, seed=7) == greedy
    assert [talker.reply(*one, temperature=0, seed=7) for one in asked] == greedy
    assert talker.explain("안녕", "0", temperature=0, top_p=0.5, seed=7) == talker.explain("안녕", "0")


@pytest.mark.parametrize("strength", [0, 2.5])
def test_an_explanation_tells_what_was_likely_and_what_was_drawn(talker, strength):
    settings = {"temperature": 1.5, "top_p": 0.9, "seed": 5}
    steps = talker.explain("안녕", "2", strength, runners_up=600, **settings)
    assert talker.text_of([step.token_id for step in steps]) == talker.reply("안녕", "2", strength, **settings)
    for i, step in enumerate(steps[:12]):
        row = strengthened(talker, "안녕", "2", [one.token_id for one in steps[:i]], strength, cut=bool(strength))
        shares, ids = (row.log() / 1.5).softmax(-1).sort(descending=True)
        n = int((shares.cumsum(-1) < 0.9).sum()) + 1
        nucleus = dict(zip(ids[:n].tolist(), (shares[:n] / shares[:n].sum()).tolist(), strict=True))
        told = {step.token_id: step.probability}
        told |= {token: p for token, (_, p) in zip(step.runner_up_ids, step.runners_up, strict=True)}
        assert told == pytest.approx(nucleus, rel=1e-3)
        assert step.drawn == (step.token_id != ids[0])
    assert {step.drawn for step in steps} == {False, True}
    assert not any(step.drawn for step in talker.explain("안녕", "2", strength))
    # What if: beginning as it does by itself changes nothing, and after another token it is drawn on.
    begun = [step.token_id for step in steps[:5]]
    assert talker.explain("안녕", "2", strength, runners_up=600, start=begun, **settings) == steps
    place = next(i for i, step in enumerate(steps) if step.runner_up_ids)
    start = [*(step.token_id for step in steps[:place]), steps[place].runner_up_ids[0]]
    other = talker.explain("안녕", "2", strength, start=start, **settings)
    assert [step.token_id for step in other[: place + 1]] == start
    assert other[place].probability == pytest.approx(steps[place].runners_up[0][1], rel=1e-3)


def test_a_drawn_reply_is_explained_with_its_end_where_it_has_one(learned):
    settings = {"temperature": 2.0, "top_p": 1.0}
    ends = set()
    for seed in range(30):
        steps = learned.explain("안녕", "0", **settings, seed=seed)
        assert learned.text_of([step.token_id for step in steps]) == learned.reply("안녕", "0", **settings, seed=seed)
        assert "</s>" not in [step.token for step in steps[:-1]]
        ends.add((steps[-1].token == "</s>", len(steps) < 80))
    assert (True, True) in ends
    assert (False, True) not in ends  # what has no end was cut at the last of the model's 96 positions


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"temperature": 2.5}, "bad_temperature"),
        ({"temperature": 1, "top_p": 0}, "bad_top_p"),
        ({"temperature": 1, "seed": -1}, "bad_seed"),
        ({"seed": 2**32}, "bad_seed"),
        ({"top_p": 2}, "bad_top_p"),
    ],
)
def test_a_sampling_that_is_none_is_refused(bot, wrong, key):
    for ask in (bot.reply, bot.stream, bot.explain, lambda q, label, **wrong: bot.replies([(q, label)], **wrong)):
        with pytest.raises(ReplyError) as refused:
            ask("안녕", "0", **wrong)
        assert refused.value.key == key


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


@torch.inference_mode()
def strengthened(bot, question, label, said, strength, cut=True):
    """The shares that a strength leaves for the token after `said`, from two plain forwards.

    Among the plausible tokens; without `cut` among all.
    """
    rows = [
        plain_model(bot)(torch.tensor([bot.prompt.encode_prompt(question, one) + said])).logits[0, -1].log_softmax(-1)
        for one in (label, None)
    ]
    scores = rows[0] + strength * (rows[0] - rows[1])
    if cut:
        scores[rows[0] < rows[0].max() + math.log(0.1)] = -math.inf
    return scores.softmax(-1)


def test_with_a_strength_an_explanation_tells_what_decoding_chose_from(talker):
    for strength in (2.5, 1):
        steps = talker.explain("안녕", "2", strength, runners_up=600)
        assert talker.text_of([step.token_id for step in steps]) == talker.reply("안녕", "2", strength)
        for i, step in enumerate(steps[:12]):
            row = strengthened(talker, "안녕", "2", [one.token_id for one in steps[:i]], strength)
            assert row.argmax() == step.token_id
            others = {step.token_id: step.probability}
            others |= {token: p for token, (_, p) in zip(step.runner_up_ids, step.runners_up, strict=True)}
            assert others == pytest.approx({t: p for t, p in enumerate(row.tolist()) if p > 0}, rel=1e-3)
            assert sum(others.values()) == pytest.approx(1)
    assert steps != talker.explain("안녕", "2", strength=0)
    talker.card.strength = 1
    assert steps == talker.explain("안녕", "2", runners_up=600)


@pytest.mark.parametrize("strength", [0, 2.5])
def test_a_reply_goes_on_from_where_it_has_to_begin(talker, strength):
    eos = talker.tokenizer.eos_token_id
    steps = talker.explain("안녕", "0", strength)
    # Beginning as it does by itself changes nothing; beginning with a runner-up is followed greedily.
    assert talker.explain("안녕", "0", strength, start=[one.token_id for one in steps[:5]]) == steps
    start = [steps[0].token_id, steps[1].token_id, steps[2].runner_up_ids[0]]
    other = talker.explain("안녕", "0", strength, start=start)
    assert [one.token_id for one in other[:3]] == start
    assert other[2].probability == pytest.approx(steps[2].runners_up[0][1], rel=1e-3)
    assert steps[2].token_id in other[2].runner_up_ids
    said = start.copy()
    for step in other[3:12]:
        assert step.token_id == strengthened(talker, "안녕", "0", said, strength).argmax() or strength == 0
        assert step.probability >= max((p for _, p in step.runners_up), default=0)
        said.append(step.token_id)
    # It may have to end at once.
    ended = talker.explain("안녕", "0", 0, start=[steps[0].token_id, eos])
    assert [one.token for one in ended] == [steps[0].token, "</s>"]


def test_a_beginning_that_cannot_be_is_refused(bot):
    eos = bot.tokenizer.eos_token_id
    for start in ([600], [-1], [True], ["1"], [1.0], [eos, 300], [300] * 88, [300] * 10_000):
        with pytest.raises(ReplyError, match="cannot go on from there"):
            bot.explain("안녕", "0", start=start)
    assert len(bot.explain("안녕", "0", start=[300] * 87)) == 87  # as many as the model has places


def test_a_question_is_read_in_one_pass_as_by_hand(talker):
    for question in QUESTIONS:
        reading = talker.read(question)
        assert reading.labels == pytest.approx(talker.predict_label(question), rel=1e-3)
        assert reading.unfamiliar is None  # it was never calibrated
        ids, count = talker.prompt.encode_question(question)
        if len(question) < 40:
            nats = -log_probability(talker, ids, count)
            assert reading.surprise == pytest.approx(nats / (len(question.encode()) + 6), rel=1e-4)
    chosen = talker.read("안녕", "2")
    assert chosen.labels == {"2": 1.0}
    assert chosen.surprise == pytest.approx(talker.read("안녕").surprise, rel=1e-4)
    surprises = [talker.read(question).surprise for question in ("안녕", "🦜")]
    talker.card.familiarity = {"questions": 20, "threshold": sum(surprises) / 2}
    assert sorted(talker.read(question).unfamiliar for question in ("안녕", "🦜")) == [False, True]
    with pytest.raises(ReplyError, match="label “3”"):
        talker.read("안녕", "3")


def test_a_pair_is_examined_token_by_token(talker):
    tokens = talker.examine("안녕 🦜", "네.", "2")
    example = talker.prompt.encode_example("안녕 🦜", "네.", "2")
    assert [one.token_id for one in tokens] == example.input_ids
    assert [one.label for one in tokens] == example.labels
    assert [one.learned_as for one in tokens] == example.parts
    assert all(one.kept for one in tokens)
    assert [one.text for one in tokens if one.text[0] == "🦜"] == ["🦜 1/4", "🦜 2/4", "🦜 3/4", "🦜 4/4"]
    assert [one.text for one in tokens if one.part == Part.STRUCTURE] == ["<usr>", "<unused1>", "<sys>", "</s>"]
    assert tokens[0].nats is None
    answer = [one.nats for one in tokens if one.learned_as == Part.ANSWER]
    assert -sum(answer) == pytest.approx(talker.score("안녕 🦜", "네.", "2"), rel=1e-4)
    ids = example.input_ids
    by_hand = [-log_probability(talker, ids[: i + 1], 1) for i in range(1, len(ids))]
    assert [one.nats for one in tokens[1:]] == pytest.approx(by_hand, rel=1e-3, abs=1e-5)


def test_of_a_long_pair_what_is_cut_is_told_and_costs_nothing(talker):
    tokens = talker.examine("x" * 100, "y" * 100, "0")
    kept = [one for one in tokens if one.kept]
    assert len(kept) == 64
    cut = [one for one in tokens if not one.kept]
    assert {(one.label, one.nats, one.learned_as) for one in cut} == {(None, None, None)}
    assert [one.token_id for one in kept] == talker.prompt.encode_example("x" * 100, "y" * 100, "0").input_ids
    for bad in (("", "네", "0"), ("안녕", "네", "3")):
        with pytest.raises(ReplyError):
            talker.examine(*bad)


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


@pytest.mark.parametrize("strength", [-1, float("nan"), float("inf"), 101, 1e39])
def test_a_strength_that_is_none_is_refused(bot, strength):
    for ask in (bot.reply, bot.stream, lambda q, label, strength: bot.replies([(q, label)], strength)):
        with pytest.raises(ReplyError, match="must be a number from 0 to 100") as refused:
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


def test_a_label_is_known_in_any_normal_form_and_width(tmp_path, model, tokenizer):
    path = checkpoint.save(tmp_path / "own", model, tokenizer, Card(labels=["사랑", "0"], max_length=64))
    own = chatbot.load(path)
    question = unicodedata.normalize("NFD", "안녕")
    assert own.reply(question, unicodedata.normalize("NFD", "사랑")) == own.reply("안녕", "사랑")
    assert own.reply("\u3164안녕", "０") == own.reply("안녕", "0")
    assert own.read("안녕", "０").labels == {"0": 1.0}
    with pytest.raises(ReplyError, match="does not know the label “1”"):
        own.reply("안녕", "1")


@pytest.mark.parametrize("padding", [0, 8])
def test_ids_that_the_tokenizer_has_no_token_for_are_never_chosen(tmp_path, model, tokenizer, padding):
    plain = checkpoint.save(tmp_path / "plain", model, tokenizer, Card(labels=["0", "1"], max_length=64))
    expected = chatbot.load(plain).explain("안녕", "0")
    model.resize_token_embeddings(len(tokenizer) + padding, mean_resizing=False)
    with torch.no_grad():
        model.transformer.wte.weight[len(tokenizer) :] = 10 * model.transformer.wte.weight[7]
    padded = checkpoint.save(tmp_path / "padded", model, tokenizer, Card(labels=["0", "1"], max_length=64))
    own = chatbot.load(padded)
    steps = own.explain("안녕", "0")
    assert [step.token for step in steps] == [step.token for step in expected]
    assert own.reply("안녕", "0") == chatbot.load(plain).reply("안녕", "0")
    assert own.weights.config["vocab_size"] == len(tokenizer)


def test_a_label_that_its_owner_hid_is_read_in_no_question_and_there_for_who_names_it(tiny_checkpoint):
    card = checkpoint.read_card(tiny_checkpoint)
    likeliest = max(every := chatbot.load(tiny_checkpoint).predict_label("안녕"), key=every.get)
    checkpoint.write_card(tiny_checkpoint, "tiny", replace(card, profile={"hidden_labels": [likeliest]}))
    bot = chatbot.load(tiny_checkpoint)
    left = {label: p for label, p in every.items() if label != likeliest}
    shares = bot.read("안녕").labels
    assert shares == pytest.approx({label: p / sum(left.values()) for label, p in left.items()})
    assert bot.reply("안녕") == bot.reply("안녕", max(left, key=left.get))
    assert bot.reply("안녕", likeliest) == chatbot.load(tiny_checkpoint).reply("안녕", likeliest)
    # One that hides all offers all.
    checkpoint.write_card(tiny_checkpoint, "tiny", replace(card, profile={"hidden_labels": ["0", "1", "2"]}))
    assert set(chatbot.load(tiny_checkpoint).read("안녕").labels) == {"0", "1", "2"}
