"""JSON and Parquet: a file becomes records, and conversations become pairs, each answer with the question before it.

Knows JSON, and the two forms in which chats are kept: `messages` (role, content) and `conversations` (from, value).
Raises DataError.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from kochat.data.columns import distinct, find_columns, have_columns
from kochat.data.deadline import check_time
from kochat.data.encodings import storable
from kochat.errors import DataError

START = re.compile(r"\s*(\{|\[\s*[\[{\"\]])")
PARQUET = b"PAR1"
MAX_WHOLE_MB = 200  # of a file that cannot be read line by line
ROLES, TEXTS = ("role", "from"), ("content", "value")
ASKING = {"user", "human", "사용자"}
ANSWERING = {"assistant", "gpt", "chatgpt", "bot", "model", "챗봇"}
LOOKED_AT = 100  # records, for whether there are conversations
USER, ASSISTANT = "user", "assistant"  # the columns that turns become
Record = dict[str, Any]
Records = Iterator[tuple[int, Record]]


def from_json(text: Iterable[str], name: str) -> Records:
    """Number and record of JSON Lines (the number of the line), or of a JSON array or object (the place in it).

    Numbers stay as they are written.
    """
    lines = ((row, line) for row, line in enumerate(text, 1) if line.strip())
    row, first = next(lines, (0, ""))
    try:
        is_record = isinstance(_parsed(first), dict)
    except (ValueError, RecursionError):
        is_record = False
    second = next(lines, None)
    lines = itertools.chain([second] if second else [], lines)
    if not (is_record and second):
        whole = _whole(["\n" * max(0, row - 1), first, *_all_lines(lines, row)], name)
        yield from enumerate(whole, row if is_record else 1)
        return
    for number, line in itertools.chain([(row, first)], lines):
        check_time()
        try:
            record = _parsed(line)
            dict.items(record)  # anything else is no record
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError("bad_json", name=name, line=number) from error
        yield number, record


def _all_lines(lines: Iterator[tuple[int, str]], last: int) -> Iterator[str]:
    """The same lines with the blank ones between them, so that an error has its line."""
    for row, line in lines:
        yield "\n" * (row - last - 1) + line
        last = row


def _parsed(text: str) -> Any:
    # NaN is how pandas writes an empty cell.
    return json.loads(
        text, parse_int=str, parse_float=str, parse_constant=lambda _: None, object_pairs_hook=_with_names_of_their_own
    )


def _with_names_of_their_own(members: list[tuple[str, Any]]) -> Record:
    """An object of JSON; a name that repeats becomes "name (2)", so that no value takes another one's place."""
    names = [storable(name.strip()) for name, _ in members]
    return dict(
        zip(names if len(set(names)) == len(names) else distinct(names), (value for _, value in members), strict=True)
    )


def _whole(lines: Iterable[str], name: str) -> list[Record]:
    pieces, size = [], 0
    for piece in lines:
        size += len(piece)
        if size > MAX_WHOLE_MB * 2**20:
            raise DataError("file_too_large", name=name, most=MAX_WHOLE_MB)
        pieces.append(piece)
    try:
        records = _unwrapped(_parsed("".join(pieces)))
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError("bad_json", name=name, line=getattr(error, "lineno", 1)) from error
    for place, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise DataError("bad_json_item", name=name, item=place)
    return records


def _unwrapped(value: Any) -> list[Any]:
    """The records in an array, in an object around arrays, as pandas writes a table in any `orient`, or one record."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise ValueError("neither an array nor an object")
    arrays = [one for one in value.values() if isinstance(one, list) and one and isinstance(one[0], dict)]
    columns = list(value.values())
    if value.keys() == {"columns", "index", "data"}:
        return [dict(zip(map(str, value["columns"]), cells, strict=True)) for cells in value["data"]]
    if all(isinstance(one, dict) and have_columns(list(one)) for one in columns) and columns:
        return columns
    if len(columns) > 1 and all(isinstance(one, dict) for one in columns) and len({tuple(one) for one in columns}) == 1:
        return [{name: column[key] for name, column in value.items()} for key in columns[0]]
    are_lists = len(columns) > 1 and all(isinstance(one, list) for one in columns)
    if are_lists and not arrays and len({len(one) for one in columns}) == 1:
        return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
    is_record = have_columns(list(value)) or chat_key(value)
    return list(itertools.chain(*arrays)) if arrays and not is_record else [value]


def from_parquet(path: str | os.PathLike, name: str) -> Records:
    """Number (from 1) and record of every row of a Parquet file. Raises DataError, also without pyarrow."""
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise DataError("no_pyarrow", name=name) from error
    except Exception as error:  # pyarrow says in many ways that a file is broken
        raise DataError("damaged_table", name=name) from error
    if frame.index.names != [None]:  # a column that pandas was told to number the rows by
        frame = frame.reset_index()
    columns = distinct([storable(str(column).strip()) for column in frame.columns])
    for row, cells in enumerate(frame.itertuples(index=False, name=None), 1):
        yield row, dict(zip(columns, map(_plain_value, cells), strict=True))


def _plain_value(value: Any) -> Any:
    """A cell of Parquet as JSON would have it; numbers as text, 1.0 as 1."""
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        value = value.tolist()
    if isinstance(value, list):
        return [_plain_value(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain_value(one) for key, one in value.items()}
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return None
    return f"{value:.15g}" if isinstance(value, float) else value if isinstance(value, (bool, str)) else str(value)


def as_text(value: Any) -> str:
    """Lists and objects are no text: where one should be, the cell is empty, and whoever needs it says so."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return storable(value) if isinstance(value, str) else ""


# Chats.


def chat_key(record: Record) -> str | None:
    """The key under which a record has a conversation."""
    return next((key for key, value in record.items() if _is_chat(value)), None)


def _is_chat(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(turn, dict) and _role(turn) and _has_text(turn) for turn in value)


def _role(turn: Record) -> str:
    """Who speaks, in small letters; empty where that is not said."""
    return next((turn[key] for key in ROLES if isinstance(turn.get(key), str)), "").strip().lower()


def _has_text(turn: Record) -> bool:
    return any(turn.get(key) is not None for key in TEXTS)


def pairs_of_chat(record: Record, key: str) -> tuple[list[Record], Counter[str]]:
    """A record for every answer of a conversation, with the question just before it; the turns of each role unused.

    A question without an answer and an answer without a question, such as a greeting, are among the unused.
    """
    others = {_beside(name): value for name, value in record.items() if name != key}
    found, unused, question = [], Counter(), None
    for turn in record[key]:
        if not (isinstance(turn, dict) and _has_text(turn)):  # the call of a tool, say
            unused["?" if not isinstance(turn, dict) else _role(turn) or "?"] += 1
            continue
        role, text = _role(turn), _text_of(next(turn[one] for one in TEXTS if turn.get(one) is not None))
        if role in ASKING:
            unused.update([USER] if question is not None else [])
            question = text
        elif role in ANSWERING and question is not None:
            found.append({USER: question, ASSISTANT: text, **others})
            question = None
        else:
            unused[ASSISTANT if role in ANSWERING else role or "?"] += 1
    unused.update([USER] if question is not None else [])
    return found, unused


def _beside(name: str) -> str:
    """What a column beside a conversation is called: never like a question or an answer, which its turns are."""
    is_either = name in (USER, ASSISTANT) or any(have_columns([name, one]) for one in (USER, ASSISTANT))
    return f"{name} beside the turns" if is_either else name


def _text_of(content: Any) -> str:
    """The text of a turn: as it is, or in parts, of which pictures are none."""
    if isinstance(content, list):
        return "\n".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return content if isinstance(content, str) else ""


def numbered_pairs(records: Records, unused: Counter[str]) -> Records:
    """The same records, each conversation as its pairs, numbered from 1 on; `unused` counts the turns left out."""
    first = list(itertools.islice(records, LOOKED_AT))
    records = itertools.chain(first, records)
    if not any(chat_key(record) for _, record in first):
        return records

    def pairs() -> Iterator[Record]:
        for _, record in records:
            key = chat_key(record)
            found, left = pairs_of_chat(record, key) if key else ([_as_turns(record)], Counter())
            unused.update(left)
            yield from found

    return enumerate(pairs(), 1)


def _as_turns(record: Record) -> Record:
    """A record without a conversation among others that have one: its question and answer as turns."""
    if not have_columns(list(record)):
        return record
    columns = find_columns(list(record))
    renamed = {columns.question: USER, columns.answer: ASSISTANT}
    return {renamed.get(name, name): value for name, value in record.items()}
