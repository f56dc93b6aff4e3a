"""What the browser tests share: Chromium, a visit that tolerates no error, and what one does on the page."""

import contextlib
import shutil
import time
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The first needs half the processor of the others: it is no whole browser.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CUT_OFF = "Connection errored out. "  # of a request that was on its way when the page opened anew
CUT_OFF_WITHIN = -1.0, 5.0  # seconds after that; the browser may report it a moment before
REPLY = "#chat .bot .message-content"
# Milliseconds that a busy machine may need; nobody waits longer than it takes.
PATIENCE = 120_000
TRAINING = 240_000
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    with sync_playwright() as playwright:
        # Fails, rather than skips, where there is no Chromium.
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        running = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield running
        running.close()


@contextlib.contextmanager
def visits(browser, url: str):
    """A function that opens the page for a new visitor of a language and a width.

    No request to another host and no error is tolerated, in the end; that a request is cut off when the page opens
    anew is none.
    """
    contexts, hosts, errors, cut_off, navigated = [], set(), [], [], []

    def requested(request) -> None:
        hosts.add(request.url.split("/")[2])
        if request.is_navigation_request() and request.frame.page.url != "about:blank":  # anew, that is
            navigated.append(time.monotonic())

    def said(message) -> None:
        if _is_error(message) and message.text.endswith(CUT_OFF):
            cut_off.append((time.monotonic(), message.text))
        elif _is_error(message):
            errors.append(message.text)

    def open_page(locale="ko-KR", width=1200, **options) -> Page:
        context = browser.new_context(locale=locale, viewport={"width": width, "height": 850}, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("request", requested)
        page.on("console", said)
        page.on("pageerror", lambda error: errors.append(str(error)) if error.name != "AbortError" else None)
        page.goto(url)
        page.locator("#question textarea").wait_for()
        return page

    try:
        yield open_page
    finally:
        for context in contexts:
            context.close()
    assert hosts == {url.split("/")[2]}
    first, last = CUT_OFF_WITHIN
    errors += [text for at, text in cut_off if not any(first < at - one < last for one in navigated)]
    assert _without_cut_off(errors) == []


def _is_error(message) -> bool:
    """Whether the browser reports one; that a password was wrong is none."""
    return message.type == "error" and "401 (Unauthorized)" not in message.text


def _without_cut_off(errors: list[str]) -> list[str]:
    """The errors less those of requests that were cut off, each of which gradio logs as two where it notices."""
    left = [text for text in errors if not text.startswith("AbortError")]
    cut_off = [text for text in left if text.endswith(CUT_OFF)]
    for text in cut_off[: len(errors) - len(left)]:
        left.remove(text)
    return left


@pytest.fixture
def visit(browser, app):
    """Open the page of the running app, as `visits` says."""
    with visits(browser, app.url) as open_page:
        yield open_page


def open_offline(browser, path: Path, locale="ko-KR", width=1200, hash="", **options) -> Page:
    """An exported page, opened from its file without a network."""
    context = browser.new_context(locale=locale, viewport={"width": width, "height": 740}, offline=True, **options)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.errors = []
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith("file:") else page.errors.append(request.url))
    page.goto(path.as_uri() + hash)
    return page


def ask(page: Page, question: str) -> str:
    """Send a question and return the text of its reply, the small note left out."""
    before = page.locator(f"{REPLY} .note").count()
    page.locator("#question textarea").fill(question)
    page.locator("#question textarea").press("Enter")
    expect(page.locator(f"{REPLY} .note")).to_have_count(before + 1)
    expect(page.locator("#chat .message-buttons-left")).to_have_count(before + 1)  # they come a moment later
    return last_reply(page)


def last_reply(page: Page) -> str:
    """The text of the last reply, the small note left out."""
    shown = page.locator(REPLY).last
    note = shown.locator(".note").inner_text()
    return shown.inner_text().removesuffix(note).strip()


def again(page: Page) -> None:
    """Ask for another reply in the place of the last one."""
    again_button(page).click()


def again_button(page: Page) -> Locator:
    """The button for that below the last reply."""
    below = page.locator("#chat .message-buttons-left").last
    return below.locator("button[aria-label='다시 시도'], button[aria-label=Retry]")


def open_drawer(page: Page) -> None:
    """On a small screen open what stands beside the conversation elsewhere."""
    page.locator("#drawer-button").click()
    expect(page.locator("#drawer")).to_be_visible()


def in_menu(page: Page, element: str) -> None:
    """Press a button of the chat's menu."""
    page.locator("#menu-button").click()
    page.locator(element).click()


def choose(page: Page, element: str, option: str) -> None:
    """Choose an option of a dropdown."""
    page.locator(f"{element} input").click()
    page.locator(element).get_by_role("option", name=option, exact=True).click()


def box(page: Page, element: str) -> Locator:
    """What one types into, of a text box."""
    return page.locator(f"{element} input, {element} textarea")


def open_tab(page: Page, name: str) -> None:
    """Go to a tab, also where a phone has it in a menu."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if tab.is_visible():
        tab.click()
    else:
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text=name).click()


def open_training(page: Page) -> None:
    """Go to the training tab."""
    page.get_by_role("tab").nth(1).click()
    expect(box(page, "#name")).not_to_have_value("")


def upload(page: Page, element: str, path: Path) -> None:
    """Give a file to a place for one."""
    page.locator(f"{element} input[type=file]").set_input_files(path)
