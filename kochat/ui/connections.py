"""A limit on how long the headers of a request may take, which uvicorn has not: else half a request lives for ever.

Knows uvicorn's protocol of HTTP; nothing of what is asked.
"""

from __future__ import annotations

import asyncio

import uvicorn.config
from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEADER_SECONDS = 15.0
MAX_HEADER_BYTES = 64 * 1024


class TimedProtocol(AutoHTTPProtocol):
    """A connection that is closed where no whole request comes in time, or one with endless headers."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle = self.cycle  # of the last request whose headers are whole
        if cycle is not None and not cycle.response_complete:
            self._have_headers()
            return
        self._expect_headers()
        if cycle is None or not cycle.more_body:  # else it is the rest of a body that was answered already
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_headers()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        if self._timer is None:
            self._header_bytes = 0
            self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _have_headers(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None


def limit_headers() -> None:
    """Let every server of this process that does not choose a protocol itself take this one; gradio's does not."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{TimedProtocol.__name__}"
