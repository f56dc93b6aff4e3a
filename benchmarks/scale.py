"""How many people one machine answers: `python -m benchmarks.scale [--checkpoint NAME] [--price 0.5] [--beside 0.01]`.

Times the passes of the decoder by the number of tokens in them, then simulates people whose messages come at random
(a Poisson process) and whose replies are decoded together, as the engine does it: whoever came joins the next pass, a
reply leaves when it is over, at most MAX_ROWS rows at once. No drafts, so real replies are quicker. `--beside` is what
a reply costs beside its decoding, one at a time, in seconds: requests, events of the page. `--pass-ms` takes times of
another machine instead of measuring this one.
"""

import argparse
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import torch

from kochat.inference.chatbot import Chatbot
from kochat.inference.decoder import Decoder, suits_int8
from kochat.inference.engine import MAX_ROWS
from kochat.model import checkpoint

from .timing import percentile

TOKENS = (1, 2, 4, 8, 16, 32, 64, 128)  # of a pass that is timed
ROUNDS = 30
MINUTES = 10  # simulated
LOADS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9)  # shares of the most that is possible


def pass_seconds(bot: Chatbot) -> dict[int, float]:
    """The median seconds of a pass by the tokens in it, a row for each, after as many tokens as a question has."""
    decoder, seconds = Decoder(bot.weights, suits_int8(bot.weights)), {}
    prompt = bot.prompt.encode_prompt("오늘 날씨는 어때?", bot.labels[0])
    for rows in TOKENS:
        for _ in range(rows - len(decoder.lengths)):
            decoder.add()
        decoder.lengths = [0] * rows
        decoder.extend([prompt] * rows, [1] * rows)
        times = []
        for _ in range(ROUNDS):
            decoder.lengths = [len(prompt)] * rows
            start = time.perf_counter()
            decoder.extend([[prompt[-1]]] * rows, [1] * rows)
            times.append(time.perf_counter() - start)
        seconds[rows] = statistics.median(times)
    return seconds


def simulate(
    rate: float,
    seconds: float,
    replies: Sequence[tuple[int, int]],
    rows: int,
    pass_takes: Callable[[int], float],
    beside: float = 0.0,
    seed: int = 0,
) -> list[float]:
    """The seconds from each message to the end of its reply.

    `rate` messages a second come for `seconds`; each is one of `replies` (tokens of the prompt, passes it takes), of
    `rows` rows. `pass_takes` gives the seconds of a pass by its tokens; `beside` are added for each reply that begins.
    """
    chance, now, took = random.Random(seed), 0.0, []
    arrivals, at = deque(), chance.expovariate(rate)
    while at < seconds:
        arrivals.append((at, *chance.choice(replies)))
        at += chance.expovariate(rate)
    active: list[tuple[float, int]] = []  # of each reply: when it was asked for, and the passes it still takes
    while arrivals or active:
        if not active:
            now = max(now, arrivals[0][0])
        tokens = rows * len(active)
        while arrivals and arrivals[0][0] <= now and (len(active) + 1) * rows <= MAX_ROWS:
            asked, prompt, passes = arrivals.popleft()
            active.append((asked, passes))
            tokens += rows * prompt
            now += beside
        now += pass_takes(tokens)
        took += [now - asked for asked, left in active if left == 1]
        active = [(asked, left - 1) for asked, left in active if left > 1]
    return took


def most(replies: Sequence[tuple[int, int]], rows: int, pass_takes: Callable[[int], float], beside: float) -> float:
    """How many replies a second there can be at most: all rows always full."""
    together = MAX_ROWS // rows
    passes = statistics.mean(passes for _, passes in replies)
    prompts = statistics.mean(prompt for prompt, _ in replies)
    # In the time of a reply each place is read into once.
    a_reply = passes * pass_takes(together * rows) / together + (pass_takes(int(rows * prompts)) - pass_takes(rows))
    return 1 / (a_reply + beside)


def main() -> None:
    """Measure, simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="kochat-mini")
    parser.add_argument("--price", type=float, default=0.0, help="of the machine, US dollars an hour")
    parser.add_argument("--beside", type=float, default=0.0, help="seconds of a reply beside its decoding")
    parser.add_argument("--pass-ms", type=float, nargs=len(TOKENS), help=f"for {TOKENS} tokens, of another machine")
    chosen = parser.parse_args()
    torch.set_num_threads(2)
    loaded = checkpoint.load(chosen.checkpoint)
    bot = Chatbot(loaded)
    measured = dict(zip(TOKENS, chosen.pass_ms, strict=True)) if chosen.pass_ms else None
    times = {n: ms / 1000 for n, ms in measured.items()} if measured else pass_seconds(bot)
    print("| tokens in a pass | " + " | ".join(map(str, times)) + " |\n|---" + "|---" * len(times) + "|")
    print("| ms | " + " | ".join(f"{1000 * one:.1f}" for one in times.values()) + " |\n")

    def pass_takes(tokens: int) -> float:
        whole, rest = divmod(tokens, TOKENS[-1])  # a larger pass takes as long as several
        return whole * times[TOKENS[-1]] + (float(np.interp(rest, TOKENS, list(times.values()))) if rest else 0.0)

    pairs = random.Random(0).sample(loaded.pairs, min(2000, len(loaded.pairs)))
    replies = [
        (len(bot.prompt.encode_prompt(question, label)), len(bot.prompt.text_ids(answer)) + 1)
        for question, answer, label in pairs
    ]
    rows = 2 if bot.card.strength else 1
    limit = most(replies, rows, pass_takes, chosen.beside)
    print(f"At most {limit:.1f} replies a second.\n")
    print("| messages a second | share of that | median s | 95 of 100 within s | US$ for 1,000 replies |")
    print("|---|---|---|---|---|")
    for load in LOADS:
        took = simulate(load * limit, 60 * MINUTES, replies, rows, pass_takes, chosen.beside)
        cost = chosen.price / 3600 / (load * limit) * 1000
        p50, p95 = (percentile(took, share) for share in (0.5, 0.95))
        print(f"| {load * limit:.1f} | {100 * load:.0f} % | {p50:.3f} | {p95:.3f} | {cost:.4f} |")


if __name__ == "__main__":
    main()
