"""The owner's sessions: random tokens in the owner's browsers, of which only the hashes are kept, in memory.

A restart ends them all, and nothing of them is ever on the disk. Knows no password and no page.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

COOKIE = "kochat_owner"
LASTS = 7 * 24 * 3600  # seconds
MOST = 20  # at a time; one more ends the one that was used longest ago


@dataclass(frozen=True)
class Session:
    """One browser in which the owner is signed in. Times are seconds since 1970."""

    browser: str  # as it calls itself
    address: str
    begun: float
    used: float
    hub_token: str | None = field(default=None, repr=False)  # of who has signed in with Hugging Face
    id: str = field(default_factory=lambda: secrets.token_hex(4))  # tells it from others, and opens nothing


class Sessions:
    """All sessions of a server. Safe to be used by several threads."""

    def __init__(self, clock: Callable[[], float] = time.time):
        self._clock, self._lock = clock, threading.Lock()
        self._by_hash: dict[str, Session] = {}

    def begin(self, browser: str, address: str, hub_token: str | None = None) -> str:
        """A new session; gives its token, which nobody can be told again."""
        token, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._forget_old()
            while len(self._by_hash) >= MOST:
                del self._by_hash[min(self._by_hash, key=lambda one: self._by_hash[one].used)]
            self._by_hash[_hash(token)] = Session(browser[:200], address, now, now, hub_token)
        return token

    def find(self, token: str | None) -> Session | None:
        """The session of a token, which is used by that; None where there is none, or not any more."""
        if not token:
            return None
        with self._lock:
            self._forget_old()
            found = self._by_hash.get(_hash(token))
            if found:
                self._by_hash[_hash(token)] = found = replace(found, used=self._clock())
            return found

    def end(self, id: str) -> None:
        """Sign that browser out, at once."""
        with self._lock:
            self._by_hash = {key: one for key, one in self._by_hash.items() if one.id != id}

    def all(self) -> list[Session]:
        """Those that are on, the one used last first."""
        with self._lock:
            self._forget_old()
            return sorted(self._by_hash.values(), key=lambda one: one.used, reverse=True)

    def _forget_old(self) -> None:
        now = self._clock()
        self._by_hash = {key: one for key, one in self._by_hash.items() if now - one.begun < LASTS}


def _hash(token: str) -> str:
    # Not a slow hash as for passwords: there is nothing to guess in 256 random bits.
    return hashlib.sha256(token.encode()).hexdigest()


sessions = Sessions()  # of this server


def cookie(token: str, is_https: bool, in_frame: bool) -> str:
    """The header that keeps a token in the browser, out of the reach of scripts; an empty token takes it away.

    `in_frame`: the page is shown in a frame of another site, as a Space is.
    """
    parts = [f"{COOKIE}={token}", "Path=/", f"Max-Age={LASTS if token else 0}", "HttpOnly"]
    if is_https and in_frame:
        parts += ["Secure", "SameSite=None", "Partitioned"]
    else:
        parts += ["Secure"] * is_https + ["SameSite=Strict"]
    return "; ".join(parts)
