"""Strength and comparison in headless Chromium: another reply under another strength, a table of several."""

import csv
import re
from pathlib import Path

import pytest
from browser_tools import REPLY, again, ask, choose, last_reply
from conftest import MINI
from playwright.sync_api import Page, expect

from kochat.inference import chatbot
from kochat.model import checkpoint
from kochat.model.cards import Card

QUESTIONS = ["안녕", "여행 가고 싶어", "=1+1", "<script>x</script>"]


@pytest.fixture(scope="module")
def plain(app, tokenizer):
    """A second checkpoint, with a label of its own, that learned nothing a strength could strengthen."""
    from kochat.model.gpt2 import make_model

    model = make_model(tokenizer, layers=2, width=8, heads=2, positions=96, seed=0)
    card = Card(labels=["우산장수"], max_length=64, config={"label_dropout": 0})
    return checkpoint.save(app.home / "checkpoints" / "plain", model, tokenizer, card)


def move(page: Page, strength: str) -> None:
    page.locator("#strength input[type=range]").fill(strength)


def test_a_moved_slider_gives_another_reply_and_the_note_says_so(visit, plain):
    page, bot = visit(), chatbot.load(MINI)
    choose(page, "#label", "사랑·긍정")
    move(page, "0")
    assert ask(page, "여행 가고 싶어") == bot.reply("여행 가고 싶어", "2", 0)
    note = page.locator(f"{REPLY} .note").last
    expect(note).to_have_text("사랑·긍정 · kochat-mini")
    move(page, "4.5")
    again(page)
    expect(note).to_have_text("사랑·긍정 · 세기 4.5 · kochat-mini")
    assert last_reply(page) == bot.reply("여행 가고 싶어", "2", 4.5) != bot.reply("여행 가고 싶어", "2", 0)
    # Under automatic it strengthens the label that was read.
    choose(page, "#label", "자동")
    again(page)
    expect(note).to_have_text(re.compile(r"자동 → .+ \d+% · 세기 4.5 · kochat-mini"))
    assert last_reply(page) == bot.reply("여행 가고 싶어", "auto", 4.5)
    # It follows the checkpoint, and is fixed, with a word why, where there is nothing to strengthen.
    choose(page, "#checkpoint", "plain")
    expect(page.locator("#strength input[type=range]")).to_be_disabled()
    expect(page.locator("#strength input[type=range]")).to_have_value("0")
    expect(page.locator("#strength")).to_contain_text("label_dropout 0")
    choose(page, "#checkpoint", "kochat-mini")
    expect(page.locator("#strength input[type=range]")).to_be_enabled()
    expect(page.locator("#strength input[type=range]")).to_have_value(f"{bot.card.strength:g}")


def test_checkpoints_and_labels_are_compared_and_taken_along(visit, plain, tmp_path):
    page, bot = visit(), chatbot.load(MINI)
    page.get_by_role("tab", name="비교", exact=True).click()
    expect(page.locator("#compare-checkpoints")).to_contain_text("kochat-mini")
    (tmp_path / "q.csv").write_bytes(("질문,답변\n" + "".join(f"{q},네\n" for q in QUESTIONS)).encode("cp949"))
    with page.expect_file_chooser() as chooser:
        page.locator("#compare-file").click()
    chooser.value.set_files(tmp_path / "q.csv")
    expect(page.locator("#compare-questions textarea")).to_have_value("\n".join(QUESTIONS))
    for element, option in (("checkpoints", "plain"), ("strengths", "4")):
        choose(page, f"#compare-{element}", option)
        page.keyboard.press("Escape")
    expect(page.locator("#compare-labels")).to_contain_text("우산장수")  # came along with its chatbot
    page.locator("#compare-start").click()
    expect(page.locator("#compare-csv")).to_be_visible()
    expect(page.locator("#compare-start")).to_be_enabled()

    strengths = sorted({bot.card.strength, 4.0}, key=lambda one: one != bot.card.strength)
    told = [bot.reply("여행 가고 싶어", label, one) for label in "012" for one in strengths]
    row = page.locator("#comparison tbody tr").nth(1)
    shown = [re.sub(r"^≠\s*", "", cell).strip() for cell in row.locator("td").all_inner_texts()]
    assert shown[: len(told)] == told
    assert row.locator("td .differs").count() >= sum(reply != told[0] for reply in told)
    expect(page.locator("#comparison thead th").nth(1)).to_contain_text(
        re.compile(r"kochat-mini.+초 · 답 하나에 \d+ms", re.S)
    )
    expect(page.locator("#comparison tbody th").nth(3)).to_have_text("<script>x</script>")
    assert "–" in shown
    with page.expect_download() as download:
        page.locator("#compare-csv").click()
    raw = Path(download.value.path()).read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    table = list(csv.reader(raw.decode("utf-8-sig").splitlines()))
    assert [line[0] for line in table] == ["질문", "안녕", "여행 가고 싶어", "\u200b=1+1", "<script>x</script>"]
    assert table[2][1 : 1 + len(told)] == told


def test_a_comparison_is_stopped_the_chat_goes_on_and_a_phone_shows_it(visit, plain):
    page = visit("en-US", width=390)
    page.locator(".overflow-menu > button").click()
    page.locator(".overflow-dropdown button", has_text="Compare").click()
    expect(page.locator("#compare-checkpoints")).to_contain_text("kochat-mini")
    page.locator("#compare-questions textarea").fill("\n".join(f"오늘 {n}번째 질문이야" for n in range(200)))
    page.locator("#compare-strengths input").click()
    for option in ("2", "4", "6"):  # the list stays open
        page.get_by_role("option", name=option, exact=True).click()
    page.keyboard.press("Escape")
    page.locator("#compare-start").click()
    expect(page.locator("#compare-bar")).to_contain_text("Collecting replies")
    assert ask(visit(), "안녕")
    page.locator("#compare-stop").click()
    expect(page.locator("#compare-csv")).to_be_visible()
    expect(page.locator("#compare-start")).to_be_enabled()
    expect(page.locator("#compare-stop")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("#comparison .rows").evaluate("e => e.scrollWidth > e.clientWidth")
    # At once again, with nothing to ask: a sentence, and the button is ready for the next try.
    page.locator("#compare-questions textarea").fill(" ")
    page.locator("#compare-start").click()
    expect(page.get_by_text("There is no question to ask")).to_be_visible()
    expect(page.locator("#compare-start")).to_be_enabled()
