"""What 8 bits change: `python -m benchmarks.precision ChatbotData [--checkpoint DIR] [--questions N]`.

The greedy replies to the same questions with float32 and with 8-bit weights, and the likelihood of the true
answers. kochat-mini itself is used in float32; it is what there is of trained weights without a network.
"""

import argparse

import kochat
from kochat.data import pairs
from kochat.inference.decoder import Decoder
from kochat.inference.engine import Engine, GenerationRequest
from kochat.model.prompt import IGNORE

from .shapes import MINI


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--checkpoint", default=str(MINI))
    parser.add_argument("--questions", type=int, default=500)
    chosen = parser.parse_args()
    bot = kochat.load(chosen.checkpoint)
    table = pairs.read_pairs(chosen.data).sample(chosen.questions, random_state=0)
    rows = list(table[["Q", "A", "label"]].itertuples(index=False, name=None))
    examples = [bot.prompt.encode_example(*row) for row in rows]
    counted = [(one.input_ids, len(one.labels) - one.labels.count(IGNORE)) for one in examples]
    replies, likelihoods = [], []
    for int8 in (False, True):
        decoder = Decoder(bot.weights, int8)
        asked = [GenerationRequest(bot.prompt.encode_prompt(q, label)) for q, _, label in rows]
        end = bot.tokenizer.eos_token_id
        replies.append([[*tokens, end] for tokens in Engine(decoder, end).replies(asked)])
        likelihoods.append(-sum(decoder.log_likelihoods(counted)) / sum(n for _, n in counted))
    same = total = 0
    for exact, quick in zip(*replies, strict=True):
        total += len(exact)
        # From the first other token on, everything that follows counts as changed.
        same += next((i for i, (a, b) in enumerate(zip(exact, quick, strict=False)) if a != b), len(exact))
    print("| | float32 | 8 bits |\n|---|---|---|")
    print(f"| nats a token of the true answers | {likelihoods[0]:.4f} | {likelihoods[1]:.4f} |")
    print(f"| the same replies | | {sum(a == b for a, b in zip(*replies, strict=True))} of {len(rows)} |")
    print(f"| the same tokens up to the first that differs | | {same / total:.2%} of {total} |")
    print(f"\nlikelihood changed by {likelihoods[1] / likelihoods[0] - 1:+.2%}")


if __name__ == "__main__":
    main()
