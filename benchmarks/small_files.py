"""Small files trained with nothing set: what the bot then says. `python -m benchmarks.small_files test`.

The settings and the threshold were chosen on `dev`; `test` is for the report. See benchmarks/shops/README.md.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

import kochat
from kochat.config import TrainingConfig
from kochat.model.gpt2 import quiet
from kochat.training.events import Finished, Started

SHOPS = Path(__file__).parent / "shops"
SAMPLES = ("emotions", "jobs")


def measured(data: str, asked: Path) -> dict[str, str]:
    """Train on `data` and ask the questions of `asked` (question, answer, kind)."""
    with tempfile.TemporaryDirectory() as folder:
        start, output = time.monotonic(), str(Path(folder) / "bot")
        events = list(kochat.fine_tune(TrainingConfig(data=data, output=output)))
        seconds, bot = time.monotonic() - start, kochat.load(output)
    [started] = [event for event in events if isinstance(event, Started)]
    [finished] = [event for event in events if isinstance(event, Finished)]
    right = refused = 0
    rows = list(pd.read_csv(asked, keep_default_na=False).itertuples()) if asked.is_file() else []
    for row in rows:
        unsure = bool(bot.read(row.question).unfamiliar)
        right += not unsure and row.kind != "foreign" and bot.reply(row.question) in row.answer.split(" || ")
        refused += unsure and row.kind == "foreign"
    own = list(kochat.read_pairs(data)["Q"].unique())
    return {
        "pairs": str(started.pairs),
        "seconds": f"{seconds:.0f}",
        "own answers": f"{finished.own_right} of {finished.own_asked}",
        "in other words": f"{right} of {sum(row.kind != 'foreign' for row in rows)}",
        "foreign: not sure": f"{refused} of {sum(row.kind == 'foreign' for row in rows)}",
        "own: not sure": f"{sum(bool(bot.read(question).unfamiliar) for question in own)} of {len(own)}",
        "base nll": f"{finished.base_nll / started.base_nll - 1:+.1%}",
    }


def main(part: str) -> None:
    quiet()
    files = [path for path in sorted((SHOPS / part).glob("*.csv")) if not path.name.endswith(".asked.csv")]
    for data in [*map(str, files), *SAMPLES]:
        found = measured(data, SHOPS / part / f"{Path(data).stem}.asked.csv")
        print(Path(data).stem, *(f"{name} {value}" for name, value in found.items()), sep=" · ", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
