"""The exported page: `python -m benchmarks.web [--checkpoint NAME] [--questions N] [--rounds N]`.

Its size; in headless Chromium the time until it can be talked to, to the first token and to the whole reply, with the
processor as it is and slowed four times; and how many of its replies are those of Python with the same 8-bit weights,
and with the full ones. One thread of torch.
"""

import argparse
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from playwright.sync_api import Page, sync_playwright

from kochat.config import DEFAULT_CHECKPOINT
from kochat.inference.chatbot import Chatbot
from kochat.labels import AUTO
from kochat.model import checkpoint as checkpoints
from kochat.model.gpt2 import quiet
from kochat.sharing.int8 import dequantised
from kochat.sharing.web import export_web

BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
SLOWDOWNS = (1, 4)
AT_ONCE = 100  # replies asked of the page in one call
READY = "() => ready.then(() => performance.now())"
TIMED = """async (question) => {
  const bot = await ready;
  const start = performance.now();
  const reply = bot.stream(bot.read(question));
  reply.next();
  const first = performance.now() - start;
  for (const piece of reply);
  return [first, performance.now() - start];
}"""
REPLIES = "(asked) => ready.then((bot) => asked.map(([q, label, strength]) => bot.reply(q, label, strength)))"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default=str(DEFAULT_CHECKPOINT))
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=50)
    chosen = parser.parse_args()
    quiet()
    torch.set_num_threads(1)
    full, rounded = checkpoints.load(chosen.checkpoint), checkpoints.load(chosen.checkpoint)
    rounded.weights = dequantised(rounded.weights)
    known = [question for question, _, _ in (*full.validation, *full.pairs)]
    questions = list(dict.fromkeys(known))[: chosen.questions]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = export_web(chosen.checkpoint, Path(folder) / "bot.html")
        print(f"size: {page_file.stat().st_size / 1e6:.2f} MB")
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for slowdown in SLOWDOWNS:
            page = browser.new_page()
            page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
            print_times(page, page_file.as_uri(), questions, chosen.rounds, slowdown)
            page.close()
        page = browser.new_page()
        page.goto(page_file.as_uri())
        for strength in sorted({0.0, float(full.card.strength)}):
            print_equal(page, questions, strength, Chatbot(rounded), Chatbot(full))
        browser.close()


def print_times(page: Page, url: str, questions: list[str], rounds: int, slowdown: int) -> None:
    """Medians, of as many openings of the page as a few seconds allow, and of `rounds` replies under auto."""
    opened = []
    for _ in range(max(3, rounds // 10)):
        page.goto("about:blank")
        page.goto(url)
        opened.append(page.evaluate(READY))
    asked = random.Random(0).sample(questions, min(rounds, len(questions)))
    times = [page.evaluate(TIMED, question) for question in asked]
    first, whole = (statistics.median(some) for some in zip(*times, strict=True))
    print(
        f"slowed {slowdown} times: ready in {statistics.median(opened):.0f} ms, first token {first:.1f} ms, "
        f"whole reply {whole:.1f} ms (medians; label predicted, the checkpoint's own strength)",
        flush=True,
    )


def print_equal(page: Page, questions: list[str], strength: float, rounded: Chatbot, full: Chatbot) -> None:
    """How many replies are equal, and which are not, with how near the two likeliest tokens were where they part."""
    asked = [(question, label) for question in questions for label in (AUTO, *full.labels)]
    start, found = time.perf_counter(), []
    for i in range(0, len(asked), AT_ONCE):
        found += page.evaluate(REPLIES, [[*one, strength] for one in asked[i : i + AT_ONCE]])
    seconds = time.perf_counter() - start
    print(f"strength {strength:g}: {len(asked)} replies of the page in {seconds:.0f} s")
    for name, bot in (("the same 8-bit weights", rounded), ("the full weights", full)):
        expected = bot.replies(asked, strength)
        differ = [(*one, a, b) for one, a, b in zip(asked, found, expected, strict=True) if a != b]
        print(f"  equal to Python with {name}: {len(asked) - len(differ)} ({1 - len(differ) / len(asked):.2%})")
        for question, label, ours, theirs in differ:
            print(f"    {question} · {label}: {ours!r} for {theirs!r}, {margin(bot, question, label, strength):.2g}")


def margin(bot: Chatbot, question: str, label: str, strength: float) -> float:
    """How much likelier, at the closest of its tokens, the reply's token is than the first of its runners-up."""
    steps = bot.explain(question, label, strength)
    return min(step.probability - step.runners_up[0][1] for step in steps if step.runners_up)


if __name__ == "__main__":
    main()
