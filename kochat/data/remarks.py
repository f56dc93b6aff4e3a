"""What was done with a file, and not asked for, in a sentence: what was joined, filled in, or left out.

Its rows are good all the same; whoever brought the file should know. The sentences are in `sentences/`.
"""

from __future__ import annotations

from collections.abc import Iterable

from kochat.errors import SENTENCES

MAX_LISTED = 8  # in one sentence


class Remark:
    """`key` names its sentence in SENTENCES, `values` fill it in."""

    def __init__(self, key: str, **values: object):
        self.key, self.values = key, values

    def text(self, language: str) -> str:
        """The sentence for people; `language` is "ko" or "en"."""
        return SENTENCES[language][self.key].format(**self.values)

    def to_dict(self) -> dict[str, str]:
        """As JSON can hold it."""
        return {"key": self.key, "en": self.text("en"), "ko": self.text("ko")}


def listed(parts: Iterable[object]) -> str:
    """The first of several things, with commas between them."""
    texts = [str(part)[:40] for part in parts]
    return ", ".join(texts[:MAX_LISTED]) + (" …" if len(texts) > MAX_LISTED else "")
