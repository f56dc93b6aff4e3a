"""Encodings: told by the bytes or refused with the line, and no half character left."""

import pytest

from kochat.data.encodings import encoding_of, storable
from kochat.errors import DataError


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("가,나\n".encode(), "utf-8"),
        ("가,나\n".encode("utf-8-sig"), "utf-8-sig"),
        ("가,나\n".encode("cp949"), "cp949"),
        ("가,나\n".encode("utf-16"), "utf-16"),
        ("가,나\n".encode("utf-16-be"), "utf-16-be"),
    ],
)
def test_an_encoding_is_told_by_the_bytes(tmp_path, data, encoding):
    path = tmp_path / "file"
    path.write_bytes(data)
    assert encoding_of(path, "file", data[:20]) == encoding


def test_the_line_that_breaks_is_named(tmp_path):
    path = tmp_path / "file"
    path.write_bytes("가\n나\n".encode() + b"\xec\x9a\n")
    with pytest.raises(DataError, match="Line 3 of mine cannot be read"):
        encoding_of(path, "mine", path.read_bytes())


def test_text_stays_as_it_is_but_for_half_characters():
    for text in ("", "안녕 😀", "a\0b", "\ufffd"):
        assert storable(text) == text
    assert storable("\ud83d가\ude00") == "\ufffd가\ufffd"
    assert storable("\ud83d\ude00") == "😀"
