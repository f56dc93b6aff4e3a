"""Questions that speak of suicide: the page and an exported one name where to turn, whatever the chatbot says."""

import pytest
from browser_tools import open_offline
from playwright.sync_api import expect

from kochat.data.crisis import TURN_TO, speaks_of_suicide
from kochat.data.pairs import read_pairs
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.sharing.web import export_web
from kochat.ui.chat import messages, tab

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


@pytest.mark.parametrize("unsure", [False, True])
def test_the_line_stands_under_the_reply_in_the_language_of_the_page(home, model, tokenizer, unsure):
    card = Card(labels=["0"], max_length=64, familiarity={"questions": 20, "threshold": 0.01})
    checkpoint.save(home / "checkpoints" / "any", model, tokenizer, card)
    for language in ("ko", "en"):
        for question, is_there in (("죽고 싶어", True), ("죽 먹고 싶어", False)):
            *_, history = tab.reply_to([messages.message("user", question)], "0", 0.0, "any", language, unsure)
            shown = history[-1]["content"][0]["text"]
            assert shown.endswith(f'<strong class="turn-to">{TURN_TO[language]}</strong>') == is_there
            assert "109" not in messages.text_of(history[-1])


@pytest.mark.parametrize("unsure", [False, True])
def test_an_exported_page_has_the_line_for_the_same_questions(browser, tmp_path, model, tokenizer, unsure):
    card = Card(labels=["0"], max_length=64, familiarity={"questions": 20, "threshold": 0.01}, unsure=unsure)
    folder = checkpoint.save(tmp_path / "any", model, tokenizer, card)
    page = open_offline(browser, export_web(folder, tmp_path / "any.html"), width=360)
    asked = [*SEEN, *OTHERS, *read_pairs("everyday")["Q"].unique()]
    seen = page.evaluate("(asked) => asked.map((question) => SPEAKS_OF_SUICIDE.test(question))", asked)
    assert seen == list(map(speaks_of_suicide, asked))
    for question in ("죽 먹고 싶어", "죽고 싶어"):
        page.locator("#question").fill(question)
        page.locator("#question").press("Enter")
        expect(page.locator("#send")).to_be_enabled()
    line = TURN_TO["ko"]
    expect(page.locator(".turn-to")).to_have_text(line)
    expect(page.locator("#spoken")).to_contain_text(line)
    page.get_by_role("button", name="English").click()
    expect(page.locator(".turn.bot").last.locator(".turn-to")).to_have_text(TURN_TO["en"])
    assert page.errors == []
    page.context.close()
