"""Which measure tells strange questions from those that validation kept out: `python -m benchmarks.familiarity FILE`.

Prints, for each measure, the area under the curve (1: every strange question is more surprising than every
validation question) for each group of written questions, the everyday ones being the counter-check; then the false
alarms (the threshold from a random half of the validation questions, counted in the other; mean of 50 halves) and how
many of each group are told, at the threshold from all of them.
"""

from __future__ import annotations

import argparse
import random
import statistics
from pathlib import Path

import kochat
from kochat.evaluation import metrics
from kochat.inference.chatbot import Chatbot
from kochat.inference.decoder import Decoder
from kochat.inference.familiarity import BYTES_FOR_FREE, THRESHOLD

from .shapes import MINI

MEASURES = {
    "nats a token": lambda nats, text: sum(nats) / len(nats),
    "nats of the worst token": lambda nats, text: max(nats),
    "nats of the worst three": lambda nats, text: statistics.mean(sorted(nats)[-3:]),
    "nats a character": lambda nats, text: sum(nats) / len(text),
    "nats a byte": lambda nats, text: sum(nats) / len(text.encode()),
    "nats a byte, 6 for free": lambda nats, text: sum(nats) / (len(text.encode()) + BYTES_FOR_FREE),
}


def written() -> dict[str, list[str]]:
    """The questions of questions.txt by group."""
    groups: dict[str, list[str]] = {}
    for line in (Path(__file__).parent / "questions.txt").read_text("utf-8").splitlines():
        if line.startswith("## "):
            groups[line[3:]] = found = []
        else:
            found.append(line)
    return groups


def area(usual: list[float], strange: list[float]) -> float:
    """How often a strange one is above a usual one."""
    return sum((a < b) + 0.5 * (a == b) for a in usual for b in strange) / len(usual) / len(strange)


def limit(usual: list[float]) -> float:
    """The threshold that these questions give."""
    return statistics.quantiles(usual, n=1000, method="inclusive")[round(THRESHOLD * 1000) - 1]


def false_alarms(usual: list[float], halves: int = 50) -> float:
    """The share called unfamiliar of a half that the threshold does not come from."""
    shares = []
    for seed in range(halves):
        mixed = random.Random(seed).sample(usual, len(usual))
        half = len(mixed) // 2
        shares.append(statistics.mean(one > limit(mixed[:half]) for one in mixed[half:]))
    return statistics.mean(shares)


def scored(bot: Chatbot, questions: list[str]) -> dict[str, list[float]]:
    """Each question under each measure."""
    encoded = [bot.prompt.encode_question(question) for question in questions]
    nats = [[-one for one in ones] for ones in Decoder(bot.weights).token_log_likelihoods(encoded)]
    return {
        name: [measure(ones, question) for ones, question in zip(nats, questions, strict=True)]
        for name, measure in MEASURES.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--checkpoint", default=str(MINI))
    chosen = parser.parse_args()
    bot = kochat.load(chosen.checkpoint)
    usual = scored(bot, list(dict.fromkeys(metrics.held_out(bot.card, chosen.data)["Q"])))
    groups = {name: scored(bot, questions) for name, questions in written().items()}
    print(f"| area under the curve | {' | '.join(groups)} |\n|---|{'---|' * len(groups)}")
    for measure in MEASURES:
        areas = [area(usual[measure], group[measure]) for group in groups.values()]
        print(f"| {measure} | {' | '.join(f'{one:.3f}' for one in areas)} |")
    print(f"\n| threshold at {THRESHOLD:.1%} | false alarms | {' | '.join(groups)} |\n|---|---|{'---|' * len(groups)}")
    for measure in MEASURES:
        above = [[one > limit(usual[measure]) for one in group[measure]] for group in groups.values()]
        told = " | ".join(f"{sum(one)} of {len(one)}" for one in above)
        print(f"| {measure} | {false_alarms(usual[measure]):.1%} | {told} |")


if __name__ == "__main__":
    main()
