"""Growth: `python -m benchmarks.growth`: reply time against its length, an epoch and the memory against rows."""

import argparse
import statistics
import subprocess
import sys
import tempfile

import kochat
from kochat.inference.decoder import Decoder
from kochat.inference.engine import Engine, GenerationRequest

from .shapes import MINI
from .timing import interleaved

EPOCH = """
import resource, sys, time
import pandas as pd
from kochat.data import pairs
from kochat.config import TrainingConfig
from kochat.training.fine_tuning import fine_tune
rows, folder = int(sys.argv[1]), sys.argv[2]
table = pd.concat([pairs.read_pairs("emotions")] * 40).head(rows).reset_index(drop=True)
table["Q"] += [f" {i}" for i in range(len(table))]
table.to_csv(f"{folder}/rows.csv", index=False)
config = TrainingConfig(
    data=f"{folder}/rows.csv", output=f"{folder}/out", epochs=2, validation_share=0, sample_questions=()
)
ends = [event.seconds for event in fine_tune(config) if type(event).__name__ == "Epoch"]
print(ends[1] - ends[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[250, 500, 1000, 2000, 4000])
    chosen = parser.parse_args()
    bot = kochat.load(MINI)
    engine = Engine(Decoder(bot.weights), eos_id=-1)
    asked = GenerationRequest(bot.prompt.encode_prompt("안녕", "0"))
    lengths = (16, 32, 64, 128)
    times = interleaved({str(n): lambda n=n: list(engine.stream(asked, n)) for n in lengths}, rounds=9)
    print("| tokens of the reply | ms | ms a token |\n|---|---|---|")
    for n in lengths:
        median = statistics.median(times[str(n)])
        print(f"| {n} | {median * 1e3:.1f} | {median * 1e3 / n:.2f} |")
    print("\n| rows | seconds an epoch | ms a row | memory, MB |\n|---|---|---|---|")
    for rows in chosen.rows:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", EPOCH, str(rows), folder]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        seconds, memory = map(float, told)
        print(f"| {rows} | {seconds:.2f} | {seconds * 1e3 / rows:.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
