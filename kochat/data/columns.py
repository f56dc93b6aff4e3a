"""Which columns of a table are the question, the answer and the label, told by their names; and where its header is.

Knows names and rows of texts; no file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from kochat.data.checks import clean, clean_label
from kochat.data.remarks import Remark, listed
from kochat.errors import DataError
from kochat.labels import is_plain_column

# How people name the columns, the surest first; compared without case, spaces and what is in brackets.
QUESTION_NAMES = "q question questions 질문 질의 문의 발화 user human prompt instruction input source 사용자 입력"
ANSWER_NAMES = "a answer answers 답변 답 대답 응답 bot assistant response reply completion output target 챗봇 출력"
LABEL_NAMES = (
    "label labels 라벨 레이블 감정 emotion sentiment category class intent style kind 분류 카테고리 종류 구분 "
    "의도 말투 sheet"
)
KNOWN_QUESTIONS, KNOWN_ANSWERS = frozenset(QUESTION_NAMES.split()), frozenset(ANSWER_NAMES.split())
SHEET = "sheet"  # the column with the name of the sheet, where several are read
# Alpaca's: the instruction is often the same in many rows, and what it is about stands in a column of its own.
CONTEXT_OF = {"instruction": "input"}
MAX_NAME_SHOWN, MAX_NAMES_SHOWN = 40, 12
NO_LABEL = re.compile(r"\d{3}|\d[-./:]\d")  # a number or a date
MAX_LIKELY_LABEL, MAX_LIKELY_LABELS = 20, 12  # characters of one, how many
TITLE_ROWS = 10  # above a header, at most
NUMBERED = re.compile(r"#?([1-9]\d{0,3})")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are the question, the answer and the label; without one, every row has `one_label`.

    `context` is joined to the question, on a line of its own.
    """

    question: str
    answer: str
    label: str | None = None
    one_label: str = "기본"
    context: str | None = None

    def pairs(
        self, frame: pd.DataFrame, folded: dict[str, str] | None = None
    ) -> Iterator[tuple[int, tuple[str, str, str]]]:
        """Number and pair (Q, A, label; clean) of every row of a table that is not blank.

        In `folded` every label that is written in another way gets its own one.
        """
        questions, answers = (map(clean, frame[one]) for one in (self.question, self.answer))
        contexts = map(clean, frame[self.context]) if self.context else [""] * len(frame)
        labels = list(map(clean_label, frame[self.label] if self.label else [self.one_label] * len(frame)))
        if self.label and folded is not None:
            written = zip(map(clean, frame[self.label]), labels, strict=True)
            folded |= {as_written: label for as_written, label in written if as_written != label}
        for row, question, context, answer, label in zip(
            frame.index.tolist(), questions, contexts, answers, labels, strict=True
        ):
            question = f"{question}\n{context}" if question and context else question or context
            if question or answer or (self.label and label):
                yield row, (question, answer, label)

    def is_header(self, question: str, answer: str) -> bool:
        """Whether a clean row is the header once more, this one's or another file's."""
        if (question, answer) == (clean(self.question), clean(self.answer)):
            return True
        # Not `_plain`, which would take longer than all else that is done with a row.
        return question.casefold() in KNOWN_QUESTIONS and answer.casefold() in KNOWN_ANSWERS

    def remarks(self, names: Sequence[str]) -> list[Remark]:
        """What is done with the other columns of a table."""
        used = {self.question, self.answer, self.label, self.context}
        said = [Remark("said_joined", question=self.question, context=self.context)] if self.context else []
        unused = [name for name in names if name not in used and name != SHEET]
        return said + ([Remark("said_unused_columns", columns=listed(unused))] if unused else [])


def find_columns(
    names: Sequence[str], question: str | None = None, answer: str | None = None, label: str | None = None
) -> Columns:
    """The columns of a table by their names; those that are given, by name or by number from 1 on, are taken.

    Without a header the first is the question, the second the answer and a third and last one the label.
    Raises DataError where one is given that is not there, question or answer cannot be told, or both are the same.
    """
    chosen = {"Q": _given(names, question), "A": _given(names, answer), "label": _given(names, label)}
    missing = [name for name in chosen.values() if name and name not in names]
    free = {_plain(name): name for name in reversed(names) if name not in chosen.values()}  # the first of several
    in_order = dict(zip("QA", names, strict=False)) | ({"label": names[2]} if len(names) == 3 else {})
    guessed = in_order if _is_numbered(names) and len(names) in (2, 3) and not any(chosen.values()) else {}
    for column, known in (("Q", QUESTION_NAMES), ("A", ANSWER_NAMES), ("label", LABEL_NAMES)):
        found = next((free[name] for name in known.split() if name in free), None)
        chosen[column] = chosen[column] or guessed.get(column) or found
    missing = missing or [column for column in ("Q", "A") if not chosen[column]]
    if missing:
        shown = ", ".join(name[:MAX_NAME_SHOWN] for name in names[:MAX_NAMES_SHOWN])
        raise DataError("no_column", missing=", ".join(missing), found=shown)
    if chosen["Q"] == chosen["A"]:
        raise DataError("same_column", name=chosen["Q"][:MAX_NAME_SHOWN])
    context = None if question else free.get(CONTEXT_OF.get(_plain(chosen["Q"])))
    return Columns(*chosen.values(), context=context if context not in chosen.values() else None)


def likely_label(frame: pd.DataFrame, columns: Columns) -> str | None:
    """The column that may be the label though its name does not tell: the first with few distinct short values.

    `frame` holds the first rows of the table. None where each column is full of different or long texts.
    """
    for name in frame.columns:
        if name in (columns.question, columns.answer, columns.context):
            continue
        values = [text for text in map(clean, frame[name]) if text]
        distinct_values = set(values)
        is_short = all(len(text) <= MAX_LIKELY_LABEL and not NO_LABEL.search(text) for text in distinct_values)
        # Each stands a few times, and nearly every row has one.
        repeats = 2 <= len(distinct_values) <= min(MAX_LIKELY_LABELS, len(values) / 2)
        if is_short and repeats and len(values) >= 0.9 * len(frame):
            return name
    return None


def label_header(name: str | None) -> str:
    """The header of the labels in a file of ours: every reader finds it, and in brackets it has the data's own name."""
    if not name or is_plain_column(name):
        return "label"
    inside = re.sub(r"[()\[\]]", " ", name).strip()
    return f"label ({inside})"


def own_label_name(header: str | None) -> str | None:
    """What the data call their labels; out of `label_header` what was put in."""
    found = re.fullmatch(r"label \((.+)\)", header or "")
    return found[1] if found else header


def find_question(names: Sequence[str]) -> str | None:
    """The column of a table that is the question by its name; None where none is."""
    plain = {_plain(name): name for name in reversed(names)}
    return next((plain[name] for name in QUESTION_NAMES.split() if name in plain), None)


def have_columns(names: Sequence[str]) -> bool:
    """Whether these names of columns say which is the question and which the answer."""
    try:
        find_columns(distinct(names))
    except DataError:
        return False
    return True


def is_number(column: str | None) -> bool:
    """Whether a column is chosen by its number."""
    return NUMBERED.fullmatch(column or "") is not None


def find_header(rows: Sequence[tuple[int, list[str]]]) -> int:
    """The number of the row, among the first ones with something in them, that has the names of the columns.

    Above it there may be a title and other lines, with fewer cells than it has. Where no row tells, it is the first.
    """
    widest = 0
    for row, cells in rows[: TITLE_ROWS + 1]:
        filled = sum(bool(cell.strip()) for cell in cells)
        if filled > widest and have_columns(cells):
            return row
        widest = max(widest, filled)
    return rows[0][0]


def looks_like_data(names: Sequence[str]) -> bool:
    """Whether the first row of a table is no header: names are short, and neither numbers nor sentences."""
    return any(
        re.fullmatch(r"[\d.,]+|.*[.?!~…]|.{31,}|(\S+\s+){3,}\S+", name.strip(), re.DOTALL) is not None for name in names
    )


def distinct(header: Sequence[str]) -> list[str]:
    """Every column by a name of its own: a second Q is "Q (2)", the third column without a name "#3"."""
    names: dict[str, int] = {}  # and the number that the next one of this name gets
    for place, cell in enumerate(header, 1):
        name = first = clean(cell) or f"#{place}"
        while name in names:
            name = f"{first} ({names[first]})"
            names[first] += 1
        names[name] = 2
    return list(names)


def numbered(width: int) -> list[str]:
    """The names of the columns of a table without a header."""
    return [f"#{place}" for place in range(1, width + 1)]


def _is_numbered(names: Sequence[str]) -> bool:
    return list(names) == numbered(len(names))


def _given(names: Sequence[str], column: str | None) -> str | None:
    """The name of a column that is given by its name, in any normal form, or by its number."""
    if column is None or column in names:
        return column
    if clean(column) in names:
        return clean(column)
    number = NUMBERED.fullmatch(column)
    return names[int(number[1]) - 1] if number and int(number[1]) <= len(names) else column


def _plain(name: str) -> str:
    return re.sub(r"\(.*?\)|\[.*?\]|[\W_]", "", unicodedata.normalize("NFKC", name).casefold())
