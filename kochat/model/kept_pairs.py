"""The pairs kept beside a checkpoint: those that it was trained on, and the validation pairs that it was not.

Each file is CSV packed by xz, with the columns Q, A, label. Knows files and pairs; no model.
"""

from __future__ import annotations

import csv
import io
import itertools
import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kochat.errors import CheckpointError

if TYPE_CHECKING:  # brings pandas, which a reply does without
    from kochat.data.pairs import Pair

HEADER = ["Q", "A", "label"]
PAIRS_FILE = "pairs.csv.xz"  # what it was trained on
VALIDATION_FILE = "validation.csv.xz"  # what no training of it has seen
MAX_PAIRS = 25_000  # of each file
MAX_VALIDATION_PAIRS = 2000  # that a training writes; more make a figure no surer
MAX_PAIR_LENGTH = 800  # characters; a longer one is not kept
MAX_PAIR_BYTES = 2**26  # of so many; a small file may unpack to more than the memory holds


def read_pairs(folder: Path, name: str, file: str = PAIRS_FILE) -> list[Pair]:
    """The pairs in `file` of a folder; none where it is missing. Raises CheckpointError, calling it `name`."""
    if not (folder / file).is_file():
        return []
    try:
        with lzma.open(folder / file) as packed:
            content, more = packed.read(MAX_PAIR_BYTES), packed.read(1)
        lines = io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="")
        rows = list(itertools.islice(csv.reader(lines, strict=True), MAX_PAIRS + 2))
    except (OSError, EOFError, ValueError, csv.Error, lzma.LZMAError) as error:
        raise CheckpointError("damaged_checkpoint", name=name) from error
    pairs = [tuple(row) for row in rows[1:] if len(row) == len(HEADER) and sum(map(len, row)) <= MAX_PAIR_LENGTH]
    if more or rows[:1] != [HEADER] or len(pairs) < len(rows) - 1 or len(pairs) > MAX_PAIRS:
        raise CheckpointError("damaged_checkpoint", name=name)
    return pairs


def write_pairs(folder: Path, pairs: Sequence[Pair], file: str = PAIRS_FILE) -> None:
    """Write pairs into `file` of a folder, by way of a hidden file; those that are too long are left out."""
    kept = [pair for pair in pairs if sum(map(len, pair)) <= MAX_PAIR_LENGTH]
    part = folder / f".{file}"
    with lzma.open(part, "wt", encoding="utf-8", errors="replace", newline="") as packed:
        csv.writer(packed).writerows([HEADER, *kept])
    part.replace(folder / file)


def newest(pairs: Sequence[Pair], data: dict[str, Any]) -> Sequence[Pair]:
    """Those of a checkpoint's kept pairs that it learned in further trainings: the first ones, none of its first data.

    `data` is that of its card. Where that was made before it noted their number, those of its last training.
    """
    rows = data.get("rows")
    is_part = type(rows) is int and 0 < rows < len(pairs)
    return pairs[: data.get("newest_pairs", rows if is_part else 0)]
