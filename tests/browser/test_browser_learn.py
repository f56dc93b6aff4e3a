"""The learning tab in headless Chromium: all seven steps with their numbers, and what a reload keeps."""

import math
import re

import pytest
from browser_tools import expect, open_tab
from conftest import MINI
from playwright.sync_api import Page

from kochat.inference import chatbot
from kochat.ui.widgets import percent

QUESTION = "12시 땡!"


@pytest.fixture(scope="module")
def mini():
    return chatbot.load(MINI)


def open_learning(page: Page, name: str) -> None:
    """Go to the tab and wait for its steps."""
    open_tab(page, name)
    expect(page.locator("#learn-nav [aria-current]")).to_be_visible()


def predict(page: Page, number: int, prediction: str) -> None:
    """Go to a step, where nothing can be pressed before something is predicted, and predict it."""
    page.locator(f"#learn-nav [data-step='{number}']").click()
    expect(page.locator(f"#learn-{number}-act")).to_be_disabled()
    page.locator(f"#learn-{number}-prediction").get_by_label(prediction, exact=True).check()
    expect(page.locator(f"#learn-{number}-act")).to_be_enabled()


def do(page: Page, number: int) -> str:
    """Press the button of a step and return what a person reads when it is done."""
    page.locator(f"#learn-{number}-act").click()
    expect(page.locator(f"#learn-{number} .verdict")).to_be_visible()
    expect(page.locator(f"#learn-nav [data-step='{number}']")).to_contain_text("✓")
    assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]
    return re.sub(r"\s+", " ", page.locator(f"#learn-{number}").inner_text())


def shares(told: str) -> list[int]:
    """The shares in what is told, in percent."""
    return [int(one) for one in re.findall(r"\((\d+)%\)", told)]


def test_four_steps_show_their_numbers_and_a_reload_keeps_how_far_one_is(visit, mini):
    page = visit()
    open_learning(page, "배우기")
    # 1: a token for each press, and the product of their probabilities.
    steps, act = mini.explain(QUESTION, strength=0), page.locator("#learn-1-act")
    predict(page, 1, "50% 이상")
    for number in range(1, len(steps)):
        act.click()
        expect(page.locator("#learn-1 .chips li")).to_have_count(number)
    expect(page.locator("#learn-1 .verdict")).to_have_count(0)
    told = do(page, 1)
    whole = math.prod(step.probability for step in steps)
    assert f"“{mini.reply(QUESTION, strength=0)}”" in told
    assert f"{len(steps)}개의 확률을 모두 곱한 {percent(whole)}가 답 전체의 확률" in told
    assert page.locator("#learn-1 .bars tbody tr").count() == 5
    # 2: the notebook's loss is larger, what it adds teaches nothing.
    predict(page, 2, "거의 같다")
    told = do(page, 2)
    ours, notebook = (float(re.search(rf"{name}의 손실 .*?÷ \d+ ([\d.]+)", told)[1]) for name in ("kochat", "노트북"))
    assert ours < 10 < 30 < notebook
    assert "기울기: 0." in told
    assert "코사인: 1.000" in told
    assert "예상은 ‘거의 같다’, 실제는 ‘3배 넘게 크다’" in told
    # 4: what follows a forced token is less likely than what followed the bot's own.
    predict(page, 4, "원래보다 낮아진다")
    expect(page.locator("#learn-4-choice input")).to_have_count(5)
    told = do(page, 4)
    expect(page.locator("#learn-4 .chips .forced")).to_contain_text("남자친구")
    assert f"원래 답 {mini.reply(QUESTION, strength=0)} {percent(whole)}" in told
    assert "맞혔어요!" in told
    # 7: three rows of six, each other one with its reason; the template; the way on.
    predict(page, 7, "3행")
    told = do(page, 7)
    for one in ("쓸 수 있는 행 3 + 고칠 행 3", "4행 · 답변: 비어 있어요", "6행: 2행과 똑같아요", "맞혔어요! ‘3행’"):
        assert one in told
    with page.expect_download() as download:
        page.locator("#learn-7 a[download]").click()
    assert download.value.path().read_text("utf-8-sig").splitlines()[0] == "Q,A,label"
    page.locator("#learn-to-data").click()
    expect(page.get_by_role("tab", name="데이터", exact=True)).to_have_attribute("aria-selected", "true")
    # What is done, where one is and what was predicted stays in the browser.
    page.reload()
    page.locator("#question textarea").wait_for()
    open_learning(page, "배우기")
    expect(page.locator("#learn-nav button", has_text="✓")).to_have_count(4)
    expect(page.locator("#learn-nav [aria-current]")).to_contain_text("7")
    expect(page.locator("#learn-7-prediction").get_by_label("3행", exact=True)).to_be_checked()
    expect(page.locator("#learn-7 .rows tbody tr")).to_have_count(6)
    page.locator("#learn-back").press("Enter")
    expect(page.locator("#learn-6-act")).to_be_disabled()


def test_three_trainings_on_a_phone(visit):
    page = visit("en-US", width=360)
    open_learning(page, "Learn")
    # 3: the label decides where it was in training, and is right by chance where it was not.
    predict(page, 3, "about one in three")
    told = do(page, 3)
    changed, right, changed_without, right_without = shares(told)
    assert (changed, right) == (100, 100)
    assert 15 < right_without < 55
    assert right_without < changed_without  # replies change, but not as the label says
    assert page.locator("#learn-3 table").count() == 4
    # 5: more labels tell answers apart and are harder to read.
    predict(page, 5, "less often")
    told = do(page, 5)
    own_few, read_few, own_many, read_many = shares(told)
    assert own_few < 50 < own_many
    assert read_many <= 40 < read_few
    assert "You were right: “less often”." in told
    # 6: own answers right, new ones not; the validation loss is lowest before the end.
    predict(page, 6, "fall, then rise again")
    told = do(page, 6)
    rows = [[float(one) for one in row.split()[-2:]] for row in page.locator("#learn-6 tbody tr").all_inner_texts()]
    (first, at_first), (_, best), (last, in_the_end) = rows
    assert last < 0.3 < first
    assert best < in_the_end
    assert best < at_first
    right, asked, new_right, new_asked = map(int, re.search(r"says (\d+) of (\d+) .* (\d+) of (\d+)", told).groups())
    assert right > 0.8 * asked
    assert new_right < 0.3 * new_asked
    expect(page.locator("#overfit-plot svg").first).to_be_visible()
