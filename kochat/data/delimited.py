"""CSV and its relatives: what separates the cells, whether quotes are structure, and the rows.

Knows text; no file and no columns. Raises DataError where the quotes do not match, or hide rows.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator

from kochat.data.columns import TITLE_ROWS, have_columns
from kochat.data.deadline import check_time
from kochat.errors import DataError

SAMPLE_ROWS = 100  # that tell the delimiter
DELIMITERS = (",", "\t", ";")

# How long a cell may be is for others to say. The limit is of the whole process; more is no long on Windows.
csv.field_size_limit(2**31 - 1)


def delimiter_of(sample: str) -> str:
    """What separates the cells of a CSV that begins with `sample`.

    Excel's first line `sep=;` says it. Else it stands in the header, the one row that holds names and no
    sentences (csv.Sniffer counts characters anywhere, and sentences are full of commas): the one that makes known
    names of it. Where no row has known names, it is the one that gives most rows as many cells as the first, then
    the one that gives more.
    """
    if said := _said_delimiter(sample):
        return said
    best, delimiter = (False, 0.0, 1), ","
    for candidate in DELIMITERS:
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=candidate, skipinitialspace=True)
        rows = [cells for cells in itertools.islice(reader, SAMPLE_ROWS) if any(map(str.strip, cells))]
        known = next((cells for cells in rows[: TITLE_ROWS + 1] if have_columns(cells)), None)
        width = len(known or (rows[0] if rows else [""]))
        score = known is not None, sum(len(cells) == width for cells in rows) / max(1, len(rows)), width
        if width > 1 and score > best:
            best, delimiter = score, candidate
    return delimiter


def _said_delimiter(text: str) -> str | None:
    said = re.match(r'"?sep=([^"\r\n])"?(?:[\r\n]|$)', text, re.IGNORECASE)
    return said and said[1]


def rows(
    text: Iterable[str], delimiter: str, name: str, quotes: bool = True, width: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of every row, the header being one. `quotes`: whether they enclose cells, or are text.

    Raises DataError for a quote in the wrong place, and for one that swallows what are rows of `width` cells.
    """
    lines = iter(text)
    first = next(lines, "")
    if not _said_delimiter(first):  # Excel hides that line, and does not count it
        lines = itertools.chain([first], lines)
    taken: list[str] = []  # lines of the row that is being read

    def noted() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    # Strict: a quote in the wrong place would swallow rows up to the next quote, or be lost.
    reader = csv.reader(
        noted(),
        delimiter=delimiter,
        strict=True,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        skipinitialspace=quotes,  # else the quotes after a comma and a space would be text
    )
    is_quoted = None  # whether the file quotes every cell, so that a quote is never a stray one
    for row in itertools.count(1):
        taken.clear()
        check_time()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError("bad_quote", name=name, row=row) from error
        begins_quoted = bool(taken) and taken[0].lstrip("\ufeff").startswith('"')
        if is_quoted is None and any(map(str.strip, cells)):
            is_quoted = begins_quoted
        if (
            len(taken) > 1
            and width > 1
            and not (is_quoted and begins_quoted)
            and _looks_like_rows(taken, delimiter, width)
        ):
            raise DataError("swallowed_rows", name=name, row=row, lines=len(taken))
        yield row, cells


def quotes_match(text: Iterable[str], delimiter: str, width: int) -> bool:
    """Whether the quotes of a whole text enclose cells everywhere; else they are text."""
    try:
        for _ in rows(text, delimiter, "", width=width):
            pass
    except DataError:
        return False
    return True


def _looks_like_rows(lines: list[str], delimiter: str, width: int) -> bool:
    """Whether the first and the last of these lines, between which quotes are open, are rows on their own.

    Sentences have a space after each comma, cells seldom. A row that lacks a cell may be among them.
    """
    if delimiter != "\t":
        quoted = lines[0].rpartition('"')[2], lines[-1].partition('"')[0]
        if any(0 < text.count(delimiter) == text.count(delimiter + " ") for text in quoted):
            return False
    ends = [line.rstrip("\r\n").split(delimiter) for line in (lines[0], lines[-1])]
    return all(len(cells) == width and sum(bool(cell.strip(' "')) for cell in cells) > 1 for cells in ends)
