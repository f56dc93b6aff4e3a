"""How far from the machine's own limits: `python -m benchmarks.floors [--rounds N] [--pairs N]`, at KoGPT2's shape.

Replies: the time of a token beside that of its matrix products alone, and of reading as many bytes as the 8-bit
weights have. Training: the time of an epoch beside that of its matrix products at the rate that this machine
multiplies large matrices, and where the rest goes by torch's profiler.
"""

import argparse
import statistics
from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile
from transformers.utils import logging

from kochat.inference.decoder import Decoder
from kochat.model import checkpoint
from kochat.model.weights import Weights, weights_of

from .shapes import kogpt2_shaped
from .steps import examples_of, ours
from .timing import interleaved, print_table

PROMPT, TOKENS = 12, 24
# The first that fits names what an operation is for; each is counted without those that it calls.
KINDS = {
    "matrix products": ("addmm", "::mm", "bmm", "linear", "attention", "onednn", "mkldnn"),
    "AdamW": ("adam",),
    "clipping and checking gradients": ("norm", "foreach", "isfinite", "isnan"),
    "softmax and loss": ("softmax", "nll_loss", "cross_entropy"),
    "embeddings": ("embedding", "index", "coalesce", "sparse", "gather", "unique"),
    "layer norms": ("native_layer_norm",),
    "GELU": ("gelu",),
    "copying, adding, clearing": ("copy", "add", "mul", "div", "cat", "zero", "fill", "clone", "sum", "contiguous"),
}


def replies(weights: Weights, rounds: int) -> None:
    """One token at a time after a prompt, 8-bit weights."""
    decoder = Decoder(weights, int8=True)
    numbers = torch.Generator().manual_seed(0)
    prompt = torch.randint(10, 5_000, (PROMPT,), generator=numbers).tolist()
    width, inner = decoder.width, 4 * decoder.width
    inputs = {n: torch.randn(1, n, generator=numbers) for n in (width, inner)}
    # As many bytes as the packed weights, read by the quickest kernel that only reads.
    read = torch.zeros(sum(weights.tensors[name].numel() for name in _matrices(weights)) // 4)

    def whole() -> None:
        row = decoder.copy()
        row.add()
        row.extend([prompt], [1])
        for token in prompt * (TOKENS // PROMPT):
            row.extend([[token]], [1])

    @torch.inference_mode()
    def products() -> None:
        for _ in range(TOKENS):
            for layer in decoder.layers:
                for linear in (layer.qkv, layer.out, layer.up):
                    linear(inputs[width])
                layer.down(inputs[inner])
            decoder.head(inputs[width])

    @torch.inference_mode()
    def reading() -> None:
        for _ in range(TOKENS):
            torch.dot(read, read)

    contenders = {"a token": whole, "its matrix products alone": products, "reading its weights once": reading}
    times = interleaved(contenders, rounds)
    print_table(f"one reply, 8 bits, {read.numel() * 4 / 1e6:.0f} MB", times, "ms", 1000 / TOKENS, "a token")


def training(weights: Weights, pairs: int, rounds: int) -> None:
    """An epoch, in float32 and in bfloat16."""
    examples, pad_id = examples_of(kogpt2_shaped(), pairs)
    tokens = sum(len(one.input_ids) for one in examples)
    with_loss = sum(label != -100 for one in examples for label in one.labels)
    inside = sum(weights.tensors[name].numel() for name in _matrices(weights) if name != "wte.weight")
    # Forward, and backward to the inputs and to the weights: three products, a multiplication and an addition each.
    operations = 6 * (tokens * inside + with_loss * weights.head().numel())
    for precision in ("float32", "bfloat16"):
        inputs, weight = (torch.randn(1024, 3072, dtype=getattr(torch, precision)) for _ in range(2))
        epoch = ours(kogpt2_shaped(), examples, pad_id, precision)
        contenders = {"an epoch": epoch, "a large product": lambda a=inputs, b=weight: a @ b.t()}
        times = {name: statistics.median(some) for name, some in interleaved(contenders, rounds).items()}
        rate = 2 * 1024 * 1024 * 3072 / times["a large product"]
        print(f"\n{precision}, {pairs} pairs, {tokens} tokens: {times['an epoch']:.2f} s an epoch")
        print(f"its {operations / 1e12:.2f} TFLOP at {rate / 1e12:.2f} TFLOP/s: {operations / rate:.2f} s\n")
        print_shares(epoch)


def print_shares(run) -> None:
    """Where the time of one call goes, by kind of operation."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        run()
    spent: Counter[str] = Counter()
    for event in seen.key_averages():
        name = event.key.lower()
        kind = next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "all else")
        spent[kind] += event.self_cpu_time_total
    print("| | share of the time |\n|---|---|")
    for kind, time in spent.most_common():
        print(f"| {kind} | {time / spent.total():.1%} |")


def _matrices(weights: Weights) -> list[str]:
    """The names of what is multiplied with: the blocks' matrices, and the LM head's."""
    inside = [name for name, tensor in weights.tensors.items() if name.startswith("h.") and tensor.ndim == 2]
    return [*inside, "wte.weight"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    weights = weights_of(checkpoint.load(kogpt2_shaped(), as_base=True).model)
    replies(weights, chosen.rounds)
    training(weights, chosen.pairs, chosen.rounds)


if __name__ == "__main__":
    main()
