"""Talk, correct, retrain, in headless Chromium: what is taught in the chat is what the bot says afterwards."""

import re

import pytest
from browser_tools import REPLY, TRAINING, ask, box, choose, open_drawer
from conftest import MINI
from playwright.sync_api import Page, expect

from kochat.data import taught
from kochat.inference import chatbot
from kochat.labels import NAMES
from kochat.model import checkpoint

TAUGHT = [
    ("너 이름이 뭐야?", "저는 코챗이라고 해요."),
    ("우리 동아리 언제 모여?", "매주 수요일 저녁 여섯 시에 학생회관에서 모여요."),
    ("배송 언제 와?", "주문하신 다음 날 출발해서 이틀 안에 도착해요."),
    ("남자친구랑 싸웠어", "먼저 미안하다고 해 보면 어떨까요?"),
    ("오늘 뭐 먹지?", "김치찌개에 계란말이 어때요?"),
]


@pytest.fixture(autouse=True)
def _nothing_taught(app):
    taught.path_of(app.home / "datasets").unlink(missing_ok=True)


def thumb(page: Page, name: str, last: int = 0):
    """A thumb under the last reply, or the `last`th before it."""
    return page.locator("#chat").get_by_role("button", name=name, exact=True).nth(-1 - last)


def correct(page: Page, question: str, answer: str) -> None:
    ask(page, question)
    page.locator("#chat .extra-feedback-option").last.click()
    expect(box(page, "#better")).to_have_value(re.compile("."))  # what the bot said, to change
    box(page, "#better").fill(answer)
    page.locator("#teach").click()
    expect(page.locator("#teach-form")).to_be_hidden()


def says(page: Page, text: str) -> None:
    expect(page.locator("#taught-summary")).to_contain_text(text)


def test_a_thumb_that_could_not_be_kept_does_not_stay_filled(visit, app):
    page = visit()
    ask(page, "심심해")
    in_the_way = app.home / "datasets"
    in_the_way.touch()
    thumb(page, "좋아요").click()
    expect(page.locator(".toast-body")).to_be_visible()
    expect(thumb(page, "좋아요")).to_be_visible()
    in_the_way.unlink()
    thumb(page, "좋아요").click()
    expect(thumb(page, "Liked")).to_be_visible()
    says(page, "가르친 답을 모두 알아요")
    thumb(page, "Liked").click()
    says(page, "가르칠 수 있어요")


@pytest.fixture(scope="module")
def answered_wrongly():
    """A pair that kochat-mini was trained on and answers otherwise."""
    bot = chatbot.load(MINI)
    known = checkpoint.read_pairs(MINI, "kochat-mini")
    return next(pair for pair in known if bot.reply(pair[0], pair[2]) != pair[1])


@pytest.mark.parametrize(("locale", "width", "button"), [("ko-KR", 390, "지금 배우기"), ("en-US", 1280, "Learn now")])
def test_what_the_bot_answers_wrongly_counts_and_the_button_is_in_sight(visit, answered_wrongly, locale, width, button):
    page = visit(locale, width)
    question, answer, label = answered_wrongly
    choose(page, "#label", NAMES[locale[:2]][label])
    correct(page, question, answer)
    learn = page.locator("#learn")
    expect(learn).to_have_text(f"{button} (1)")
    expect(learn).to_be_in_viewport(ratio=1)
    # A reply that is liked is one that it knows.
    ask(page, "심심해")
    page.locator("#chat").get_by_role("button", name="좋아요" if width == 390 else "Like", exact=True).last.click()
    expect(page.locator("#taught-summary")).to_contain_text("답이 1개" if width == 390 else "1 of the answers")
    expect(learn).to_have_text(f"{button} (1)")
    if width == 390:
        open_drawer(page)
    page.locator("#taught-list").get_by_role("button").first.click()
    for left in (
        "답이 1개" if width == 390 else "1 of the answers",
        "엄지 표시" if width == 390 else "with the thumbs",
    ):
        page.locator("#undo-taught").click()
        says(page, left)
    expect(learn).to_be_hidden()


def test_five_answers_are_taught_learned_and_said_word_for_word(visit):
    page = visit()
    choose(page, "#label", "일상다반사")
    says(page, "가르칠 수 있어요")
    for done, (question, answer) in enumerate(TAUGHT, start=1):
        correct(page, question, answer)
        says(page, f"아직 배우지 않은 답이 {done}개")
    page.locator("#learn").click()
    expect(page.locator("#learning [role=progressbar]")).to_be_visible()
    expect(page.locator("#learning-plot g.hover_marks > path").first).to_be_attached(timeout=60_000)
    expect(page.locator("#learning-plot")).to_be_in_viewport(ratio=0.9)
    expect(page.locator("#checkpoint input")).to_have_value("배운-챗봇-1", timeout=TRAINING)
    says(page, "이 챗봇은 가르친 답을 모두 알아요")
    expect(page.locator("#learn")).to_be_hidden()
    assert ask(page, TAUGHT[0][0]) == TAUGHT[0][1]
    expect(page.locator("#learning-plot")).to_be_hidden()  # it made room for the conversation
    for question, answer in TAUGHT[1:]:
        assert ask(page, question) == answer
    expect(page.locator(f"{REPLY} .note").last).to_contain_text("· 배운-챗봇-1")
    # The bot that it came from has not learned it.
    choose(page, "#checkpoint", "kochat-mini")
    says(page, "아직 배우지 않은 답이 5개")


def test_thumbs_are_kept_taken_back_and_undone(visit):
    page = visit()
    before = "아직 배우지 않은 답이 1개"
    correct(page, "안녕", "어서 와요!")
    says(page, before)
    reply = ask(page, "심심해")
    thumb(page, "좋아요").click()
    page.locator("#taught-list").get_by_role("button").first.click()
    newest = page.locator("#taught-list").get_by_role("row").nth(1)  # below the head
    expect(newest).to_contain_text(reply)
    expect(newest).to_contain_text("좋아요")
    thumb(page, "Liked").click()  # taken back
    expect(newest).to_contain_text("어서 와요!")
    says(page, before)
    thumb(page, "싫어요").click()
    expect(newest).to_contain_text("고쳐 주세요")
    expect(page.locator("#teach-form")).to_be_visible()
    box(page, "#better").fill("저랑 끝말잇기 해요!")
    page.locator("#teach").click()
    expect(newest).to_contain_text("저랑 끝말잇기 해요!")
    expect(newest).to_contain_text(reply)  # what it replaces
    page.locator("#undo-taught").click()
    expect(newest).to_contain_text("고쳐 주세요")
    newest.get_by_text("심심해").click()
    page.locator("#forget").click()
    says(page, before)


@pytest.mark.parametrize("answer", ["", "   "])
def test_an_empty_correction_is_refused_with_a_sentence(visit, answer):
    page = visit()
    ask(page, "안녕")
    page.locator("#chat .extra-feedback-option").last.click()
    expect(box(page, "#better")).to_have_value(re.compile("."))
    box(page, "#better").fill(answer)
    page.locator("#teach").click()
    expect(page.locator(".toast-body")).to_be_visible()
    expect(page.locator("#teach-form")).to_be_visible()
