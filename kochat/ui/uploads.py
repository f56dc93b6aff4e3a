"""Files that somebody has uploaded: read once, within a visitor's limits, and gone afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from kochat.data import workbooks
from kochat.data.deadline import time_limit
from kochat.errors import DataError
from kochat.ui import auth, limits


@contextlib.contextmanager
def read_once(path: str, request: auth.Request) -> Iterator[None]:
    """Inside, the file may be read; then it is removed. For visitors with limits on time and size (DataError)."""
    try:
        if auth.is_owner(request):
            yield
            return
        if workbooks.unpacked_bytes(Path(path)) > limits.MAX_UNPACKED_MB * 2**20:
            raise DataError("file_too_large", name=Path(path).name, most=limits.MAX_UNPACKED_MB)
        with time_limit(limits.CHECK_SECONDS):
            yield
    finally:
        Path(path).unlink(missing_ok=True)
