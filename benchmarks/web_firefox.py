"""The exported page in Firefox: `python -m benchmarks.web_firefox [--questions N] [--rounds N]`.

Firefox without a window is told what to do by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/), which it speaks
itself: no driver is needed. Figures as in `benchmarks.web`, the replies beside Python's, and a conversation that is
kept and deleted.
"""

import argparse
import asyncio
import itertools
import json
import random
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

import torch
import websockets

from benchmarks.web import READY, REPLIES, TIMED
from kochat.config import DEFAULT_CHECKPOINT
from kochat.inference.chatbot import Chatbot
from kochat.labels import AUTO
from kochat.model import checkpoint
from kochat.model.gpt2 import quiet
from kochat.sharing.int8 import dequantised
from kochat.sharing.web import export_web

BROWSERS = ("firefox-esr", "firefox")
TALK = """async (question) => {
  document.getElementById("question").value = question;
  document.getElementById("ask").requestSubmit();
  while (!document.querySelector(".turn.bot > .note")) await new Promise((resume) => setTimeout(resume, 20));
  return document.querySelector(".turn.bot:last-child .said").textContent;
}"""
TURNS = "() => document.querySelectorAll('.turn.user').length"


class Tab:
    """A tab of Firefox over a WebSocket."""

    def __init__(self, socket):
        self.socket, self.numbers, self.context = socket, itertools.count(1), ""

    async def ask(self, method: str, **params) -> dict:
        """The result of a command of WebDriver BiDi."""
        number = next(self.numbers)
        await self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(await self.socket.recv())
            if answer.get("id") == number:
                if answer["type"] == "error":
                    raise RuntimeError(answer["message"])
                return answer["result"]

    async def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        await self.ask("browsingContext.navigate", context=self.context, url=url, wait="complete")

    async def call(self, function: str, *values):
        """What a function of JavaScript returns for values that JSON can hold."""
        code = f"async () => JSON.stringify(await ({function})(...JSON.parse({json.dumps(json.dumps(values))})))"
        target = {"context": self.context}
        found = await self.ask("script.callFunction", functionDeclaration=code, target=target, awaitPromise=True)
        if found["type"] == "exception":
            raise RuntimeError(found["exceptionDetails"]["text"])
        return json.loads(found["result"]["value"])


async def measure(address: str, url: str, bot: Chatbot, questions: list[str], rounds: int) -> None:
    """Print the figures."""
    async with websockets.connect(address, max_size=None) as socket:
        tab = Tab(socket)
        session = await tab.ask("session.new", capabilities={})
        print("Firefox", session["capabilities"]["browserVersion"])
        tab.context = (await tab.ask("browsingContext.getTree"))["contexts"][0]["context"]
        opened = []
        for _ in range(5):
            await tab.open(url)
            opened.append(await tab.call(READY))
        times = [await tab.call(TIMED, question) for question in random.Random(0).sample(questions, rounds)]
        first, whole = (statistics.median(some) for some in zip(*times, strict=True))
        ready = statistics.median(opened)
        print(f"ready in {ready:.0f} ms, first token {first:.1f} ms, whole reply {whole:.1f} ms (medians)")
        asked = [(question, label) for question in questions for label in (AUTO, *bot.labels)]
        for strength in (0.0, 0.5):
            found = await tab.call(REPLIES, [[*one, strength] for one in asked])
            equal = sum(a == b for a, b in zip(found, bot.replies(asked, strength), strict=True))
            print(f"strength {strength:g}: equal to Python with the same 8-bit weights: {equal} of {len(asked)}")
        assert await tab.call(TALK, "안녕") == bot.reply("안녕")
        await asyncio.sleep(0.5)
        await tab.open(url)
        kept = await tab.call(TURNS)
        await tab.call("() => (deleteConversation(), null)")
        await tab.open(url)
        print(f"turns kept for the next visit: {kept}, after the conversation was deleted: {await tab.call(TURNS)}")
        await tab.ask("browser.close")


def main() -> None:
    """Start Firefox with an empty profile and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=50)
    chosen = parser.parse_args()
    quiet()
    torch.set_num_threads(1)
    loaded = checkpoint.load(DEFAULT_CHECKPOINT)
    loaded.weights = dequantised(loaded.weights)
    questions = [question for question, _, _ in loaded.validation][: chosen.questions]
    with tempfile.TemporaryDirectory() as folder:
        page_file = export_web(DEFAULT_CHECKPOINT, Path(folder) / "bot.html")
        path = next(filter(None, map(shutil.which, BROWSERS)))
        command = [path, "--headless", "--no-remote", "--profile", folder, "--remote-debugging-port", "0"]
        firefox = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            line = next(line for line in firefox.stderr if "WebDriver BiDi listening on" in line)
            address = line.split(" on ")[1].strip() + "/session"
            asyncio.run(measure(address, page_file.as_uri(), Chatbot(loaded), questions, chosen.rounds))
        finally:
            firefox.terminate()
            firefox.wait()


if __name__ == "__main__":
    main()
