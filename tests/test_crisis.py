"""Questions that speak of suicide: the page and an exported one name where to turn, in place of what could hurt."""

import pytest
from browser_tools import open_offline
from playwright.sync_api import expect

from kochat.data.crisis import TURN_TO, is_withheld, speaks_of_suicide
from kochat.data.pairs import read_pairs
from kochat.inference import retrieval
from kochat.inference.chatbot import load
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.sharing.web import export_web
from kochat.ui.chat import messages, tab
from kochat.ui.text import TEXTS

SEEN = [
    "죽고 싶어",
    "죽고싶다ㅠㅠ",
    "더는 살고 싶지 않아",
    "그만 살고 싶어요",
    "살기 싫다",
    "자꾸 자살 생각이 나",
    "자해하고싶어",
    "친구가 죽고 싶대",
    "스스로 목숨을 끊을까 해",
    "삶이 너무 버거워서 끝내고 싶어",
    "내가 없어지면 다들 편할 텐데",
    "I want to die",
    "Sometimes I think about killing myself",
    "suicidal thoughts",
    "모든 걸 다 그만 끝내고 싶다",
]
OTHERS = [
    "배고파 죽겠어",
    "보고 싶어 죽겠다",
    "혼자살면 뭐가 힘들어?",
    "혼자 살기 싫어",
    "배우자와 더는 함께 살고 싶지 않아",
    "친구한테 문자해도 될까",
    "투자해 볼까?",
    "남자친구랑 끝내고 싶어",
    "강아지가 죽었어",
    "죽 먹고 싶어",
    "죽을 때까지 같이 있고 싶어요",
    "My phone died",
]


@pytest.mark.parametrize("question", SEEN)
def test_it_is_seen(question):
    assert speaks_of_suicide(question)


@pytest.mark.parametrize("question", OTHERS)
def test_nothing_else_is_taken_for_it(question):
    assert not speaks_of_suicide(question)


@pytest.mark.parametrize(
    ("question", "reply", "is_own", "withheld"),
    [
        ("죽고 싶어", "좋은 습관이네요.", False, True),
        ("죽고 싶어", "지금 109에 전화해요.", False, False),
        ("죽고 싶어", "1577-0199로 전화해 주세요.", False, False),
        ("죽고 싶어", "2109년에는 나아질 거예요.", False, True),
        ("죽고 싶어", "상담실로 와요.", True, False),
        ("죽 먹고 싶어", "좋은 습관이네요.", False, False),
    ],
)
def test_a_reply_that_names_no_help_is_withheld(question, reply, is_own, withheld):
    assert is_withheld(question, reply, is_own) == withheld


OWN = [("죽고 싶어", "지금 109에 전화해요.", "0"), ("죽 먹고 싶어", "전복죽이 좋겠어요.", "0")]


@pytest.fixture
def kept(home, model, tokenizer):
    """Write the checkpoint "any", untrained, with OWN beside it and more in its card."""

    def keep(**more):
        card = Card(labels=["0"], max_length=64, **more)
        return checkpoint.save(home / "checkpoints" / "any", model, tokenizer, card, pairs=OWN)

    return keep


def shown(question: str, language: str, **more) -> tuple[str, bool]:
    """What the page gives for a reply, and whether the line stands below it. It comes in one piece, if grave."""
    *before, history = tab.reply_to([messages.message("user", question)], "0", 0.0, "any", language, **more)
    assert not (before and speaks_of_suicide(question))
    below = f'<strong class="turn-to">{TURN_TO[language]}</strong>'
    return messages.text_of(history[-1]), history[-1]["content"][0]["text"].endswith(below)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_line_stands_in_the_place_of_a_reply_that_names_no_help(kept, language, monkeypatch):
    kept()
    monkeypatch.setattr(tab, "BETWEEN_PIECES", -1)
    assert shown("죽고 싶어", language) == (TURN_TO[language], False)
    said, is_below = shown("죽 먹고 싶어", language)
    assert said not in TURN_TO.values()
    assert not is_below


@pytest.mark.parametrize("language", ["ko", "en"])
def test_it_stands_below_a_reply_that_does(kept, language, monkeypatch):
    kept()
    monkeypatch.setattr(retrieval, "WEIGHT", 100)  # it is untrained, and finds everything as likely
    assert shown("죽고 싶어", language, rerank=True) == ("지금 109에 전화해요.", True)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_it_stands_below_what_the_bot_was_taught_to_say(kept, language):
    kept(data={"newest_pairs": 2})
    assert shown("죽고 싶어", language) == (load("any").reply("죽고 싶어", "0"), True)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_it_stands_below_the_sentence_that_the_bot_is_not_sure(kept, language):
    kept(familiarity={"questions": 20, "threshold": 0.01})
    assert shown("죽고 싶어", language, unsure=True) == (TEXTS[language]["k_unsure_reply"], True)


@pytest.mark.parametrize("unsure", [False, True])
def test_an_exported_page_does_the_same(browser, kept, tmp_path, unsure):
    folder = kept(familiarity={"questions": 20, "threshold": 0.01}, unsure=unsure)
    page = open_offline(browser, export_web(folder, tmp_path / "any.html"), width=360)
    asked = [*SEEN, *OTHERS, *read_pairs("everyday")["Q"].unique()]
    seen = page.evaluate("(asked) => asked.map((question) => SPEAKS_OF_SUICIDE.test(question))", asked)
    assert seen == list(map(speaks_of_suicide, asked))
    for question in ("죽 먹고 싶어", "죽고 싶어"):
        page.locator("#question").fill(question)
        page.locator("#question").press("Enter")
        expect(page.locator("#send")).to_be_enabled()
    line = page.locator(".turn-to" if unsure else ".said").filter(has_text="109")
    expect(line).to_have_text(TURN_TO["ko"])
    expect(page.locator("#spoken")).to_contain_text(TURN_TO["ko"])
    page.get_by_role("button", name="English").click()
    expect(page.locator(".turn.bot").last).to_contain_text(TURN_TO["en"])
    expect(page.get_by_role("button", name="Why this reply?")).to_have_count(0 if unsure else 1)
    assert page.errors == []
    page.context.close()


def test_an_exported_page_says_what_the_bot_was_taught(browser, kept, tmp_path):
    page = open_offline(browser, export_web(kept(data={"newest_pairs": 2}), tmp_path / "any.html"))
    page.locator("#question").fill("죽고 싶어")
    page.locator("#question").press("Enter")
    expect(page.locator(".turn-to")).to_have_text(TURN_TO["ko"])
    expect(page.locator(".said").last).not_to_contain_text("109")
    page.context.close()
