"""How the page looks in headless Chromium: what overlaps, what is cut, what makes a phone scroll sideways."""

import re

from browser_tools import open_tab, open_training
from playwright.sync_api import Locator, expect

from kochat.runs.journal import Record
from kochat.ui import progress

EPOCH = {"epoch": 1, "samples": [{"question": "안녕", "label": "0", "reply": "네"}]}


def middle(of: Locator) -> float:
    """Where the middle of something is, from the top of the page."""
    place = of.bounding_box()
    return place["y"] + place["height"] / 2


def test_a_card_on_a_phone_scrolls_its_table_sideways_and_breaks_no_word(visit):
    page = visit(width=390)
    open_tab(page, "챗봇")
    page.locator("#card-part button.label-wrap").click()
    cells = page.locator("#card tbody td")
    expect(cells.first).to_be_visible()
    # One line each, and headings of whole words.
    assert max(cells.evaluate_all("all => all.map(e => e.getBoundingClientRect().height)")) < 45
    assert max(page.locator("#card th").evaluate_all("all => all.map(e => e.clientHeight)")) < 170
    table = page.locator("#card table")
    assert table.evaluate("e => e.scrollWidth > e.clientWidth && e.getBoundingClientRect().right <= innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    # Code is text, not chips, and the button that copies it stands on none of it.
    names = page.locator("#card pre .token")
    assert set(names.evaluate_all("all => all.map(e => getComputedStyle(e).display)")) == {"inline"}
    button, code = (page.locator(f"#card .code_wrap {one}").first.bounding_box() for one in ("button", "code"))
    assert button["y"] + button["height"] <= code["y"] + 2


def test_the_chips_of_what_is_chosen_are_one_line(visit):
    for width in (390, 1280):
        page = visit(width=width)
        open_tab(page, "비교")
        chip = page.locator("#compare-labels .token").first
        expect(chip).to_be_visible()
        assert abs(middle(chip.locator("span").first) - middle(chip.locator(".token-remove"))) < 4


def test_a_pair_on_a_phone_shows_that_there_is_more_and_its_fields_are_whole(visit):
    page = visit(width=390)
    open_training(page)
    page.locator("#pair button.label-wrap").click()
    expect(page.locator("#pair-table tbody tr").first).to_be_visible()
    # A column is half in view, and the edge has a shadow.
    table = page.locator("#pair-table .rows")
    edge = table.bounding_box()["x"] + table.bounding_box()["width"]
    columns = [column.bounding_box() for column in page.locator("#pair-table th").all()]
    assert any(column["x"] + 10 < edge < column["x"] + column["width"] for column in columns)
    assert "gradient" in table.evaluate("e => getComputedStyle(e).backgroundImage")
    name, arrow = page.locator("#pair-checkpoint input"), page.locator("#pair-checkpoint .icon-wrap")
    assert name.evaluate("e => e.scrollWidth <= e.clientWidth")
    inner = name.evaluate("e => e.getBoundingClientRect().right - parseFloat(getComputedStyle(e).paddingRight)")
    assert inner <= arrow.bounding_box()["x"] + 2


def test_the_answers_of_each_epoch_have_grey_lines(visit):
    page = visit()
    open_training(page)
    page.locator("#pair button.label-wrap").click()
    place = page.locator("#pair-table .prose")
    place.evaluate("(e, html) => e.innerHTML = html", progress.samples_html("ko", Record(epochs={1: EPOCH})))
    lines = "e => [...e.querySelectorAll('table, thead, tr, th, td')].flatMap(one => ['Top', 'Right', 'Bottom', 'Left']"
    lines += ".filter(side => getComputedStyle(one)[`border${side}Width`] !== '0px')"
    lines += ".map(side => getComputedStyle(one)[`border${side}Color`]))"
    assert len(set(place.evaluate(lines))) == 1


def test_the_first_message_is_possible_without_scrolling_at_every_width(visit):
    for width in (360, 390, 768, 1280):
        page = visit(width=width)
        assert page.evaluate("gradio_config.dependencies.constructor.name") == "Events"  # see gradio_patches
        expect(page.locator("#question")).to_be_in_viewport(ratio=1)
        expect(page.locator("#label")).to_be_in_viewport(ratio=1)
        assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [
            width,
            850,
        ]
        if width < 1100:
            page.locator("#drawer-button").click()
            expect(page.locator("#checkpoint")).to_be_in_viewport(ratio=1)
            page.keyboard.press("Escape")
            expect(page.locator("#drawer")).to_be_hidden()
            expect(page.locator("#drawer-button")).to_have_attribute("aria-expanded", "false")


def test_a_place_for_a_file_is_called_what_stands_on_it(visit):
    for locale, name, words in (("ko-KR", "데이터", "클릭"), ("en-US", "Data", "Upload")):
        page = visit(locale=locale)
        open_tab(page, name)
        place = page.locator(".upload-container:visible").first
        expect(place).to_be_visible()
        expect(place).not_to_have_attribute("aria-label", re.compile("."))
        assert words in place.inner_text()


def test_what_is_chosen_keeps_its_mark_under_the_pointer_and_finds_an_answer_that_was_written(visit):
    page = visit(width=1280)
    looked_up = page.locator("#choosing label").nth(1)
    looked_up.click()
    page.locator("#question textarea").fill("월요일이 싫어")
    looked_up.hover()
    # White on blue: gradio makes the circle white under the pointer, too.
    expect(looked_up.locator("input")).to_have_css("background-color", "rgb(37, 99, 235)")
    page.locator("#question textarea").press("Enter")
    expect(page.locator("[data-testid=bot]").last).to_contain_text("찾아서 고름", timeout=60_000)
