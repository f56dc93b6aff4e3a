"""Pairs: a file, a URL or the name of a known dataset becomes a table of Q, A and label.

Knows pandas and files; no token and no model. Every refusal is a DataError with a sentence.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import shutil
import tempfile
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from kochat.config import home
from kochat.data import hub_datasets
from kochat.data.checks import Problem, TooLong, fold, problems_of
from kochat.data.columns import Columns as Columns
from kochat.data.columns import find_columns as find_columns
from kochat.data.columns import find_question as find_question
from kochat.data.columns import is_number, label_header, own_label_name
from kochat.data.deadline import check_time
from kochat.data.remarks import Remark, listed
from kochat.data.splits import MIN_PAIRS_TO_WITHHOLD as MIN_PAIRS_TO_WITHHOLD
from kochat.data.splits import split_by_question as split_by_question
from kochat.data.splits import withheld_shares as withheld_shares
from kochat.data.tables import ROWS_NAMED, Table, open_table
from kochat.errors import DataError

COLUMNS = ["Q", "A", "label"]
Pair = tuple[str, str, str]  # question, answer, label
CHATBOT_DATA_URL = "https://raw.githubusercontent.com/songys/Chatbot_data/master/ChatbotData.csv"
SAMPLES = Path(__file__).parent / "samples"
DATASETS = {
    "ChatbotData": CHATBOT_DATA_URL,
    "emotions": str(SAMPLES / "emotions.csv"),
    "jobs": str(SAMPLES / "jobs.csv"),
    "everyday": str(SAMPLES / "everyday.csv"),
}
DOWNLOAD_TIMEOUT = 20  # seconds without a byte
log = logging.getLogger(__name__)


def open_pairs(
    source: str | os.PathLike,
    question: str | None = None,
    answer: str | None = None,
    label: str | None = None,
    sheet: str | None = None,
    header: int | None = None,
) -> tuple[Table, Columns]:
    """The table in a file and its columns, as far as they are not given. Raises DataError.

    Columns that are given by their numbers, where the first row looks like data, say that there is no header.
    """
    table = open_table(source, sheet=sheet, header=header)
    given = [one for one in (question, answer, label) if one is not None]
    if header is None and table.seems_without_header and any(map(is_number, given)):
        table = open_table(source, sheet=sheet, header=0)
    try:
        return table, find_columns(table.columns, question, answer, label)
    except DataError as error:
        raise explained(error, table) from error


def explained(error: DataError, table: Table) -> DataError:
    """Why there is no such column, where that can be told."""
    if error.key == "no_column" and table.seems_without_header:
        return DataError("no_header", name=table.name, row=listed(table.columns))
    if error.key == "no_column" and len(table.all_sheets) > 1:
        return DataError(
            "no_column_in_sheets",
            missing=error.values["missing"],
            found=error.values["found"],
            sheets=listed(table.all_sheets),
        )
    return error


def checked_rows(
    table: Table, columns: Columns, too_long: TooLong | None = None, folded: dict[str, str] | None = None
) -> Iterator[tuple[int, tuple[str, str, str], list[Problem]]]:
    """Number, pair (Q, A, label; clean) and problems of every row that is not blank. Raises DataError.

    In `folded` every label that is written in another way gets its own one.

    What repeats is told by 64-bit hashes: of a million rows, one is told wrongly once in 40 million files.
    """
    first_pair: dict[int, int] = {}
    first_answer: dict[int, int] = {}
    for chunk in table.chunks():
        for row, (question, answer, label) in columns.pairs(chunk.frame, folded):
            check_time()
            if columns.is_header(question, answer):
                yield row, (question, answer, label), [Problem(row, "", "repeated_header")]
                continue
            problems = [Problem(row, column, reason) for column, reason in problems_of(question, answer, label)]
            if not problems and too_long and too_long([(question, answer, label)])[0]:
                problems = [Problem(row, "", "too_long")]
            if not problems:
                asked_as = fold(question)
                same = first_pair.setdefault(hash((asked_as, fold(answer), label)), row)
                asked = first_answer.setdefault(hash((asked_as, label)), row)
                if same != row:
                    problems = [Problem(row, "", "duplicate", same)]
                elif asked != row:
                    problems = [Problem(row, "", "other_answer", asked)]
            yield row, (question, answer, label), problems


@dataclass
class Report:
    """What a table holds: rows, those that are bad, those with a note, and how many have each label and reason.

    `labels` are those of the good rows; rows without a label column have one. `problems` are the first ones,
    `remarks` what was done with the file.
    """

    table: Table
    columns: Columns
    rows: int = 0
    bad: int = 0
    notes: int = 0
    labels: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        names = ("name", "format", "encoding", "delimiter", "columns", "header")
        told = {name: getattr(self.table, name) for name in names}
        told["sheets"] = [one.name for one in self.table.sheets]
        counts = {"rows": self.rows, "good": self.rows - self.bad, "bad": self.bad, "notes": self.notes}
        tallies = {name: dict(getattr(self, name).most_common()) for name in ("labels", "reasons")}
        mapping = {"question": self.columns.question, "answer": self.columns.answer, "label": self.columns.label}
        told |= {"mapping": mapping, "remarks": [one.to_dict() for one in self.remarks]}
        return {**told, **counts, **tallies, "problems": [asdict(one) for one in self.problems]}


def examine(table: Table, columns: Columns, most: int | None = None, too_long: TooLong | None = None) -> Report:
    """Check every row of a table; keep the first `most` problems, count all. Raises DataError.

    `too_long` says which rows a checkpoint cannot take whole.
    """
    report = Report(table, columns, remarks=said_of(table, columns))
    folded: dict[str, str] = {}
    for _, pair, problems in checked_rows(table, columns, too_long, folded):
        bad = any(not problem.is_note for problem in problems)
        report.rows += 1
        report.bad += bad
        report.notes += bool(problems) and not bad
        report.labels.update([] if bad else [pair[2]])
        report.reasons.update({problem.reason for problem in problems})
        report.problems += problems[: None if most is None else max(0, most - len(report.problems))]
    report.remarks += said_of_labels(folded)
    return report


def header_of(text: str | None) -> int | None:
    """The row of a header as it is typed: empty where it is to be found. Raises DataError."""
    if not (text or "").strip():
        return None
    if not text.strip().isdecimal():
        raise DataError("bad_header", row=text)
    return int(text)


def said_of(table: Table, columns: Columns) -> list[Remark]:
    """What is done with a table and its columns without being asked for."""
    return [*table.remarks, *columns.remarks(table.columns)]


def said_of_labels(folded: dict[str, str]) -> list[Remark]:
    """Which labels are written in several ways."""
    pairs = listed(f"{written} → {label}" for written, label in folded.items())
    return [Remark("said_labels_folded", labels=pairs)] if folded else []


def read_pairs(
    source: str | os.PathLike,
    rows: int | None = None,
    cache: Path | None = None,
    columns: Columns | Mapping[str, str | None] | None = None,
    bad_rows: str = "refuse",
    sheet: str | None = None,
    header: int | None = None,
) -> pd.DataFrame:
    """The pairs of `source` as columns Q, A, label (all str, outer spaces removed), one row each.

    `source` is a file that tables.py reads, a URL of one, a dataset on the Hub (owner/name, owner/name@revision, or its
    page), or a name in DATASETS;
    `rows` keeps only the first pairs (notebook, cell 8); a download is kept in `cache` (default: `cache/` under
    KOCHAT_HOME); `columns`, by "question", "answer" and "label", by name or number, are found by their names where not
    given; `sheet` and `header` are as `open_table` takes them. Bad rows are named in a DataError ("refuse") or left out
    ("skip"); pairs that repeat stay under "refuse", since their weight may be meant, and a header in the middle never
    does. What is done with the file without being asked for is logged as a warning. Raises DataError.
    """
    source = DATASETS.get(str(source), str(source))

    def read(path: str | Path) -> pd.DataFrame:
        if isinstance(columns, Columns):
            table, chosen = open_table(path, sheet=sheet, header=header), columns
        else:
            table, chosen = open_pairs(path, **(columns or {}), sheet=sheet, header=header)
        return _good_pairs(table, chosen, bad_rows)

    if hub_datasets.is_id(source):
        return read(hub_datasets.fetch(source))[:rows]
    return (download(source, cache or home() / "cache", read) if is_url(source) else read(source))[:rows]


def _good_pairs(table: Table, columns: Columns, bad_rows: str) -> pd.DataFrame:
    good, named, bad = [], [], 0
    repeats_stay = bad_rows == "refuse"
    folded: dict[str, str] = {}
    for _, pair, problems in checked_rows(table, columns, folded=folded):
        if [one.reason for one in problems] == ["repeated_header"]:
            log.warning("%s: %s", table.name, problems[0].text("en"))
            continue
        wrong = [p for p in problems if not (p.is_note or (repeats_stay and p.reason == "duplicate"))]
        if wrong:
            bad += 1
            named += wrong[: ROWS_NAMED + 1 - len(named)]
        else:
            good.append(pair)
    for remark in (*said_of(table, columns), *said_of_labels(folded)):
        log.warning("%s: %s", table.name, remark.text("en"))
    if not good and not bad:
        raise DataError("no_rows", name=table.name)
    if bad and (bad_rows == "refuse" or not good):
        more = " …" if len(named) > ROWS_NAMED else ""
        english, korean = ("; ".join(p.text(language) for p in named[:ROWS_NAMED]) + more for language in ("en", "ko"))
        raise DataError("bad_rows", name=table.name, count=bad, rows=english, rows_ko=korean)
    frame = pd.DataFrame(good, columns=COLUMNS, dtype="str")
    frame.attrs["label_column"] = own_label_name(columns.label)
    return frame


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
            quoted = urllib.parse.quote(hub_datasets.file_of(url), safe="%/:?#[]@!$&'()*+,;=~")
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
    """Pairs as a file that `read_pairs` reads back the same, a lone carriage return in a cell too.

    What the data call their labels goes with them.
    """
    table = table.rename(columns={"label": label_header(table.attrs.get("label_column"))})
    return table.to_csv(index=False, lineterminator="\r\n").encode()


def fingerprint(table: pd.DataFrame) -> str:
    """sha256 of the pairs, the same for the same pairs in any file format."""
    return hashlib.sha256(table[COLUMNS].to_csv(index=False, lineterminator="\n").encode()).hexdigest()
