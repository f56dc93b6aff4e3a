"""The pairs that a checkpoint's training withheld, drawn from its data again, and where these data still are.

Knows cards and pairs; no model.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from kochat.config import home, reading
from kochat.data import pairs
from kochat.data.splits import Parts, divide
from kochat.errors import DataError
from kochat.model.cards import Card, source_name


def split_again(card: Card, source: str) -> Parts:
    """The pairs that this checkpoint was trained on, and those withheld, out of its data, as its own version split.

    A card of before split versions gets the two parts of then, and an empty test part. Its base may have seen what
    was withheld, where it was trained on the same data. Raises DataError where `source` does not hold the pairs it
    was trained with.
    """
    table = pairs.read_pairs(source, **reading(card.config))
    if pairs.fingerprint(table) != card.data.get("sha256"):
        raise DataError("other_data", name=source_name(source))
    return divide(table, *card.split)


def held_out(card: Card, source: str) -> pd.DataFrame:
    """The validation pairs: what this checkpoint was chosen by, and never trained on. Raises as `split_again`."""
    return split_again(card, source).validation


def withheld(card: Card, source: str) -> pd.DataFrame:
    """Every pair that this checkpoint was not trained on, its part ("validation" or "test") beside. Raises so too."""
    parts = split_again(card, source)
    named = [parts.validation.assign(part="validation"), parts.test.assign(part="test")]
    return pd.concat(named).sort_index()


def own_data(card: Card) -> Iterator[str]:
    """Where the data of a checkpoint may still be on this machine: known by name, or uploaded once.

    Only the names are compared here; whether the pairs are the same, `split_again` tells.
    """
    name = card.data.get("source")
    if not name or not (card.config.get("validation_share") or card.config.get("test_share")):
        return
    if name in pairs.DATASETS and pairs.is_here(name):
        yield name
    uploads = home() / "uploads"
    kept = [path for path in uploads.glob("*/*") if source_name(str(path)) == name] if uploads.is_dir() else []
    yield from map(str, sorted(kept, key=lambda path: path.stat().st_mtime, reverse=True))


def own_source(card: Card) -> str:
    """The first of `own_data` that holds the pairs. Raises DataError where none does."""
    for source in own_data(card):
        if has_held_out(card, source):
            return source
    raise DataError("data_gone", name=card.data.get("source") or "–")


def has_held_out(card: Card, source: str) -> bool:
    """Whether `source` holds the pairs of a checkpoint, and some of them were kept out of its training."""
    try:
        return not withheld(card, source).empty
    except DataError:  # other pairs, perhaps under the same name; what is wrong with them, whoever uses them says
        return False


def spread(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows of a table, evenly from the first to the last."""
    n = len(table)
    return table if n <= most else table.iloc[[i * n // most for i in range(most)]]
