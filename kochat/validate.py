"""Whether a setting may have its value; refusals name it as the page does, in English and Korean.

By hand rather than by a library: its sentences would be in one language, and it would make 5 of "5".
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NoReturn

from kochat.errors import SettingsError

# What the page calls the settings that it asks for.
KOREAN_NAMES = {
    "epochs": "에폭 수",
    "batch_size": "배치 크기",
    "learning_rate": "학습률",
    "validation_share": "검증 비율",
    "test_share": "테스트 비율",
    "rows": "사용할 행 수",
    "keep": "저장할 에폭",
    "patience": "조기 종료",
    "label_names": "라벨 이름",
}


def refuse(name: str, value: object, allowed: str, allowed_ko: str) -> NoReturn:
    """Raise the SettingsError of a setting that may not have this value."""
    shown = KOREAN_NAMES.get(name, name)
    raise SettingsError("bad_setting", field=name, field_ko=shown, value=value, allowed=allowed, allowed_ko=allowed_ko)


def not_empty(config: Any) -> None:
    """Refuse None where the default is something. Raises SettingsError."""
    for one in fields(config):
        if one.default is not None and getattr(config, one.name) is None:
            refuse(one.name, None, "given", "비어 있지 않은")


def is_text(config: Any, *names: str) -> None:
    """Refuse what is neither None nor a text with anything in it. Raises SettingsError."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not (isinstance(value, str) and value.strip()):
            refuse(name, value, "a name", "이름인")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def at_least(config: Any, **lowest: int) -> None:
    """Refuse what is neither None nor a whole number from the lowest on. Raises SettingsError."""
    for name, low in lowest.items():
        value = getattr(config, name)
        if value is not None and not (isinstance(value, int) and _is_number(value) and value >= low):
            refuse(name, value, f"a whole number from {low}", f"{low} 이상의 정수")


def between(config: Any, low: float, high: float, *names: str) -> None:
    """Refuse what is neither None nor a number from `low` to `high`. Raises SettingsError."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not (_is_number(value) and low <= value <= high):
            refuse(name, value, f"from {low} to {high}", f"{low}에서 {high} 사이의")


def positive(config: Any, high: float, *names: str) -> None:
    """Refuse what is neither None nor a number above 0 and up to `high`. Raises SettingsError."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not (_is_number(value) and 0 < value <= high):
            refuse(name, value, f"above 0 and at most {high:g}", f"0보다 크고 {high:g} 이하인")


def one_of(config: Any, **choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices. Raises SettingsError."""
    for name, allowed in choices.items():
        if (value := getattr(config, name)) not in allowed:
            refuse(name, value, "one of " + ", ".join(allowed), ", ".join(allowed) + " 중 하나인")
