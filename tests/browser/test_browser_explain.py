"""Why this reply, how training sees a pair, and the sign for strange questions, in headless Chromium."""

import re
import shutil
from dataclasses import replace

import pytest
from browser_tools import REPLY, ask, choose, in_menu, open_training
from conftest import MINI
from playwright.sync_api import expect

from kochat.model import checkpoint

STEPS = "#explanation .steps"
STRANGE = "SELECT * FROM ${users} {{x}}; <b>"


@pytest.fixture(scope="module", autouse=True)
def uncalibrated(app):
    """A copy of kochat-mini that does not know what is unfamiliar to it."""
    folder = app.home / "checkpoints" / "uncalibrated"
    shutil.copytree(MINI, folder)
    checkpoint.write_card(folder, "uncalibrated", replace(checkpoint.read_card(folder), familiarity={}))


def open_why(page):
    """Open the panel, and wait until it is filled: what it showed before stands there until then."""
    page.evaluate("document.querySelectorAll('#explanation .steps').forEach(one => one.classList.add('before'))")
    page.locator("#why button.label-wrap").click()
    page.locator(f"{STEPS}:not(.before) .step").first.wait_for()


def text_of(steps) -> str:
    """The reply that the chips of a block make."""
    tokens = steps.locator(".step > span").all_inner_texts()
    return "".join(tokens).removesuffix("</s>").replace("▁", " ").strip()


def test_a_reply_is_taken_apart_and_goes_on_from_a_runner_up(visit):
    page = visit()
    page.locator("#strength input[type=range]").fill("0")  # with a strength a token may have no plausible rival
    first, second = ask(page, "안녕"), ask(page, "12시 땡!")
    expect(page.locator(STEPS)).to_have_count(0)  # nothing is computed before it is opened
    open_why(page)
    original = page.locator(STEPS).first
    assert text_of(original) == second
    # A token opens its runners-up, by mouse and by keyboard, and closes them again.
    step, others = original.locator(".step").nth(1), original.locator("[data-others='1']")
    expect(step).to_have_attribute("aria-label", re.compile(r"확률 \d+%, 여기까지 \d"))
    expect(others).to_be_hidden()
    step.click()
    expect(others).to_be_visible()
    expect(step).to_have_attribute("aria-expanded", "true")
    step.press("Enter")
    expect(others).to_be_hidden()
    original.locator(".step").nth(2).focus()
    page.keyboard.press("Enter")
    chosen = original.locator("[data-others='2'] .other").first
    wanted = chosen.inner_text().split(" ")[0]
    chosen.click()
    expect(page.locator(STEPS)).to_have_count(2)
    other = page.locator(STEPS).nth(1)
    expect(other.locator(".forced > span")).to_have_text(wanted)
    expect(original.locator("[data-others='2'] .other[aria-current]")).to_contain_text(wanted)  # and beside it the rest
    assert other.locator(".step > span").all_inner_texts()[:2] == original.locator(".step > span").all_inner_texts()[:2]
    assert text_of(other) != second
    # Three labels side by side; the one that was used is marked, with its reply.
    expect(page.locator("#explanation .labels tbody tr")).to_have_count(3)
    expect(page.locator("#explanation .chosen td").last).to_have_text(second)
    # Another reply is clicked while the panel is open; the next reply comes into it by itself.
    page.locator(REPLY).first.click()
    expect(page.locator("#explanation")).to_contain_text("“안녕”")
    assert text_of(page.locator(STEPS).first) == first
    ask(page, "심심해")
    expect(page.locator("#explanation")).to_contain_text("“심심해”")
    # Closed and opened again it still listens.
    page.locator("#why button.label-wrap").click()
    expect(page.locator("#explanation")).to_be_hidden()
    page.locator(REPLY).first.click()  # asks for nothing while the panel is closed
    open_why(page)
    expect(page.locator("#explanation")).to_contain_text("“심심해”")
    page.locator(STEPS).first.locator(".step").first.click()
    expect(page.locator("[data-others='0']").first).to_be_visible()
    # It goes with the reply that it is about.
    in_menu(page, "#undo")
    expect(page.locator("#explanation")).to_contain_text("“12시 땡!”")
    in_menu(page, "#clear")
    expect(page.locator("#explanation")).to_have_text("아직 끝까지 나온 답이 없어요. 먼저 말을 걸어 보세요.")


def test_without_a_reply_there_is_a_hint_and_a_reload_keeps_what_can_be_explained(visit):
    page = visit("en-US")
    page.locator("#why button.label-wrap").click()
    expect(page.locator("#explanation")).to_contain_text("There is no whole reply yet")
    said = ask(page, "고마워")
    page.reload()
    expect(page.locator(f"{REPLY} .note")).to_have_count(1)
    open_why(page)
    assert text_of(page.locator(STEPS).first) == said


def test_a_strange_question_is_marked_or_declined_and_shown_as_text(visit):
    page = visit()
    expect(page.locator("#unsure")).to_be_visible()
    choose(page, "#checkpoint", "uncalibrated")
    expect(page.locator("#unsure")).to_be_hidden()
    choose(page, "#checkpoint", "kochat-mini")
    expect(page.locator("#unsure")).to_be_visible()
    ask(page, "안녕")
    expect(page.locator(f"{REPLY} .note").last).not_to_contain_text("처음 보는")
    said = ask(page, STRANGE)
    expect(page.locator(f"{REPLY} .note").last).to_contain_text("처음 보는 말투의 질문이라 답이 엉뚱할 수 있어요")
    page.locator("#unsure input").check()
    assert ask(page, STRANGE).startswith("처음 보는 말투의 질문이라 잘 모르겠어요")
    open_why(page)
    expect(page.locator("#explanation")).to_contain_text(f"“{STRANGE}”")
    expect(page.locator("#explanation")).to_contain_text("다시 계산한 답이라")
    assert (text_of(page.locator(STEPS).first) or "…") == said  # which is what stands for an empty reply
    # The choice stays in this browser.
    page.reload()
    page.locator("#question textarea").wait_for()
    expect(page.locator("#unsure input")).to_be_checked()


def test_a_pair_is_seen_as_training_sees_it(visit):
    page = visit("en-US", width=390)
    open_training(page)
    page.locator("#pair button.label-wrap").click()
    rows = page.locator("#pair-table tbody tr")
    expect(rows.first).to_contain_text("<usr>")
    expect(page.locator("#pair-table")).to_contain_text("answer tokens cost")
    before = page.locator("#pair-table p").last.inner_text()
    choose(page, "#pair-label", "Love, positive")
    expect(page.locator("#pair-table p").last).not_to_have_text(before)
    page.locator("#pair-question textarea, #pair-question input").first.fill(STRANGE + "🦜")
    page.locator("#pair-answer textarea, #pair-answer input").first.fill("가나다 " * 200)
    page.locator("#pair-look").click()
    expect(page.locator("#pair-table")).to_contain_text("🦜 1/4")
    expect(page.locator("#pair-table del").first).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    # An empty question is refused with a sentence; the table stays.
    page.locator("#pair-question textarea, #pair-question input").first.fill(" ")
    page.locator("#pair-look").click()
    expect(page.get_by_text("The question is empty")).to_be_visible()
