"""Pairs: a file, a URL or the name of a known dataset becomes a table of Q, A and label.

Knows pandas and files; no token and no model. Every refusal is a DataError with a sentence.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

import pandas as pd

from .config import home
from .errors import DataError
from .labels import AUTO

COLUMNS = ["Q", "A", "label"]
CHATBOT_DATA_URL = "https://raw.githubusercontent.com/songys/Chatbot_data/master/ChatbotData.csv"
SAMPLES = Path(__file__).parent / "samples"
DATASETS = {
    "ChatbotData": CHATBOT_DATA_URL,
    "emotions": str(SAMPLES / "emotions.csv"),
    "jobs": str(SAMPLES / "jobs.csv"),
}
DOWNLOAD_TIMEOUT = 20  # seconds without a byte
ROWS_NAMED = 8  # bad rows that one sentence lists


def read_pairs(source: str | os.PathLike, rows: int | None = None, cache: Path | None = None) -> pd.DataFrame:
    """The pairs of `source` as columns Q, A, label (all str, outer spaces removed), one row each.

    `source` is a CSV file (UTF-8 with or without BOM, or CP949), a URL of one, or a name in DATASETS;
    `rows` keeps only the first ones (notebook, cell 8); a download is kept in `cache`
    (default: `cache/` under KOCHAT_HOME). Raises DataError.
    """
    source = DATASETS.get(str(source), str(source))
    path = download(source, cache or home() / "cache") if is_url(source) else Path(source)
    if not path.is_file():
        raise DataError("no_file", path=source)
    return _checked(_read_table(path), path.name)[:rows]


def is_url(source: str) -> bool:
    """Whether `source` is to be downloaded."""
    return source.startswith(("http://", "https://"))


def _read_table(path: Path) -> pd.DataFrame:
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "cp949"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        break
    else:
        raise DataError("not_csv", name=path.name)
    if "\0" in text:
        raise DataError("not_csv", name=path.name)
    if not text.strip():
        raise DataError("no_rows", name=path.name)
    with tempfile.SpooledTemporaryFile(mode="w+", encoding="utf-8", newline="") as decoded:
        decoded.write(text)
        decoded.seek(0)
        try:
            table = pd.read_csv(decoded, dtype=str, keep_default_na=False, skip_blank_lines=False)
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise DataError("not_csv", name=path.name) from error
    # Where the first row has more cells than the header, pandas takes its first cells for row names.
    if not isinstance(table.index, pd.RangeIndex):
        raise DataError("not_csv", name=path.name)
    return table


def _checked(table: pd.DataFrame, name: str) -> pd.DataFrame:
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        found = ", ".join(table.columns[:6])
        raise DataError("no_column", name=name, missing=", ".join(missing), found=found)
    table = table[COLUMNS].map(str.strip)
    # A line with nothing in it is not a row; spreadsheets leave such lines at the end.
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise DataError("no_rows", name=name)
    empty = table.index[(table == "").any(axis=1)]
    if len(empty):
        # As a spreadsheet counts: the header is row 1.
        listed = ", ".join(str(i + 2) for i in empty[:ROWS_NAMED]) + (" …" if len(empty) > ROWS_NAMED else "")
        raise DataError("empty_cells", name=name, count=len(empty), rows=listed)
    if (table["label"] == AUTO).any():
        raise DataError("reserved_label", label=AUTO)
    return table.reset_index(drop=True)


def download(url: str, cache: Path) -> Path:
    """The file at `url`, kept in `cache`; a second call needs no network.

    It comes into the cache only when it arrived whole and reads as pairs. Raises DataError.
    """
    last_part = url.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    name = hashlib.sha256(url.encode()).hexdigest()[:12] + "-" + last_part[-60:]
    target = cache / name
    if target.is_file():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        part = Path(folder) / name
        try:
            # Korean and spaces as browsers send them; what is quoted already stays.
            quoted = urllib.parse.quote(url, safe="%/:?#[]@!$&'()*+,;=~")
            with urllib.request.urlopen(quoted, timeout=DOWNLOAD_TIMEOUT) as response, part.open("wb") as file:
                shutil.copyfileobj(response, file)
                expected = response.headers.get("Content-Length")
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise DataError("no_download", url=url, reason=getattr(error, "reason", error)) from error
        if expected is not None and part.stat().st_size != int(expected):
            raise DataError("damaged_download", url=url)
        _checked(_read_table(part), name)
        part.replace(target)
    return target


def keep(data: bytes, name: str, folder: Path) -> Path:
    """An uploaded file, kept in `folder` under its own name; the same bytes are kept once."""
    kept = folder / hashlib.sha256(data).hexdigest()[:12] / (Path(name).name.strip(". ") or "file")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(data)
    return kept


def split_by_question(table: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and validation pairs; no question is in both.

    Each question is drawn by a hash of itself and `seed`, so about `share` of the distinct questions are kept
    for validation, at least one of several. A question stays on its side when rows come or go: a checkpoint
    trained further on more of the same data has not seen its validation questions.
    """
    draws = {question: _draw(question, seed) for question in table["Q"].unique()}
    held_out = {question for question, draw in draws.items() if draw < share}
    if share and not held_out and len(draws) > 1:
        held_out = {min(draws, key=draws.get)}
    is_validation = table["Q"].isin(held_out)
    return table[~is_validation], table[is_validation]


def _draw(question: str, seed: int) -> float:
    """A number from 0 to 1 that looks random and is always the same."""
    digest = hashlib.sha256(f"{seed}/{question}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def fingerprint(table: pd.DataFrame) -> str:
    """sha256 of the pairs, the same for the same pairs in any file format."""
    return hashlib.sha256(table[COLUMNS].to_csv(index=False, lineterminator="\n").encode()).hexdigest()
