"""What every request goes through before gradio sees it: whose it is, from which page, how large, how many at once.

Each class is a middleware of ASGI with one concern; `stack` is all of them, in order. Knows HTTP and gradio's paths;
what a request means is for the handlers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections import Counter
from collections.abc import Iterable

import gradio as gr
from starlette.formparsers import MultiPartException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from kochat.errors import LimitError
from kochat.runs import library
from kochat.sharing import serving
from kochat.ui import auth, limits
from kochat.ui.sessions import COOKIE, cookie, sessions
from kochat.ui.text import language_of

API = r"(?:/.*)?/gradio_api"
UPLOAD = re.compile(rf"{API}/upload/?")
ASKS = re.compile(rf"{API}/(?:queue/join|call/.+)|/v1/chat/completions")
PROTOCOL = re.compile(r"/v1/.*")  # of OpenAI
# Routes of gradio that the page does not need: one writes a file each time, one fetches what it is told from elsewhere.
CLOSED = re.compile(rf"{API}/(?:deep_link|dev/|proxy=|file[=/]https?:).*", re.IGNORECASE)
MEGABYTE = 2**20
DRAINED = 5.0  # seconds in which a refused body is read on: a browser looks for the answer when it has sent all of it


def refusal(request: Request, status: int, error: LimitError, wait: float = 0.0) -> Response:
    """A refusal as whoever asked shows it: gradio shows the detail of JSON, and the text of what an upload gets.

    Programs that speak the OpenAI protocol get it in the form of that.
    """
    text = error.text(language_of(request))
    headers = {"Retry-After": f"{max(1, wait):.0f}"} if wait else {}
    if PROTOCOL.fullmatch(request.scope["path"]):
        return serving.error_response(error, request, status, **headers)
    if UPLOAD.fullmatch(request.scope["path"]):
        return PlainTextResponse(text, status, headers)
    return JSONResponse({"detail": text, "error": text}, status, headers)


def is_https(request: Request) -> bool:
    """Whether the browser came by https, perhaps to a proxy."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", "").split(",")[0].strip())


def owner_cookie(request: Request, token: str) -> str:
    """The header that keeps the owner's token, or takes it away."""
    return cookie(token, is_https(request), in_frame=auth.on_space())


class SameOrigin:
    """Nothing is changed for a page of another site: its POST is refused, and it cannot frame a local owner's page.

    Who is no browser sends no Origin. KOCHAT_ORIGINS names other pages that may ask, with spaces between.
    """

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request = Request(scope)
        origin = request.headers.get("origin")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and origin and not self._is_ours(origin, request):
            answer = refusal(request, 403, LimitError("foreign_origin", origin=origin))
            return await answer(scope, receive, send)
        if CLOSED.fullmatch(scope["path"]):
            return await PlainTextResponse("Not found", 404)(scope, receive, send)
        if not auth.on_space() and auth.is_owner_themselves(request):
            send = _with_header(send, b"x-frame-options", b"SAMEORIGIN")
        await self.app(scope, receive, send)

    def _is_ours(self, origin: str, request: Request) -> bool:
        if origin in os.environ.get("KOCHAT_ORIGINS", "").split():
            return True
        hosts = [request.headers.get("host", ""), *os.environ.get("SPACE_HOST", "").split(",")]
        return any(auth.same_host(origin, host.strip()) for host in hosts if host.strip())


class OwnerToken:
    """The owner's cookie: one that is not valid any more is taken away, and many wrong ones have to wait.

    Whoever has just signed in to Hugging Face, and to whom the Space belongs, gets one.
    """

    def __init__(self, app):
        self.app, self.wrong = app, limits.Budget(limits.WRONG_TOKENS, 600)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request = Request(scope)
        token = request.cookies.get(COOKIE)
        is_valid = sessions.find(token) is not None
        signed_in = scope.get("session") or {}
        if not is_valid and auth.owns_space((signed_in.get("oauth_info") or {}).get("userinfo") or {}):
            if auth.has_hugging_face() and signed_in["oauth_info"].get("expires_at", 0) > time.time():
                known = signed_in.pop("oauth_info")  # from here on it is the session that counts, and can be ended
                send = _with_cookie(send, owner_cookie(request, begin_session(request, known.get("access_token"))))
        elif token is not None and not is_valid:
            send = _with_cookie(send, owner_cookie(request, ""))
            if wait := self.wrong.take(auth.address_of(request)):
                error = LimitError("too_many_attempts", seconds=f"{max(1, wait):.0f}")
                return await refusal(request, 429, error, wait)(scope, receive, send)
        await self.app(scope, receive, send)


def begin_session(request: Request, hub_token: str | None = None) -> str:
    """A session for the browser that asks, with its owner's token of the Hub where there is one; gives its token."""
    return sessions.begin(request.headers.get("user-agent", ""), auth.address_of(request), hub_token)


class OpenRequests:
    """So many requests of an address at the same time, those with a body counted apart."""

    def __init__(self, app):
        self.app, self._open = app, Counter()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or auth.is_owner_themselves(request := Request(scope)):
            return await self.app(scope, receive, send)
        address = auth.address_of(request)
        keys = {("any", address): limits.OPEN_OF_ADDRESS}
        if scope["method"] == "POST":
            keys["body", address] = limits.REQUESTS_OF_ADDRESS
        for key, most in keys.items():
            if self._open[key] >= most:
                answer = refusal(request, 429, LimitError("too_many_at_once", most=most), wait=1)
                return await answer(scope, receive, send)
        with _counted(self._open, keys):
            await self.app(scope, receive, send)


class Bodies:
    """How large a body may be, told before it is read, and how long it may take."""

    def __init__(self, app):
        self.app = app
        self.uploaded = limits.Budget(limits.UPLOADED_AN_HOUR_MB * MEGABYTE, 3600)
        self.all_uploaded = limits.Budget(limits.ALL_UPLOADED_AN_HOUR_MB * MEGABYTE, 3600)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH", "DELETE"):
            return await self.app(scope, receive, send)
        request, is_upload = Request(scope), bool(UPLOAD.fullmatch(scope["path"]))
        trusted = auth.is_owner(request)
        most = (
            library.MAX_BYTES if trusted else MEGABYTE * (limits.MAX_UPLOAD_MB if is_upload else limits.MAX_MESSAGE_MB)
        )
        too_large = refusal(request, 413, LimitError("too_large", most=most // MEGABYTE))
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            await _drained(receive)
            return await too_large(scope, receive, send)
        if is_upload and not trusted and (answer := self._over_quota(request, declared)):
            await _drained(receive)
            return await answer(scope, receive, send)
        seconds = None if trusted else limits.BODY_SECONDS
        body = _Body(receive, send, scope, most, seconds, too_large, is_upload)
        try:
            await self.app(scope, body.receive, body.send)
        except (_Refused, MultiPartException):
            if not body.refused:
                raise

    def _over_quota(self, request: Request, declared: str) -> Response | None:
        if not declared.isdecimal():
            return refusal(request, 411, LimitError("no_length"))
        for budget, key in ((self.uploaded, auth.address_of(request)), (self.all_uploaded, "")):
            if wait := budget.take(key, int(declared)):
                return refusal(request, 429, LimitError("uploaded_enough", minutes=f"{wait / 60 + 1:.0f}"), wait)
        return None


class _Refused(Exception):
    """The body was refused while somebody read it, who need not go on."""


class _Body:
    """A body on its way: counted and timed; what is over a limit is answered here, and whoever reads it is told."""

    def __init__(self, receive, send, scope, most, seconds, too_large, is_upload):
        self._receive, self._send, self._scope, self._left = receive, send, scope, most
        self._end = time.monotonic() + seconds if seconds else None
        self._too_large, self._is_upload = too_large, is_upload
        self._whole = self._answered = self.refused = False

    async def receive(self):
        if self._whole:
            return await self._receive()
        left = min(limits.BODY_PAUSE, self._end - time.monotonic() if self._end else limits.BODY_PAUSE)
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, left))
        except TimeoutError:
            error = LimitError("body_too_slow", seconds=f"{limits.BODY_PAUSE:g}")
            await self._refuse(refusal(Request(self._scope), 408, error))
        if message["type"] == "http.disconnect":
            self._whole = True
            if self._is_upload:  # the only error after which gradio removes the part that it has written
                raise MultiPartException("the upload was broken off")
            return message
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            await self._refuse(self._too_large)
        self._whole = not message.get("more_body", False)
        return message

    async def _refuse(self, answer: Response):
        self._whole = self.refused = True
        if not self._answered:
            answer.headers["connection"] = "close"
            await answer(self._scope, self._receive, self._send)
        raise MultiPartException("refused") if self._is_upload else _Refused

    async def send(self, message):
        self._answered = True
        if not self.refused:
            await self._send(message)


class Places:
    """A few places in gradio's queue for each visitor, and for each address, however many visitors it has.

    What somebody has there is counted in the queue itself, so nothing is left behind when they go. A request of the
    OpenAI protocol waits in no queue: it has its place until it is answered.
    """

    def __init__(self, app, blocks: gr.Blocks):
        self.app, self.blocks, self._asking = app, blocks, Counter()

    async def __call__(self, scope, receive, send):
        asks = scope["type"] == "http" and scope["method"] == "POST" and ASKS.fullmatch(scope["path"])
        if not asks or auth.is_owner_themselves(request := Request(scope)):
            return await self.app(scope, receive, send)
        taken, keys = self._taken(), _keys_of(request)
        for key in keys:
            most = limits.PLACES if key[0] == "visitor" else limits.PLACES_OF_ADDRESS
            if taken[key] + self._asking[key] >= most:
                answer = refusal(request, 429, LimitError("too_many_at_once", most=most), wait=1)
                return await answer(scope, receive, send)
        with _counted(self._asking, keys):
            await self.app(scope, receive, send)

    def _taken(self) -> Counter:
        queue = self.blocks._queue
        waiting = [event for one in queue.event_queue_per_concurrency_id.values() for event in one.queue]
        working = [event for job in queue.active_jobs if job for event in job]
        return Counter(key for event in (*waiting, *working) for key in _keys_of(event.request))


class CompressedPage(GZipMiddleware):
    """Sends the page itself compressed, which gradio does with its scripts alone: it is the half of what one waits for.

    Nothing else goes through it: a download would be compressed in vain.
    """

    async def __call__(self, scope, receive, send):
        is_page = scope["type"] == "http" and scope["path"] == "/"
        await (super().__call__ if is_page else self.app)(scope, receive, send)


def _keys_of(request: Request) -> list[tuple[str, str]]:
    """What a request is counted by: the visitor's cookie, and the address; who has no cookie is their address."""
    address = auth.address_of(request)
    return [("visitor", request.cookies.get(auth.VISITOR, "") or address), ("address", address)]


@contextlib.contextmanager
def _counted(counter: Counter, keys: Iterable):
    counter.update(list(keys))
    try:
        yield
    finally:
        counter.subtract(list(keys))
        for key in keys:
            if not counter[key]:
                del counter[key]


async def _drained(receive) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAINED):
            while (await receive()).get("more_body"):
                pass


def _with_header(send, name: bytes, value: bytes):
    async def with_header(message):
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (name, value)]
        await send(message)

    return with_header


def _with_cookie(send, value: str):
    return _with_header(send, b"set-cookie", value.encode("latin-1"))


def stack(blocks: gr.Blocks) -> list[Middleware]:
    """All of them, the first one outermost."""
    return [
        Middleware(SameOrigin),
        Middleware(OwnerToken),
        Middleware(OpenRequests),
        Middleware(Bodies),
        Middleware(Places, blocks=blocks),
        Middleware(CompressedPage, compresslevel=6),
    ]
