"""Replies: `python -m benchmarks.replies [kogpt2|mini] [--at-once 1 4 16 64] [--rounds N]`.

Two tables for each number of replies at once: 24 tokens after 12 whatever they are, and whole replies to
real questions, where drafts count. The peers need `pip install -r benchmarks/requirements.txt`.
"""

import argparse
import statistics
from collections import Counter

import torch
from transformers.utils import logging

import kochat
from kochat.data import pairs
from kochat.data.splits import divide
from kochat.inference.decoder import Decoder
from kochat.inference.drafts import Drafts
from kochat.inference.engine import Engine, GenerationRequest
from kochat.model import checkpoint
from kochat.model.weights import weights_of

from . import peers
from .shapes import MINI, fine_tuned, kogpt2_shaped
from .timing import interleaved, print_table

PROMPT, TOKENS = 12, 24
MAX_LENGTH = 40  # tokens of a whole reply
SLOW = "the notebook's loop"  # which decodes one reply after the other; once is enough to see it


def other_engines(folder, endless: bool) -> dict:
    """Every peer that is installed."""
    made = {SLOW: lambda: peers.notebook_loop(folder, endless)}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        made[f"transformers, {name}"] = lambda dtype=dtype: peers.transformers_generate(folder, dtype, endless)
    made["CTranslate2, int8"] = lambda: peers.ctranslate2_int8(folder, endless)
    for bits in (8, 4):
        made[f"OpenVINO, int{bits}"] = lambda bits=bits: peers.openvino(folder, bits, endless)
    found = {}
    for name, make in made.items():
        try:
            found[name] = make()
        except Exception as error:  # of another project; its absence is to be seen in the table
            print(f"{name}: {type(error).__name__}: {error}")
    return found


def fixed_length(folder, int8: bool, at_once: list[int], rounds: int) -> None:
    """24 tokens after 12 random ones: without drafts, and as replies learned by heart, whose drafts are right."""
    weights = weights_of(checkpoint.load(folder, as_base=True).model)
    engine = Engine(Decoder(weights, int8), eos_id=-1)
    on_gpu = Engine(Decoder(weights.to("cuda")), eos_id=-1) if torch.cuda.is_available() else None
    engines = other_engines(folder, endless=True)
    numbers = torch.Generator().manual_seed(0)
    prompts = torch.randint(10, 5_000, (max(at_once), PROMPT), generator=numbers).tolist()
    learned = Counter(tuple(reply) for reply in engine.replies([GenerationRequest(one) for one in prompts], TOKENS))
    by_heart = Engine(engine.decoder.copy(), -1, Drafts(learned))
    for n in at_once:
        some = prompts[:n]
        contenders = {"kochat": lambda some=some: engine.replies([GenerationRequest(one) for one in some], TOKENS)}
        contenders["kochat, by heart"] = lambda some=some: by_heart.replies(
            [GenerationRequest(one) for one in some], TOKENS
        )
        if on_gpu:
            contenders["kochat, on the GPU"] = lambda some=some: on_gpu.replies(
                [GenerationRequest(one) for one in some], TOKENS
            )
        contenders |= {
            name: lambda decode=decode, some=some: decode(some, TOKENS)
            for name, decode in engines.items()
            if name != SLOW or n == 1
        }
        times = interleaved(contenders, rounds)
        print_table(f"{n} at once, {TOKENS} tokens", times, "ms a token of each", 1000 / TOKENS, "kochat")
        for name, seconds in times.items():
            print(f"    {name}: {n * TOKENS / statistics.median(seconds):.0f} tokens/s in all")


def whole_replies(folder, data: str, at_once: list[int], rounds: int) -> None:
    """Replies to questions that were trained on, and to questions kept out."""
    bot = kochat.load(folder)
    table, config = pairs.read_pairs(data), bot.card.config
    parts = divide(table.head(config["rows"] or len(table)), *bot.card.split)
    seen, unseen = parts.training, parts.validation
    if unseen.empty:
        unseen = table.iloc[config["rows"] :]
    engines = other_engines(folder, endless=False)
    without = Engine(bot._engine.decoder.copy(), bot.tokenizer.eos_token_id, Drafts())
    for kind, rows in (("trained on", seen), ("not trained on", unseen)):
        rows = rows.sample(min(len(rows), 64), random_state=0)
        prompts = [bot.prompt.encode_prompt(q, label) for q, label in rows[["Q", "label"]].itertuples(index=False)]
        for n in at_once:
            groups = [prompts[i : i + n] for i in range(0, len(prompts) - n + 1, n)][: max(1, 16 // n)]
            if not groups:
                continue

            def ours(engine, groups=groups):
                return [engine.replies([GenerationRequest(one) for one in group], MAX_LENGTH) for group in groups]

            def theirs(decode, groups=groups):
                return [decode(group, MAX_LENGTH) for group in groups]

            tokens = sum(len(reply) + 1 for group in ours(without) for reply in group)
            contenders = {
                "kochat": lambda ours=ours: ours(bot._engine),
                "kochat without drafts": lambda ours=ours: ours(without),
            }
            contenders |= {
                name: lambda decode=decode, theirs=theirs: theirs(decode)
                for name, decode in engines.items()
                if name != SLOW or n == 1
            }
            times = interleaved(contenders, rounds)
            title = f"{n} at once, questions {kind}, {tokens / sum(map(len, groups)):.1f} tokens a reply"
            print_table(title, times, "ms a token", 1000 / tokens, "kochat")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", nargs="?", choices=("kogpt2", "mini"), default="kogpt2")
    parser.add_argument("--data", help="mini: the file it was trained with (ChatbotData)")
    parser.add_argument("--fine-tune", action="store_true", help="kogpt2: whole replies, too, after some minutes")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if chosen.shape == "kogpt2":
        fixed_length(kogpt2_shaped(), True, chosen.at_once, chosen.rounds)
        if chosen.fine_tune:
            whole_replies(fine_tuned(), "emotions", chosen.at_once, chosen.rounds)
    else:
        fixed_length(MINI, False, chosen.at_once, chosen.rounds)
        if chosen.data:
            whole_replies(MINI, chosen.data, chosen.at_once, chosen.rounds)


if __name__ == "__main__":
    main()
