"""Where somebody's taught rows are, and how much of the disk and of the labels a visitor may have."""

from __future__ import annotations

import math

from kochat.data import review, taught
from kochat.data.checks import TooLong, clean_label
from kochat.data.datasets import Dataset
from kochat.errors import DataError, LimitError
from kochat.model.cards import Card
from kochat.ui import auth, limits

_new_folders = limits.Budget(limits.FOLDERS_OF_ADDRESS, 3600)


def opened(request: auth.Request) -> Dataset | None:
    """What somebody taught, as a dataset; None where there is nothing."""
    path = taught.path_of(auth.folder_of(request))
    return Dataset(path) if path.is_file() else None


def open_to_teach(request: auth.Request, too_long: TooLong | None = None) -> Dataset:
    """The same, made where there is nothing yet. Raises LimitError for a visitor beyond the limits, DataError.

    Without its limit, somebody who comes with another cookie each time could fill the disk with folders.
    """
    folder = auth.folder_of(request)
    if not auth.is_owner(request) and not taught.path_of(folder).is_file():
        visitors = auth.visitors()
        if visitors.is_dir() and sum(1 for _ in visitors.iterdir()) >= review.MAX_FOLDERS:
            raise LimitError("no_more_visitors")
        if wait := _new_folders.take(auth.address_of(request)):
            raise LimitError("too_many_visitors", minutes=math.ceil(wait / 60))
    rows = taught.open_taught(folder, too_long)
    check_room(rows, request)
    return rows


def check_room(rows: Dataset, request: auth.Request) -> None:
    """Raise LimitError where a visitor's file of rows, with all that was ever changed in it, is too large."""
    if not auth.is_owner(request) and rows.path.stat().st_size >= review.MAX_BYTES:
        raise LimitError("no_more_changes")


def max_rows(request: auth.Request) -> int:
    """How many rows somebody may teach."""
    return taught.MAX_ROWS if auth.is_owner(request) else review.MAX_ROWS


def check_label(label: str, card: Card, request: auth.Request) -> None:
    """Raise LimitError where a visitor teaches a label that the bot does not have."""
    if not auth.is_owner(request) and clean_label(label) not in card.labels:
        raise LimitError("no_new_labels", known=", ".join(card.labels))


def check_row(rows: Dataset, row: int | None, label: str, card: Card, request: auth.Request) -> None:
    """Raise LimitError or DataError where a visitor may not write this row, a new one if it has no number."""
    if auth.is_owner(request):
        return
    check_label(label, card, request)
    check_room(rows, request)
    if row is None and rows.counts().rows >= review.MAX_ROWS:
        raise DataError("too_many_lessons", most=review.MAX_ROWS)
