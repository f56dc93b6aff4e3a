"""Errors: every key that the code raises has its two sentences, filled in by what it is raised with."""

import ast
import string

import pytest
from conftest import PROJECT

from kochat import errors
from kochat.errors import SENTENCES, DataError, KochatError

NAMES = {name for name, made in vars(errors).items() if isinstance(made, type) and issubclass(made, KochatError)}
NAMES.add("Remark")
CALLS = [
    (path, node)
    for path in sorted((PROJECT / "kochat").rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text("utf-8")))
    if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in NAMES
]


def raised() -> list[tuple[str, str, set[str]]]:
    """Where an error is made with a key written there, that key, and the names of what fills it in."""
    return [
        (f"{path.name}:{call.lineno}", call.args[0].value, {keyword.arg for keyword in call.keywords})
        for path, call in CALLS
        if isinstance(call.args[0], ast.Constant)
    ]


def fields_of(sentence: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(sentence) if field is not None}


def journalled() -> list[tuple[str, set[str]]]:
    """The keys that a run's journal holds: {"key": ..., "values": {...}} in runs/registry.py."""
    found = []
    for node in ast.walk(ast.parse((PROJECT / "kochat" / "runs" / "registry.py").read_text("utf-8"))):
        if isinstance(node, ast.Dict):
            entries = {key.value: value for key, value in zip(node.keys, node.values, strict=True) if key}
            if isinstance(entries.get("key"), ast.Constant):
                found.append((entries["key"].value, {key.value for key in entries["values"].keys}))
    return found


def in_both(key: str) -> tuple[str, str]:
    return SENTENCES["en"][key], SENTENCES["ko"][key]


def test_every_error_that_is_raised_has_its_sentences_and_fills_them_in():
    assert len(raised()) > 25
    for place, key, values in raised():
        english, korean = in_both(key)
        for sentence in (english, korean):
            assert fields_of(sentence) <= values, f"{place} leaves out {fields_of(sentence) - values} of {key}"
        assert fields_of(english + korean) == values, f"{place} gives {values} to {key}"
    for key, values in journalled():
        english, korean = in_both(key)
        assert fields_of(english) == fields_of(korean) == values


def test_no_sentence_is_left_unused():
    assert {key for _, key, _ in raised()} | {key for key, _ in journalled()} == set(SENTENCES["en"])
    assert list(SENTENCES["en"]) == list(SENTENCES["ko"])


@pytest.mark.parametrize("key", SENTENCES["en"])
def test_both_languages_say_it_in_sentences_of_their_own(key):
    english, korean = in_both(key)
    assert english != korean
    assert any("가" <= letter <= "힣" for letter in korean)
    assert not any("가" <= letter <= "힣" for letter in english)
    assert english.endswith((".", "}"))


def test_an_error_is_an_exception_with_a_sentence_in_each_language():
    error = DataError("no_file", path="a.csv")
    assert isinstance(error, KochatError)
    assert (error.key, error.values) == ("no_file", {"path": "a.csv"})
    assert str(error) == error.text("en") == "There is no file a.csv. Check the name and try again."
    assert error.text("ko") == "a.csv 파일이 없어요. 이름을 확인하고 다시 시도해 주세요."


def test_braces_in_what_fills_a_sentence_are_text():
    assert "{0} {path}" in DataError("no_file", path="{0} {path}").text("ko")
