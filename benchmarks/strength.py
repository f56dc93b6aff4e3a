"""Strength: `python -m benchmarks.strength [kogpt2|mini] [--at-once 1 16] [--rounds N]`.

Replies with a strength against the same two prompts of each, labelled and not, decoded in one batch without one:
strength should cost no more. Every reply has 24 tokens; no drafts.
"""

import argparse

from kochat.inference.decoder import Decoder
from kochat.inference.engine import Engine, GenerationRequest
from kochat.model import checkpoint
from kochat.model.prompt import Prompt
from kochat.model.tokenizer import load_tokenizer
from kochat.model.weights import weights_of

from .shapes import MINI, kogpt2_shaped
from .timing import interleaved, print_table

TOKENS = 24
QUESTION = "오늘은 {n}시에 뭐 할까?"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", nargs="?", choices=("kogpt2", "mini"), default="mini")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    folder = kogpt2_shaped() if chosen.shape == "kogpt2" else MINI
    weights = weights_of(checkpoint.load(folder, as_base=True).model)
    engine = Engine(Decoder(weights, int8=chosen.shape == "kogpt2"), eos_id=-1)
    prompt = Prompt(load_tokenizer(MINI), 96)
    for n in chosen.at_once:
        questions = [QUESTION.format(n=number) for number in range(n)]
        labelled = [prompt.encode_prompt(question, "2") for question in questions]
        without = [prompt.encode_prompt(question, None) for question in questions]
        asked = {
            "two prompts a reply": [GenerationRequest(one) for one in (*labelled, *without)],
            "strength 4": [GenerationRequest(*both, 4.0) for both in zip(labelled, without, strict=True)],
            "one prompt, no strength": [GenerationRequest(one) for one in labelled],
        }
        contenders = {name: lambda some=some: engine.replies(some, TOKENS) for name, some in asked.items()}
        times = interleaved(contenders, chosen.rounds)
        print_table(f"{n} at once, {TOKENS} tokens", times, "ms a reply", 1000 / n, "two prompts a reply")


if __name__ == "__main__":
    main()
