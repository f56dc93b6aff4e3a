"""Pairs: a file, a URL or the name of a known dataset becomes a table of Q, A and label.

Knows pandas and files; no token and no model. Every refusal is a DataError with a sentence.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import tempfile
import unicodedata
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from kochat.config import home
from kochat.data.checks import Problem, TooLong, clean, problems_of
from kochat.data.splits import MIN_PAIRS_TO_WITHHOLD as MIN_PAIRS_TO_WITHHOLD
from kochat.data.splits import split_by_question as split_by_question
from kochat.data.splits import withheld_shares as withheld_shares
from kochat.data.tables import ROWS_NAMED, Table, open_table
from kochat.errors import DataError

COLUMNS = ["Q", "A", "label"]
Pair = tuple[str, str, str]  # question, answer, label
# How people name the columns, the surest first; compared without case, spaces and what is in brackets.
QUESTION_NAMES = "q question questions 질문 질의 문의 발화 user human prompt instruction input source 사용자 입력"
ANSWER_NAMES = "a answer answers 답변 답 대답 응답 bot assistant response reply completion output target 챗봇 출력"
LABEL_NAMES = "label labels 라벨 레이블 감정 emotion sentiment category class intent style 분류 카테고리 종류 의도 말투"
CHATBOT_DATA_URL = "https://raw.githubusercontent.com/songys/Chatbot_data/master/ChatbotData.csv"
SAMPLES = Path(__file__).parent / "samples"
DATASETS = {
    "ChatbotData": CHATBOT_DATA_URL,
    "emotions": str(SAMPLES / "emotions.csv"),
    "jobs": str(SAMPLES / "jobs.csv"),
}
DOWNLOAD_TIMEOUT = 20  # seconds without a byte


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are the question, the answer and the label; without one, every row has `one_label`."""

    question: str
    answer: str
    label: str | None = None
    one_label: str = "기본"


def find_columns(
    names: list[str], question: str | None = None, answer: str | None = None, label: str | None = None
) -> Columns:
    """The columns of a table by their names; those that are given are taken.

    Raises DataError where one is given that is not there, question or answer cannot be told, or both are the same.
    """
    chosen = {"Q": question, "A": answer, "label": label}
    missing = [name for name in chosen.values() if name and name not in names]
    free = {_plain(name): name for name in reversed(names) if name not in chosen.values()}  # the first of several
    for column, known in (("Q", QUESTION_NAMES), ("A", ANSWER_NAMES), ("label", LABEL_NAMES)):
        chosen[column] = chosen[column] or next((free[name] for name in known.split() if name in free), None)
    missing = missing or [column for column in ("Q", "A") if not chosen[column]]
    if missing:
        raise DataError("no_column", missing=", ".join(missing), found=", ".join(name[:40] for name in names[:12]))
    if chosen["Q"] == chosen["A"]:
        raise DataError("same_column", name=chosen["Q"][:40])
    return Columns(*chosen.values())


def find_question(names: list[str]) -> str | None:
    """The column of a table that is the question by its name; None where none is."""
    plain = {_plain(name): name for name in reversed(names)}
    return next((plain[name] for name in QUESTION_NAMES.split() if name in plain), None)


def _plain(name: str) -> str:
    return re.sub(r"\(.*?\)|\[.*?\]|[\W_]", "", unicodedata.normalize("NFKC", name).casefold())


def checked_rows(
    table: Table, columns: Columns, too_long: TooLong | None = None
) -> Iterator[tuple[int, tuple[str, str, str], list[Problem]]]:
    """Number, pair (Q, A, label; clean) and problems of every row that is not blank. Raises DataError.

    What repeats is told by 64-bit hashes: of a million rows, one is told wrongly once in 40 million files.
    """
    first_pair: dict[int, int] = {}
    first_answer: dict[int, int] = {}
    for chunk in table.chunks():
        cells = [map(clean, chunk.frame[one]) for one in (columns.question, columns.answer)]
        labels = map(clean, chunk.frame[columns.label]) if columns.label else [columns.one_label] * len(chunk.frame)
        for row, *pair in zip(chunk.frame.index, *cells, labels, strict=True):
            question, answer, label = pair
            if not (question or answer or (columns.label and label)):
                continue
            problems = [Problem(row, column, reason) for column, reason in problems_of(question, answer, label)]
            if not problems and too_long and too_long([(question, answer, label)])[0]:
                problems = [Problem(row, "", "too_long")]
            if not problems:
                same = first_pair.setdefault(hash((question, answer, label)), row)
                asked = first_answer.setdefault(hash((question, label)), row)
                if same != row:
                    problems = [Problem(row, "", "duplicate", same)]
                elif asked != row:
                    problems = [Problem(row, "", "other_answer", asked)]
            yield row, (question, answer, label), problems


@dataclass
class Report:
    """What a table holds: rows, those that are bad, those with a note, and how many have each label and reason.

    `labels` are those of the good rows; rows without a label column have one. `problems` are the first ones.
    """

    table: Table
    columns: Columns
    rows: int = 0
    bad: int = 0
    notes: int = 0
    labels: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        told = {name: getattr(self.table, name) for name in ("name", "format", "encoding", "delimiter", "columns")}
        counts = {"rows": self.rows, "good": self.rows - self.bad, "bad": self.bad, "notes": self.notes}
        tallies = {name: dict(getattr(self, name).most_common()) for name in ("labels", "reasons")}
        mapping = {"question": self.columns.question, "answer": self.columns.answer, "label": self.columns.label}
        return {**told, "mapping": mapping, **counts, **tallies, "problems": [asdict(one) for one in self.problems]}


def examine(table: Table, columns: Columns, most: int | None = None, too_long: TooLong | None = None) -> Report:
    """Check every row of a table; keep the first `most` problems, count all. Raises DataError.

    `too_long` says which rows a checkpoint cannot take whole.
    """
    report = Report(table, columns)
    for _, pair, problems in checked_rows(table, columns, too_long):
        bad = any(not problem.is_note for problem in problems)
        report.rows += 1
        report.bad += bad
        report.notes += bool(problems) and not bad
        report.labels.update([] if bad else [pair[2]])
        report.reasons.update({problem.reason for problem in problems})
        report.problems += problems[: None if most is None else max(0, most - len(report.problems))]
    return report


def read_pairs(
    source: str | os.PathLike,
    rows: int | None = None,
    cache: Path | None = None,
    columns: Columns | Mapping[str, str | None] | None = None,
    bad_rows: str = "refuse",
) -> pd.DataFrame:
    """The pairs of `source` as columns Q, A, label (all str, outer spaces removed), one row each.

    `source` is a file that tables.py reads, a URL of one, or a name in DATASETS; `rows` keeps only the first
    pairs (notebook, cell 8); a download is kept in `cache` (default: `cache/` under KOCHAT_HOME); `columns`, by
    "question", "answer" and "label", are found by their names where not given. Bad rows are named in a DataError
    ("refuse") or left out ("skip"); pairs that repeat stay under "refuse", since their weight may be meant.
    Raises DataError.
    """
    source = DATASETS.get(str(source), str(source))

    def read(path: str | Path) -> pd.DataFrame:
        table = open_table(path)
        chosen = columns if isinstance(columns, Columns) else find_columns(table.columns, **(columns or {}))
        return _good_pairs(table, chosen, bad_rows)

    return (download(source, cache or home() / "cache", read) if is_url(source) else read(source))[:rows]


def _good_pairs(table: Table, columns: Columns, bad_rows: str) -> pd.DataFrame:
    good, named, bad = [], [], 0
    repeats_stay = bad_rows == "refuse"
    for _, pair, problems in checked_rows(table, columns):
        wrong = [p for p in problems if not (p.is_note or (repeats_stay and p.reason == "duplicate"))]
        if wrong:
            bad += 1
            named += wrong[: ROWS_NAMED + 1 - len(named)]
        else:
            good.append(pair)
    if not good and not bad:
        raise DataError("no_rows", name=table.name)
    if bad and (bad_rows == "refuse" or not good):
        more = " …" if len(named) > ROWS_NAMED else ""
        english, korean = ("; ".join(p.text(language) for p in named[:ROWS_NAMED]) + more for language in ("en", "ko"))
        raise DataError("bad_rows", name=table.name, count=bad, rows=english, rows_ko=korean)
    return pd.DataFrame(good, columns=COLUMNS, dtype="str")


def is_url(source: str) -> bool:
    """Whether `source` is to be downloaded."""
    return source.startswith(("http://", "https://"))


def download(url: str, cache: Path, read: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
    """What `read` makes of the file at `url`, which is kept in `cache`: a second call needs no network.

    It comes into the cache only when it arrived whole and could be read. Raises DataError.
    """
    target = _cached(url, cache)
    if target.is_file():
        return read(target)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        part = Path(folder) / target.name
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
        found = read(part)
        part.replace(target)
    return found


def _cached(url: str, cache: Path) -> Path:
    last_part = url.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    return cache / (hashlib.sha256(url.encode()).hexdigest()[:12] + "-" + last_part[-60:])


def is_here(name: str) -> bool:
    """Whether a dataset of DATASETS can be read without a download."""
    return not is_url(DATASETS[name]) or _cached(DATASETS[name], home() / "cache").is_file()


def keep(data: bytes, name: str, folder: Path) -> Path:
    """An uploaded file, kept in `folder` under its own name; the same bytes are kept once."""
    kept = folder / hashlib.sha256(data).hexdigest()[:12] / (Path(name).name.strip(". ") or "file")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(data)
    return kept


def as_csv(table: pd.DataFrame) -> bytes:
    """Pairs as a file that `read_pairs` reads back the same, a lone carriage return in a cell too."""
    return table.to_csv(index=False, lineterminator="\r\n").encode()


def fingerprint(table: pd.DataFrame) -> str:
    """sha256 of the pairs, the same for the same pairs in any file format."""
    return hashlib.sha256(table[COLUMNS].to_csv(index=False, lineterminator="\n").encode()).hexdigest()
