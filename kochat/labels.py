"""Labels and their names for people. Knows no data and no model.

The three labels of ChatbotData are defined by its author (songys/Chatbot_data): 0 everyday,
1 breakup (negative), 2 love (positive). Any other label is its own name.
"""

from __future__ import annotations

from collections.abc import Iterable

AUTO = "auto"
CHATBOT_DATA_LABELS = ("0", "1", "2")

NAMES: dict[str, dict[str, str]] = {
    "ko": {AUTO: "자동", "0": "일상다반사", "1": "이별·부정", "2": "사랑·긍정"},
    "en": {AUTO: "Automatic", "0": "Everyday", "1": "Breakup, negative", "2": "Love, positive"},
}


def label_name(label: str, language: str) -> str:
    """The name of `label` in "ko" or "en"; a label without a name is shown as it is."""
    return NAMES[language].get(label, label)


def in_order(labels: Iterable[str]) -> list[str]:
    """Distinct labels, numbers first by value, then texts in order of first appearance."""
    distinct = list(dict.fromkeys(labels))
    numbers = sorted((label for label in distinct if label.isdecimal()), key=int)
    return numbers + [label for label in distinct if not label.isdecimal()]
