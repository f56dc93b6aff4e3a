"""How much a visitor may ask of the server, in numbers, and what counts it. The owner has no such limits.

Knows the clock; no request and no page.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MAX_QUESTION_LENGTH = 2_000  # characters of a question to /reply
MAX_MESSAGE_MB = 1  # of a request that is no upload; a conversation goes along with each question
MAX_UPLOAD_MB = 5  # of a file
MAX_UNPACKED_MB = 50  # of a workbook
UPLOADED_AN_HOUR_MB = 50  # from an address
ALL_UPLOADED_AN_HOUR_MB = 500  # from all of them: they lie on the disk for a while
CHECK_SECONDS = 20.0  # to check a file
PLACES = 6  # of a visitor in the queue, in work or waiting
PLACES_OF_ADDRESS = 32  # a class of pupils is often behind one
REQUESTS_OF_ADDRESS = 64  # with a body, at the same time
OPEN_OF_ADDRESS = 512  # all requests at the same time; a page that is open holds two or three
BODY_PAUSE = 20.0  # seconds without a byte of a body that is on its way
BODY_SECONDS = 120.0  # for all of it
WRONG_TOKENS = 20  # from an address before it has to wait; a page with an old one sends some at once
FOLDERS_OF_ADDRESS = 40  # an hour: of visitors who teach for the first time; a class is often behind one address
MAX_KEYS = 10_000  # that are counted


class Budget:
    """So many units for each key in so many seconds, which come back evenly ("token bucket"). Thread-safe."""

    def __init__(self, units: float, seconds: float, clock: Callable[[], float] = time.monotonic):
        self.units, self.seconds, self._clock = units, seconds, clock
        self._lock, self._left = threading.Lock(), {}  # key: (units left, when)

    def take(self, key: str, units: float = 1) -> float:
        """Take units where they are there, and give 0; else the seconds until they will be, none taken."""
        now, rate = self._clock(), self.units / self.seconds
        with self._lock:
            left, at = self._left.pop(key, (self.units, now))
            left = min(self.units, left + (now - at) * rate)
            wait = max(0.0, units - left) / rate
            self._left[key] = (left if wait else left - units, now)
            while len(self._left) > MAX_KEYS:
                del self._left[next(iter(self._left))]  # the one that was seen longest ago
        return wait


class BackOff:
    """Whoever fails has to wait, twice as long each time ("exponential back-off"). Thread-safe."""

    FREE, LONGEST, FORGOTTEN = 3, 900.0, 3600.0  # failures without a wait; seconds

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._lock, self._failed = clock, threading.Lock(), {}  # key: (failures, when the last was)

    def wait(self, key: str) -> float:
        """Seconds until this key may try again."""
        with self._lock:
            failures, at = self._failed.get(key, (0, 0.0))
            pause = min(2.0 ** (failures - self.FREE), self.LONGEST) if failures >= self.FREE else 0.0
            return max(0.0, at + pause - self._clock())

    def failed(self, key: str) -> None:
        """Count a failure."""
        now = self._clock()
        with self._lock:
            failures, at = self._failed.pop(key, (0, now))
            self._failed[key] = (1 if now - at > self.FORGOTTEN else failures + 1, now)
            while len(self._failed) > MAX_KEYS:
                del self._failed[next(iter(self._failed))]

    def succeeded(self, key: str) -> None:
        """Forget its failures."""
        with self._lock:
            self._failed.pop(key, None)
