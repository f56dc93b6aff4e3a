"""The pairs of kochat-mini: `python -m benchmarks.corpus ChatbotData.csv FOLDER`.

Writes `corpus.csv`, ChatbotData and those pairs of `everyday` whose questions are not withheld; a training on it
withholds some of ChatbotData's. The withheld ones of `everyday` come into `everyday-validation.csv` and
`everyday-test.csv`, which `python -m kochat eval --data` takes.
"""

import argparse
from pathlib import Path

import pandas as pd

from kochat.data.pairs import COLUMNS, read_pairs
from kochat.data.splits import split_by_question

SHARE = 0.0865  # of the questions of `everyday` for validation, and as many for test: 145 and 155
SEED = 0


def tables(chatbot_data: Path) -> dict[str, pd.DataFrame]:
    """The three tables of pairs, by the names of their files."""
    everyday = split_by_question(read_pairs("everyday"), SHARE, SHARE, SEED)
    corpus = pd.concat([read_pairs(chatbot_data), everyday.training])
    return {"corpus": corpus, "everyday-validation": everyday.validation, "everyday-test": everyday.test}


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chatbot_data", type=Path)
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables(chosen.chatbot_data).items():
        table[COLUMNS].to_csv(chosen.folder / f"{name}.csv", index=False)
        print(f"{name}.csv: {len(table):,} pairs")


if __name__ == "__main__":
    main()
