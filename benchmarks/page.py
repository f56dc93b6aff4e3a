"""The page in Chromium: `python -m benchmarks.page [--against FOLDER]`: how quick a reply is, what it costs idle.

A reply is timed in the browser, from Enter until it is whole, and until the next question can be written. Then a page
is opened, and what it sends while nobody does anything is sent again by many pages at once. With --against, the folder
of another version of this project, both versions take turns. Needs playwright and a Chromium.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import shutil
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import httpx
from gradio_client import Client
from playwright.sync_api import Page, sync_playwright

from .app import PROJECT, App, running_app

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
QUESTION = "12시 땡!"
SETTLING = 10.0  # seconds
TABS = {"chat": 0, "training": 1, "runs": 3}  # by their place
# Looks at every frame, as a person does: whether the reply has its small note, and whether the box takes text.
WATCH = """wanted => new Promise(done => {
  const box = document.querySelector("#question textarea");
  let start = null, whole = null;
  box.addEventListener("keydown", () => { start = performance.now(); }, { once: true, capture: true });
  (function look() {
    const isWhole = start !== null && document.querySelectorAll("#chat .bot .note").length === wanted;
    if (isWhole) whole ??= performance.now();
    if (isWhole && !box.disabled && !box.value) return done([whole - start, performance.now() - start]);
    requestAnimationFrame(look);
  })();
})"""


@contextlib.contextmanager
def chromium():
    """A browser without a window."""
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def opened(browser, url: str) -> Page:
    """The page, as a visitor has it a moment after opening it."""
    page = browser.new_context(locale="ko-KR", viewport={"width": 1200, "height": 850}).new_page()
    page.goto(url)
    page.locator("#question textarea").wait_for()
    return page


def reply(page: Page, number: int) -> tuple[float, float]:
    """Milliseconds from Enter to the whole reply, and to a free box; `number` replies are there then."""
    page.evaluate("([watch, wanted]) => { window.timed = eval(watch)(wanted); }", [WATCH, number])
    page.locator("#question textarea").fill(QUESTION)
    page.locator("#question textarea").press("Enter")
    return tuple(page.evaluate("window.timed"))


def replies(apps: dict[str, App], rounds: int) -> None:
    """Time a reply in each of the apps, which take turns, and print a table."""
    with chromium() as browser:
        pages = {name: opened(browser, app.url) for name, app in apps.items()}
        asked: dict[str, int] = dict.fromkeys(apps, 0)
        for name, page in pages.items():
            page.on("request", lambda _, name=name: asked.update({name: asked[name] + 1}))
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in apps}
        for turn in range(1, rounds + 3):
            if turn == 3:  # the first two warm everything up
                asked.update(dict.fromkeys(asked, 0))
            for name, page in pages.items():
                page.bring_to_front()
                times[name].append(reply(page, turn))
                page.wait_for_timeout(1000)  # for what comes after a reply
    print(
        "\n| a reply | ms to the whole reply | ms to a free box | lowest to highest | requests |\n|---|---|---|---|---|"
    )
    for name, each in times.items():
        whole, free = ([one[i] for one in each[2:]] for i in (0, 1))
        spread = f"{min(free):.0f} to {max(free):.0f}"
        medians = f"{statistics.median(whole):.0f} | {statistics.median(free):.0f}"
        print(f"| {name} | {medians} | {spread} | {asked[name] / rounds:.1f} |")


class Sent(NamedTuple):
    """A request of a page, and when it sent it: seconds since one began to watch it."""

    at: float
    method: str
    path: str
    body: str | None


def recorded(url: str, tab: str, seconds: float) -> list[Sent]:
    """What a page that is open on a tab sends to the server while nobody does anything for so many seconds."""
    sent: list[Sent] = []
    with chromium() as browser:
        page = opened(browser, url)
        page.get_by_role("tab").nth(TABS[tab]).click()
        page.wait_for_timeout(1000 * SETTLING)
        start = time.monotonic()

        def note(request) -> None:
            sent.append(
                Sent(time.monotonic() - start, request.method, request.url.removeprefix(url), request.post_data)
            )

        page.on("request", note)
        page.wait_for_timeout(1000 * seconds)
    return [one for one in sent if one.at < seconds]


async def send(client: httpx.AsyncClient, one: Sent, session: str) -> None:
    """Send a request again, in the name of another session, and read the answer to its end."""
    body = re.sub(r'("session_hash":")\w+', rf"\g<1>{session}", one.body or "")
    headers = {"content-type": "application/json"} if body else {}
    async with client.stream(one.method, one.path, content=body.encode() or None, headers=headers) as answer:
        answer.raise_for_status()
        async for _ in answer.aiter_bytes():
            pass


async def idle_page(client: httpx.AsyncClient, idle: list[Sent], every: float) -> None:
    """A page in which nobody does anything, until it is cancelled; every so many seconds it does the same again."""
    session = f"{random.getrandbits(48):x}"
    async with asyncio.TaskGroup() as requests:
        # Each page keeps one connection open, by which gradio knows that it is there.
        requests.create_task(send(client, Sent(0, "GET", f"/gradio_api/heartbeat/{session}", None), session))
        began = time.monotonic() + random.random() * every
        while True:
            for one in idle:
                await asyncio.sleep(max(0.0, began + one.at - time.monotonic()))
                requests.create_task(send(client, one, session))
            began += every
            await asyncio.sleep(max(0.0, began - time.monotonic()))


async def idle_cost(app: App, pages: int, idle: list[Sent], seconds: float) -> tuple[float, float]:
    """The share of a core that an app takes while so many pages are open, and the median seconds of a reply then."""

    def cpu() -> float:
        times = app.process.cpu_times()
        return times.user + times.system

    # The server closes what was silent for five seconds, which a browser notices in time.
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2)
    async with httpx.AsyncClient(base_url=app.url, timeout=120, limits=limits) as client:
        each = [asyncio.create_task(idle_page(client, idle, seconds)) for _ in range(pages)]
        await asyncio.sleep(seconds + SETTLING)  # by then each of them has begun
        before, start = cpu(), time.monotonic()
        await asyncio.sleep(seconds)
        share = (cpu() - before) / (time.monotonic() - start)
        other = await asyncio.to_thread(Client, app.url, verbose=False)
        took = [await asyncio.to_thread(api_reply, other) for _ in range(3)]
        for task in each:
            if task.done():
                task.result()  # raises: a page that is gone costs nothing
            task.cancel()
        await asyncio.gather(*each, return_exceptions=True)
    return share, statistics.median(took)


def api_reply(client: Client) -> float:
    """Seconds of a call of /reply."""
    start = time.monotonic()
    client.predict("안녕", api_name="/reply")
    return time.monotonic() - start


def write_runs(home: Path, number: int) -> None:
    """So many runs that are over, 130 steps in 10 epochs each, at `home`."""
    settings = {"data": "emotions", "base": str(PROJECT / "checkpoints" / "kochat-mini"), "epochs": 10}
    for i in range(number):
        folder, at = home / "runs" / f"run-{i:03}", time.time() - 86_400 + 60 * i
        folder.mkdir(parents=True)
        output = str(home / "checkpoints" / folder.name)
        (folder / "config.json").write_text(json.dumps({**settings, "output": output}))
        events: list[dict] = [{"type": "queued", "at": at, "pairs": 400, "finish": False}]
        events += [{"type": "launched", "pid": 1, "created": 0.0, "at": at}]
        facts = {"pairs": 360, "validation_pairs": 40, "cut": 0, "data_sha256": "0" * 64}
        events += [{"type": "started", "steps": 130, "epochs": 10, "at_step": 0, **facts}]
        for step in range(1, 131):
            loss = {"loss": 3 - step / 100, "seconds": step / 2}
            events += [{"type": "step", "step": step, "steps": 130, **loss}]
            if step % 13 == 0:
                figures = {"validation_loss": 3 - step / 120, "perplexity": 9.5, "tokens_per_second": 800.0}
                events += [{"type": "epoch", "epoch": step // 13, "epochs": 10, "samples": [], **loss, **figures}]
        events += [{"type": "finished", "checkpoint": folder.name, "epoch": 10, "seconds": 65.0}]
        (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="the folder of another version")
    parser.add_argument("--rounds", type=int, default=10, help="replies of each version; 0 for none")
    parser.add_argument("--pages", type=int, default=50, help="open at once; 0 for none")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--tab", choices=TABS, default="runs", help="which tab is open")
    parser.add_argument("--seconds", type=float, default=60, help="of which the cost is measured")
    chosen = parser.parse_args()
    versions = {"this version": PROJECT} | ({"the other": chosen.against.resolve()} if chosen.against else {})
    if chosen.rounds:
        with contextlib.ExitStack() as stack:
            apps = {name: stack.enter_context(running_app(folder)) for name, folder in versions.items()}
            replies(apps, chosen.rounds)
    if chosen.pages:
        print(
            f"\n| {chosen.pages} pages, {chosen.runs} runs, tab “{chosen.tab}” | requests a page and minute | "
            "per cent of a core | s of a reply |\n|---|---|---|---|"
        )
        for name, folder in versions.items():
            with running_app(folder, lambda home: write_runs(home, chosen.runs)) as app:
                api_reply(Client(app.url, verbose=False))  # its chatbot is loaded then
                idle = recorded(app.url, chosen.tab, chosen.seconds)
                share, took = asyncio.run(idle_cost(app, chosen.pages, idle, chosen.seconds))
            a_minute = len(idle) * 60 / chosen.seconds
            print(f"| {name} | {a_minute:.1f} | {100 * share:.1f} | {took:.2f} |", flush=True)


if __name__ == "__main__":
    main()
