"""Many visitors: `python -m benchmarks.visitors [--train]`.

Each does what a page does: it keeps its connections open, sends a message every few seconds with the conversation so
far, and asks what the page asks after a reply. Prints how long full replies took, first with no training beside, with
--train also with one.
"""

import argparse
import asyncio
import itertools
import json
import random
import time
import uuid
from typing import NamedTuple

import httpx
from gradio_client import Client

from .app import running_app
from .timing import percentile

QUESTIONS = ("안녕", "오늘 날씨는 어때?", "보고 싶어", "12시 땡!", "심심해", "고마워", "여행 가고 싶어", "잠이 안 와")


class Box(NamedTuple):
    """The question box of a running page."""

    url: str
    event: int
    choices: list  # what goes along with question and conversation: label, strength, … as the page has them at first
    then: list[tuple[int, list]]  # what the page asks after a reply: events, and their inputs, … for the conversation


def question_box(url: str) -> Box:
    """The page's first event is the question box; it has no name for other programs."""
    config = httpx.get(f"{url}/config").json()
    event = next(one for one in config["dependencies"] if one["backend_fn"] and one["targets"][0][1] == "submit")
    values = {one["id"]: one["props"].get("value") for one in config["components"]}
    _, conversation, *others = event["inputs"]
    after = [one for one in config["dependencies"] if one["trigger_after"] == event["id"] and one["backend_fn"]]
    then = [one for one in after if not one["trigger_only_on_failure"]]
    inputs = [[... if i == conversation else values[i] for i in one["inputs"]] for one in then]
    return Box(
        url, event["id"], [values[i] for i in others], [(one["id"], own) for one, own in zip(then, inputs, strict=True)]
    )


class Page:
    """What one browser has: its session, and the conversation."""

    def __init__(self, client: httpx.AsyncClient, box: Box):
        self.client, self.box, self.session = client, box, uuid.uuid4().hex
        self.conversation: list = []

    async def ask(self, question: str) -> float:
        """Seconds from sending a question until its reply is complete."""
        start, url = time.perf_counter(), self.box.url
        data = [question, self.conversation, *self.box.choices]
        body = {"data": data, "fn_index": self.box.event, "session_hash": self.session}
        (await self.client.post(f"{url}/gradio_api/queue/join", json=body)).raise_for_status()
        address, own = f"{url}/gradio_api/queue/data", {"session_hash": self.session}
        async with self.client.stream("GET", address, params=own) as stream:
            async for line in stream.aiter_lines():
                told = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if told.get("msg") == "process_completed":
                    if not told["success"]:
                        raise RuntimeError(told)
                    self.conversation = told["output"]["data"][1]
                    return time.perf_counter() - start
        raise RuntimeError("the stream ended before the reply")

    async def go_on(self) -> None:
        """What the page does by itself after a reply."""
        for event, inputs in self.box.then:
            data = [self.conversation if one is ... else one for one in inputs]
            body = {"data": data, "fn_index": event, "session_hash": self.session}
            (await self.client.post(f"{self.box.url}/gradio_api/run/predict", json=body)).raise_for_status()

    async def stay(self) -> None:
        """The connections that a page keeps open: by one gradio knows of it, by the other it hears what is new."""
        heartbeat, seen = f"{self.box.url}/gradio_api/heartbeat/{self.session}", ""
        async with self.client.stream("GET", heartbeat):
            while True:
                answer = await self.client.get(f"{self.box.url}/changes/checkpoints", params={"since": seen})
                seen = answer.raise_for_status().text
                await asyncio.sleep(1)


async def visit(client: httpx.AsyncClient, box: Box, number: int, every: float, until: float) -> list[float]:
    """One visitor: a message every `every` seconds, or at once where the reply took longer."""
    chance, page = random.Random(number), Page(client, box)
    staying = asyncio.create_task(page.stay())
    await asyncio.sleep(chance.random() * every)
    seconds = []
    for question in itertools.cycle(chance.sample(QUESTIONS, len(QUESTIONS))):
        if time.perf_counter() > until:
            break
        seconds.append(await page.ask(question))
        await page.go_on()
        await asyncio.sleep(max(0.0, every - seconds[-1]))
    if not staying.cancel():
        staying.result()  # raises what ended it
    return seconds


async def crowd(box: Box, visitors: int, every: float, duration: float) -> list[float]:
    """The seconds of all replies; any error of any visitor ends the benchmark."""
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        until = time.perf_counter() + duration
        each = [visit(client, box, number, every, until) for number in range(visitors)]
        return [seconds for one in await asyncio.gather(*each) for seconds in one]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between the messages of a visitor")
    parser.add_argument("--duration", type=float, default=120.0, help="seconds")
    parser.add_argument("--train", action="store_true", help="measure beside a training, too")
    chosen = parser.parse_args()
    with running_app() as (url, *_):
        client = Client(url, verbose=False)
        client.predict("안녕", api_name="/reply")
        box = question_box(url)
        print("| visitors | replies | median s | 95 of 100 within s | longest s |\n|---|---|---|---|---|")
        for training in (False, True) if chosen.train else (False,):
            if training:
                client.predict("emotions", "beside", "kochat-mini", 10_000, api_name="/train")
                time.sleep(15)
            seconds = asyncio.run(crowd(box, chosen.visitors, chosen.every, chosen.duration))
            title = f"{chosen.visitors}, a training beside" if training else f"{chosen.visitors}"
            figures = (percentile(seconds, share) for share in (0.5, 0.95, 1.0))
            print(f"| {title} | {len(seconds)} | " + " | ".join(f"{one:.3f}" for one in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
