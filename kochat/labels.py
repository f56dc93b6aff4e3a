"""Labels and their names for people. Knows no data and no model.

The three labels of ChatbotData are defined by its author (songys/Chatbot_data): 0 everyday,
1 breakup (negative), 2 love (positive). Any other label is its own name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

AUTO = "auto"
CHATBOT_DATA_LABELS = ("0", "1", "2")

AUTO_NAMES = {"ko": "자동", "en": "Automatic"}
PLAIN_COLUMNS = ("label", "labels", "라벨", "레이블", "sheet")
NAMES = {
    "ko": {"0": "일상다반사", "1": "이별·부정", "2": "사랑·긍정"},
    "en": {"0": "Everyday", "1": "Breakup, negative", "2": "Love, positive"},
}


def has_names(labels: Iterable[str]) -> bool:
    """Whether ChatbotData's labels are among these: somebody's own 0 and 1 may mean anything."""
    return tuple(label for label in labels if label.isdecimal()) == CHATBOT_DATA_LABELS


def are_emotions(labels: Iterable[str]) -> bool:
    """Whether these are ChatbotData's labels and no others: only then they are called emotions."""
    return set(labels) == set(CHATBOT_DATA_LABELS)


def is_plain_column(name: str) -> bool:
    """Whether the name of a column of labels says no more than that they are labels."""
    return name.casefold() in PLAIN_COLUMNS or bool(re.fullmatch(r"#\d+", name))


def label_name(label: str, language: str, labels: Iterable[str], names: Mapping[str, str] | None = None) -> str:
    """The name of `label`, one of `labels`, in "ko" or "en"; a label without a name is shown as it is.

    `names` are those that its owner gave.
    """
    known = NAMES[language] if has_names(labels) else {}
    return {**known, **(names or {})}.get(label, label)


def in_order(labels: Iterable[str]) -> list[str]:
    """Distinct labels, numbers first by value, then texts in order of first appearance."""
    distinct = list(dict.fromkeys(labels))
    numbers = sorted((label for label in distinct if label.isdecimal()), key=int)
    return numbers + [label for label in distinct if not label.isdecimal()]


def labels_by_name(labels: Iterable[str], names: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a text may call the `labels`, in lower case: themselves, their names in both languages and those of `names`.

    Of a name of two words, like "Breakup, negative", each alone will do.
    """
    labels = list(labels)
    called = {label.lower(): label for label in labels}
    for language in ("ko", "en"):
        for label in labels:
            name = label_name(label, language, labels, names)
            for one in (name, *re.split(r"[,·/]", name)):
                called.setdefault(one.strip().lower(), label)
    called.pop("", None)
    return called


def label_named(text: str, called: Mapping[str, str]) -> str | None:
    """The label that a text names, which says no more than that: "사랑", or "label: 사랑"; see `labels_by_name`."""
    said = text.strip().lower()
    return called.get(said) or called.get(said.split(":")[-1].strip())
