"""A busy quarter of an hour: `python -m benchmarks.soak`.

A hundred visitors, each from an address of their own, do what a page does: they ask, teach with a thumb, leave in the
middle of a reply and come again. Meanwhile the owner trains; the training is killed and resumed, later the app is
killed and started anew. Prints how long replies took, what visitors were told beside replies, how the memory of the
app grew, and whether every row that somebody was told is kept is on the disk. Exits with 1 where one is not, or where
a visitor was told anything but a limit while the app was there.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import httpx
import psutil

from kochat.data import taught
from kochat.data.datasets import Dataset
from kochat.runs import queue, registry
from kochat.ui.auth import VISITOR

from .app import PROJECT, free_port, wait_for
from .timing import percentile
from .visitors import QUESTIONS, Box, question_box

PASSWORD = "soak"
LIMITS = ("Too many", "too many", "busy", "Wait", "full")  # of the sentences that a visitor may be told
LEAVES, TEACHES = 0.05, 0.2  # shares of the questions


class Soak:
    """What happened so far."""

    def __init__(self, home: Path, url: str):
        self.home, self.url = home, url
        self.process: subprocess.Popen | None = None
        self.seconds: list[float] = []
        self.told: collections.Counter[str] = collections.Counter()
        self.kept: set[tuple[str, str]] = set()  # visitor, question
        self.memory: list[tuple[float, float]] = []  # seconds since the start, MB
        self.is_away, self.begin = False, time.monotonic()

    def start(self) -> None:
        """Start the app, and wait until its page answers."""
        environment = os.environ | {
            "KOCHAT_HOME": str(self.home),
            "KOCHAT_NO_BROWSER": "1",
            "KOCHAT_PASSWORD": PASSWORD,
        }
        environment["GRADIO_SERVER_PORT"] = self.url.rpartition(":")[2]
        with (self.home / "app.log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "app.py"], cwd=PROJECT, env=environment, stderr=log)
        wait_for(self.url, self.process)

    def at(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.begin


class Visitor:
    """One browser: its cookie and address stay, its page may be opened anew."""

    def __init__(self, soak: Soak, client: httpx.AsyncClient, box: Box, rate: int, number: int):
        self.soak, self.client, self.box, self.rate = soak, client, box, rate
        self.chance, self.name = random.Random(number), f"visitor {number}"
        self.headers = {
            "x-forwarded-for": f"203.0.{number // 250}.{number % 250 + 1}",
            "cookie": f"{VISITOR}={self.name}",
        }
        self.open()

    def open(self) -> None:
        """Open the page anew."""
        self.session, self.conversation = uuid.uuid4().hex, []

    async def event(self, index: int, data: list, event_data: dict | None = None, leave: float | None = None) -> list:
        """What an event of the page gives. Raises RuntimeError with what the page would show."""
        body = {"data": data, "fn_index": index, "session_hash": self.session, "event_data": event_data}
        joined = await self.client.post(f"{self.soak.url}/gradio_api/queue/join", json=body, headers=self.headers)
        if joined.status_code != 200:
            raise RuntimeError(joined.json().get("detail"))
        own, begin = {"session_hash": self.session}, time.monotonic()
        address = f"{self.soak.url}/gradio_api/queue/data"
        async with self.client.stream("GET", address, params=own, headers=self.headers) as stream:
            async for line in stream.aiter_lines():
                if leave is not None and time.monotonic() - begin > leave:
                    raise asyncio.CancelledError
                told = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if told.get("msg") == "process_completed":
                    if not told["success"]:
                        raise RuntimeError(told["output"].get("error"))
                    return told["output"]["data"]
        raise RuntimeError("the stream ended")

    async def ask(self) -> None:
        """Ask something, and now and then like the reply or leave before it is whole."""
        question, begin = f"{self.chance.choice(QUESTIONS)} {self.chance.randrange(1000)}", time.monotonic()
        if self.chance.random() < LEAVES:
            with contextlib.suppress(asyncio.CancelledError):
                await self.event(self.box.event, [question, self.conversation, *self.box.choices], leave=0.0)
            self.open()
            return
        self.conversation = (await self.event(self.box.event, [question, self.conversation, *self.box.choices]))[1]
        self.soak.seconds.append(time.monotonic() - begin)
        for index, inputs in self.box.then:
            data = [self.conversation if one is ... else one for one in inputs]
            body = {"data": data, "fn_index": index, "session_hash": self.session}
            address = f"{self.soak.url}/gradio_api/run/predict"
            (await self.client.post(address, json=body, headers=self.headers)).raise_for_status()
        if self.chance.random() < TEACHES:
            liked = {"index": len(self.conversation) - 1, "value": "", "liked": True}
            await self.event(self.rate, [self.conversation, None], event_data=liked)
            self.soak.kept.add((self.name, question))

    async def stay(self, every: float, until: float) -> None:
        """Ask every so many seconds; where the app is away, come again."""
        await asyncio.sleep(self.chance.random() * every)
        while self.soak.at() < until:
            try:
                await self.ask()
            except (RuntimeError, httpx.HTTPError) as error:
                self.soak.told["(while the app was away)" if self.soak.is_away else str(error)] += 1
                self.open()
                await asyncio.sleep(2)
            await asyncio.sleep(self.chance.uniform(0.5, 1.5) * every)


async def owner(soak: Soak, minutes: float) -> None:
    """Train; kill and resume the training; kill the app and start it anew."""
    part = minutes * 60 / 10
    await asyncio.sleep(2 * part)
    async with httpx.AsyncClient() as own:
        (await own.post(f"{soak.url}/owner/login", json={"password": PASSWORD})).raise_for_status()
        data = ["emotions", "beside", "kochat-mini", 100, *[None] * 8]
        joined = (await own.post(f"{soak.url}/gradio_api/call/train", json={"data": data})).raise_for_status()
        print((await own.get(f"{joined.url}/{joined.json()['event_id']}", timeout=60)).text.strip(), flush=True)
    await asyncio.sleep(2 * part)
    run = registry.find("beside")
    print(f"{soak.at():.0f} s: the run is {run.state()} at {run.progress()}; it is killed", flush=True)
    for process in psutil.process_iter(["cmdline", "environ"]):
        is_own = (process.info["environ"] or {}).get("KOCHAT_HOME") == str(soak.home)
        if is_own and "--run" in (process.info["cmdline"] or []):
            process.kill()
    await asyncio.sleep(part / 2)
    print(f"{soak.at():.0f} s: the run is {run.state()}; it is resumed", flush=True)
    queue.resume(run)
    await asyncio.sleep(1.5 * part)
    print(f"{soak.at():.0f} s: the run is {run.state()} at {run.progress()}; the app is killed", flush=True)
    soak.is_away = True
    soak.process.kill()
    soak.process.wait()
    await asyncio.to_thread(soak.start)
    await asyncio.sleep(5)
    soak.is_away = False
    print(f"{soak.at():.0f} s: the app is back, the run is {run.state()} at {run.progress()}", flush=True)


async def watch(soak: Soak, until: float) -> None:
    """Note the memory of the app."""
    while soak.at() < until:
        with contextlib.suppress(psutil.NoSuchProcess):
            soak.memory.append((soak.at(), psutil.Process(soak.process.pid).memory_info().rss / 2**20))
        await asyncio.sleep(5)


async def crowd(soak: Soak, visitors: int, every: float, minutes: float) -> None:
    """All of it at once."""
    config = httpx.get(f"{soak.url}/config").json()
    rate = next(one["id"] for one in config["dependencies"] if one["backend_fn"] and one["targets"][0][1] == "like")
    box, until = question_box(soak.url), minutes * 60
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        everybody = [Visitor(soak, client, box, rate, number) for number in range(visitors)]
        staying = (visitor.stay(every, until) for visitor in everybody)
        await asyncio.gather(owner(soak, minutes), watch(soak, until), *staying)


def lost(soak: Soak) -> set[tuple[str, str]]:
    """The rows that visitors were told are kept, and that are nowhere."""
    from kochat.ui import auth  # as a request's cookie names the folder

    there = set()
    for visitor in {name for name, _ in soak.kept}:
        request = type("Request", (), {"cookies": {VISITOR: visitor}, "session_hash": None})
        path = taught.path_of(auth.visitors() / auth.name_of(request))
        if path.is_file():
            there |= {(visitor, row.Q) for row in Dataset(path).page(0, taught.MAX_ROWS)[0]}
    return soak.kept - there


def main() -> None:
    """Run, print, and say by the exit status whether it held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=100)
    parser.add_argument("--every", type=float, default=20.0, help="seconds between the messages of a visitor")
    parser.add_argument("--minutes", type=float, default=10.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        os.environ["KOCHAT_HOME"] = home
        soak = Soak(Path(home), f"http://127.0.0.1:{free_port()}")
        try:
            soak.start()
            asyncio.run(crowd(soak, chosen.visitors, chosen.every, chosen.minutes))
            gone, run = lost(soak), registry.find("beside")
            print(f"run: {run.state()} at {run.progress()}")
            print((Path(home) / "app.log").read_text()[-2000:])
        finally:
            soak.process.kill()
            for other in psutil.process_iter(["environ"]):
                if (other.info["environ"] or {}).get("KOCHAT_HOME") == home:
                    other.kill()
    p50, p95, longest = (percentile(soak.seconds, share) for share in (0.5, 0.95, 1.0))
    print(f"{len(soak.seconds)} replies: median {p50:.2f} s, 95 of 100 within {p95:.2f} s, longest {longest:.2f} s")
    print("memory of the app: " + ", ".join(f"{at:.0f} s {mb:.0f} MB" for at, mb in soak.memory[::6]))
    print(f"told beside replies: {dict(soak.told)}")
    print(f"{len(soak.kept)} rows kept, {len(gone)} of them lost")
    is_polite = all(text.startswith("(while") or any(one in text for one in LIMITS) for text in soak.told)
    sys.exit(1 if gone or not is_polite else 0)


if __name__ == "__main__":
    main()
