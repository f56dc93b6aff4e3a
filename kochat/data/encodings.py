"""The encoding of a file, told by its bytes; and texts that UTF-8 can hold.

Knows bytes and characters; no table.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from kochat.errors import DataError

NO_TABLE = re.compile(rb"[^\r\n]*[\x00-\x08\x0b\x0c\x0e-\x1f]|%PDF-")


def storable(text: str) -> str:
    """Half a character, which JSON can escape and UTF-8 cannot hold, becomes the mark of a broken one."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encoding_of(path: Path, name: str, head: bytes) -> str:
    """utf-8, utf-8-sig (with a BOM), cp949, or utf-16 (by its BOM, or -le or -be told without one).

    `head` is how the file at `path` begins; `name` is for the sentences. All of the file is decoded, so that it is
    sure. Raises DataError for what is no text, or in no such encoding.
    """
    wide = _utf_16(head)
    if not wide and NO_TABLE.match(head.lstrip()):
        raise DataError("not_text", name=name)
    utf_8, lines = "utf-8-sig" if head.startswith(codecs.BOM_UTF8) else "utf-8", []
    for encoding in [wide] if wide else [utf_8, "cp949"]:
        line = _broken_line(path, encoding)
        if line is None:
            return encoding
        lines.append(line)
    raise DataError("bad_encoding", name=name, line=max(lines))


def _utf_16(head: bytes) -> str | None:
    """Without a BOM it is told by its line ends: read in the wrong order of bytes, or at all, other text has none."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for encoding in ("utf-16-le", "utf-16-be"):
        text = head[: len(head) // 2 * 2].decode(encoding, "ignore")
        if b"\0" in head and "\0" not in text and re.search("[\r\n]", text):
            return encoding
    return None


def _broken_line(path: Path, encoding: str) -> int | None:
    """The number of the first line that cannot be decoded; None where all can. A megabyte at a time."""
    decoder, lines = codecs.getincrementaldecoder(encoding)(), 1
    with path.open("rb") as file:
        while True:
            piece = file.read(2**20)
            try:
                lines += decoder.decode(piece, final=not piece).count("\n")
            except UnicodeDecodeError as error:
                return lines + error.object[: error.start].decode(encoding, "ignore").count("\n")
            if not piece:
                return None
