"""Why this reply: what the panel shows of a real bot, and that nothing in it is read as HTML."""

import html
import re
from dataclasses import replace

import pytest

from kochat.inference import chatbot, retrieval
from kochat.inference.sampling import Sampling
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.gpt2 import make_model
from kochat.ui import widgets
from kochat.ui.chat import explain, messages

ODD = "</s><sys> <script>alert(1)</script> ${1+1} {{value}} &lt; 🦜"


def with_larger_weights(folder):
    """A bot of which probabilities differ."""
    loaded = checkpoint.load(folder)
    for weights in loaded.weights.tensors.values():
        weights.mul_(6)
    return chatbot.Chatbot(loaded)


@pytest.fixture
def talker(tiny_checkpoint):
    """The tiny bot with larger weights."""
    return with_larger_weights(tiny_checkpoint)


def text(shown: str) -> str:
    """What a person reads of HTML."""
    return html.unescape(re.sub("<[^>]+>", " ", shown))


def history(*replies):
    """Questions and replies as the page has them."""
    shown = []
    for question, said, *source in replies:
        shown += [messages.message("user", question), messages.message("assistant", said, "note", *source)]
    return shown


def test_the_reply_that_is_meant_is_found():
    told = history(("하나", "1", "0", "a"), ("둘", "2", "1", "b", 3.0), ("셋", "3"))  # the last one was stopped
    first, second = explain.Source("하나", "1", "0", "a"), explain.Source("둘", "2", "1", "b", 3.0)
    assert explain.source_at(told, None) == second
    assert explain.source_at(told, 1) == explain.source_at(told, 0) == first  # a question means its reply
    assert explain.source_at(told, 3) == second
    assert explain.source_at(told, 5) == explain.source_at(told, 99) == explain.source_at(told, -1) == second
    assert explain.source_at([], None) is explain.source_at(told[4:], None) is None
    # What a page kept before strengths were recorded.
    told[3]["metadata"]["id"] = '["1", "b"]'
    assert explain.source_at(told, 3) == explain.Source("둘", "2", "1", "b", None)
    # And before samplings were, which is: all were greedy.
    told[3]["metadata"]["id"] = '["1", "b", 3.0]'
    assert explain.source_at(told, 3) == second
    drawn = history(("하나", "1", "0", "a", 0.5, Sampling(0.8, 0.9, 2**32 - 1)))
    assert explain.source_at(drawn, 1) == explain.Source("하나", "1", "0", "a", 0.5, Sampling(0.8, 0.9, 2**32 - 1))


@pytest.mark.parametrize(
    ("p", "told"),
    [
        (1, "100%"),
        (0.8187, "82%"),
        (0.1, "10%"),
        (0.0996, "10%"),
        (0.012, "1.2%"),
        (0.00034, "0.034%"),
        (0.0001, "0.01%"),
        (1 / 32000, "1/32,000"),
        (3e-8, "1/33,333,333"),
        (0, "0%"),
        (1e-30, "0%"),
    ],
)
def test_a_probability_for_people(p, told):
    assert widgets.percent(p) == told


@pytest.mark.slow
def test_every_token_stands_there_with_its_numbers_and_its_runners_up(talker):
    source = explain.Source("안녕", talker.reply("안녕", "1"), "1", "tiny")
    shown, steps = explain.explanation_html("ko", talker, source), talker.explain("안녕", "1")
    chips = re.findall(r'<button type="button" class="step p(\d)" data-step="(\d+)".*?</button>', shown)
    assert [int(i) for _, i in chips] == list(range(len(steps)))
    levels = [sum(step.probability >= edge for edge in (0.1, 0.3, 0.5, 0.7, 0.9)) for step in steps]
    assert [int(level) for level, _ in chips] == levels
    running = 1.0
    for step in steps[:10]:
        running *= step.probability
        told = f"{step.token.strip()}, 확률 {widgets.percent(step.probability)}, 여기까지 {widgets.percent(running)}"
        assert f'aria-label="{html.escape(told)}"' in shown
    # Each runner-up says how the reply would begin with it.
    starts = [[int(i) for i in one.split()] for one in re.findall(r'data-start="([\d ]+)"', shown)]
    ids = [step.token_id for step in steps]
    assert starts == [[*ids[:i], other] for i, step in enumerate(steps) for other in step.runner_up_ids]
    assert "다시 계산한 답이라" not in shown
    assert f"토큰 {len(steps)}개의 확률을 모두 곱한" in shown
    # The labels, each with its share and its reply.
    for label, p in talker.predict_label("안녕").items():
        name = {"0": "일상다반사", "1": "이별·부정", "2": "사랑·긍정"}[label]
        row = next(row for row in re.findall(r"<tr.*?</tr>", shown) if name in row)
        assert widgets.percent(p) in row
        assert html.escape(talker.reply("안녕", label)) in row
        assert ("chosen" in row) == (label == "1")
    assert "낯섦" not in shown  # without a calibration nothing is said of it


@pytest.mark.slow
def test_what_if_stands_beside_the_reply(talker):
    source = explain.Source("안녕", talker.reply("안녕", "0"), "0", "tiny")
    steps = talker.explain("안녕", "0")
    start = [steps[0].token_id, steps[1].runner_up_ids[1]]
    shown = explain.explanation_html("en", talker, source, start)
    assert shown.count('<section class="steps">') == 2
    [marked] = re.findall(r'class="step p\d forced" data-step="(\d+)"', shown)
    assert marked == "1"
    # The runners-up that it was chosen from stay open, and it is marked among them.
    assert re.findall(r'data-step="(\d+)" aria-expanded="true"', shown) == ["1"]
    assert re.findall(r'data-others="(\d+)"><span>', shown) == ["1"]
    assert re.findall(r'data-start="([\d ]+)" aria-current="true"', shown) == [" ".join(map(str, start))]
    other = talker.explain("안녕", "0", start=start)
    assert shown.count("data-step=") == len(steps) + len(other)


@pytest.mark.slow
def test_a_choice_in_the_what_if_stays_open_there(talker):
    source = explain.Source("안녕", talker.reply("안녕", "0"), "0", "tiny")
    first = [talker.explain("안녕", "0")[0].runner_up_ids[0]]
    second = talker.explain("안녕", "0", start=first)[1]
    shown = explain.explanation_html("en", talker, source, [*first, second.runner_up_ids[0]])
    mine, other = shown.split('<section class="steps">')[1:]
    assert 'aria-expanded="true"' not in mine
    assert 'data-others="1"><span>' in other
    assert f'data-start="{first[0]} {second.token_id}"' in other  # the way back


def test_a_likelier_what_if_is_told_why_it_was_not_chosen(tmp_path, tokenizer):
    # With room for a short reply, since many are computed until one is likelier.
    short = make_model(tokenizer, layers=2, width=8, heads=2, positions=32, seed=0)
    talker = with_larger_weights(checkpoint.save(tmp_path / "short", short, tokenizer, Card(["0"], max_length=32)))
    source = explain.Source("안녕", talker.reply("안녕", "0"), "0", "tiny")
    steps = talker.explain("안녕", "0")
    ids, told = [step.token_id for step in steps], set()
    for i, step in enumerate(steps):
        for other in step.runner_up_ids:
            start = [*ids[:i], other]
            better = explain._nats(talker.explain("안녕", "0", start=start)) < explain._nats(steps)
            if better in told:
                continue
            assert ("never looks ahead" in explain.explanation_html("en", talker, source, start)) == better
            told.add(better)
            if told == {True, False}:
                return
    raise AssertionError(f"only {told}")


def test_the_line_says_what_it_is(talker):
    shown = explain.explanation_html("en", talker, explain.Source("안녕", "", "0", "tiny"))
    assert "How the probability of the whole reply falls" in shown
    assert "<span>100%</span><span>" in shown


@pytest.mark.slow
def test_a_strength_bytes_and_another_reply_are_told(talker):
    source = explain.Source("🦜", "이 답이 아니에요", "2", "tiny", 2.5)
    shown = explain.explanation_html("en", talker, source)
    assert "The strength is 2.5" in shown
    assert "was computed just now" in shown
    assert html.escape(talker.reply("🦜", "2", 2.5)) in shown
    talker.card.familiarity = {"questions": 20, "threshold": 0.01}
    assert "surprise is" in explain.explanation_html("en", talker, source)
    assert "counts as unfamiliar" in explain.explanation_html("en", talker, source)


@pytest.mark.slow
def test_a_drawn_reply_is_explained_as_it_was_drawn(talker):
    sampling = Sampling(1.2, 0.9, 7)
    said = talker.reply("안녕", "1", 0.0, **sampling._asdict())
    steps = talker.explain("안녕", "1", 0.0, **sampling._asdict())
    drawn = [i for i, step in enumerate(steps) if step.drawn]
    assert 0 < len(drawn) < len(steps)
    source = explain.Source("안녕", said, "1", "tiny", 0.0, sampling)
    shown = explain.explanation_html("en", talker, source)
    assert "drawn with a variety of 1.2" in shown
    assert "reach 90% together" in shown
    assert f"a dotted line, {len(drawn)} here," in shown
    assert "was computed just now" not in shown  # it is the very reply
    assert [int(i) for i in re.findall(r'class="step p\d drawn" data-step="(\d+)"', shown)] == drawn
    assert shown.count(", drawn though another one was likelier") == 2 * len(drawn)  # in title and aria-label
    starts = [[int(i) for i in one.split()] for one in re.findall(r'data-start="([\d ]+)"', shown)]
    ids = [step.token_id for step in steps]
    assert starts == [[*ids[:i], other] for i, step in enumerate(steps) for other in step.runner_up_ids]
    # The label in question has the reply in question.
    rows = re.findall(r"<tr( class=chosen)?>(.*?)</tr>", shown)
    assert [html.escape(said) in row for chosen, row in rows if chosen] == [True]
    # What if: drawn on in the same way, the token that was chosen marked as such; it missed nothing by being greedy.
    start = [*ids[: drawn[0]], steps[drawn[0]].runner_up_ids[0]]
    shown = explain.explanation_html("en", talker, source, start)
    other = talker.explain("안녕", "1", 0.0, start=start, **sampling._asdict())
    assert shown.count("data-step=") == len(steps) + len(other)
    [marked] = re.findall(r'class="step p\d forced" data-step="(\d+)"', shown)
    assert int(marked) == drawn[0]
    assert "takes the likeliest token each time" not in shown
    greedy = explain.explanation_html("en", talker, replace(source, said="", sampling=Sampling()))
    assert "drawn" not in greedy


def test_a_reply_that_was_looked_up_is_shown_among_its_candidates(tmp_path, model, tokenizer, monkeypatch):
    pairs = [("안녕 로봇", "반가워요.", "0"), ("안녕하세요 로봇", "<b>네.</b>", "0"), ("안녕 로봇", "응.", "1")]
    card = checkpoint.Card(labels=["0", "1"], max_length=64)
    keeper = chatbot.load(checkpoint.save(tmp_path / "keeper", model, tokenizer, card, pairs=pairs))
    monkeypatch.setattr(retrieval, "WEIGHT", 100)  # it is untrained, and finds everything as likely
    source = explain.Source("안녕 로봇", "반가워요.", "0", "keeper", 0.0, reranked=True)
    shown = explain.explanation_html("en", keeper, source)
    [table] = re.findall(r'<div class="rows candidates">(.*?)</div>', shown)
    rows = [re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr.*?</tr>", table)[1:]]
    found = keeper.candidates("안녕 로봇", "0", 0.0)
    assert [row[0] for row in rows] == [
        "반가워요.",
        "&lt;b&gt;네.&lt;/b&gt;",
        html.escape(keeper.reply("안녕 로봇", "0")),
    ]
    assert [row[1] for row in rows] == ["answer to “안녕 로봇”", "answer to “안녕하세요 로봇”", "generated by the bot"]
    assert [row[2:] for row in rows] == [
        [f"{one.log_likelihood:.2f}", f"{one.similarity:.2f}", f"{one.score:.2f}"] for one in found
    ]
    assert re.findall("<tr class=chosen><td>(.*?)</td>", table) == ["반가워요."]
    # Its tokens, with the probabilities that the bot would have said them with.
    assert "looked up, not chosen token by token" in shown
    assert "was computed just now" not in shown
    steps = keeper.explain("안녕 로봇", "0", 0, start=keeper.ids_of("반가워요."))
    assert len(re.findall("data-step=", shown)) == len(steps)
    # Each label has its own.
    assert re.findall("<td>(응.)</td>", shown) == ["응."]
    generated = explain.explanation_html("en", keeper, replace(source, reranked=False))
    assert "candidates" not in generated
    assert "was computed just now" in generated


def test_what_people_typed_is_shown_as_text(talker):
    shown = explain.explanation_html("ko", talker, explain.Source(ODD, ODD, "0", "<i>tiny</i>"))
    assert "<script" not in shown
    assert ODD in text(shown)
    assert "<i>" not in shown
    assert len(explain.explanation_html("ko", talker, explain.Source("가" * 5000, "", "0", "tiny"))) < 400_000


def test_of_many_labels_the_likeliest_are_shown(tmp_path, model, tokenizer):
    labels = [f"라벨{i}" for i in range(40)]
    folder = checkpoint.save(tmp_path / "many", model, tokenizer, checkpoint.Card(labels=labels, max_length=64))
    bot = chatbot.load(folder)
    read = bot.predict_label("안녕")
    least = min(read, key=read.get)
    shown = explain.labels_html("ko", bot, explain.Source("안녕", "", least, "many"), 0)
    assert shown.count("<tr") == 1 + explain.MAX_LABELS + 1
    assert least in shown
    assert max(read, key=read.get) in shown


def test_a_sure_reply_costs_nothing_and_not_less(talker):
    sure = [replace(step, probability=1.0) for step in talker.explain("안녕", "0")]
    assert f"{explain._nats(sure):.2f}" == "0.00"
