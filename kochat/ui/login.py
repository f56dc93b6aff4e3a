"""The owner comes in and goes out: routes that give the browser a session, since only a server can hide a cookie.

POST owner/login takes {"password": …}; POST owner/logout ends the session; GET owner says whether one is on.
"""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kochat.errors import LimitError, SettingsError
from kochat.ui import auth
from kochat.ui.limits import BackOff
from kochat.ui.middleware import begin_session, owner_cookie, refusal
from kochat.ui.sessions import COOKIE, sessions
from kochat.ui.text import language_of

attempts = BackOff()  # wrong passwords of each address


async def log_in(request: Request) -> Response:
    """Begin a session for a right password.

    Nobody waits here: an address with wrong ones is sent away until its time is over, others are not held up by it.
    """
    address, language = auth.address_of(request), language_of(request)
    if wait := attempts.wait(address):
        return refusal(request, 429, LimitError("too_many_attempts", seconds=f"{max(1, wait):.0f}"), wait)
    try:
        given = str(json.loads(await request.body())["password"])
    except (ValueError, KeyError, TypeError, RecursionError):
        given = ""
    if not auth.is_password(given):
        attempts.failed(address)
        return JSONResponse({"text": SettingsError("wrong_password").text(language)}, 401)
    attempts.succeeded(address)
    answer = JSONResponse({"text": SettingsError("cookies_blocked").text(language)})  # for a browser that keeps none
    answer.raw_headers.append((b"set-cookie", owner_cookie(request, begin_session(request)).encode("latin-1")))
    return answer


async def log_out(request: Request) -> Response:
    """End the session of the browser that asks."""
    if session := sessions.find(request.cookies.get(COOKIE)):
        sessions.end(session.id)
    answer = JSONResponse({})
    answer.raw_headers.append((b"set-cookie", owner_cookie(request, "").encode("latin-1")))
    return answer


async def who(request: Request) -> Response:
    """Whether the browser that asks has a session."""
    return JSONResponse({"owner": sessions.find(request.cookies.get(COOKIE)) is not None})


ROUTES = [
    Route("/owner", who),
    Route("/owner/login", log_in, methods=["POST"]),
    Route("/owner/logout", log_out, methods=["POST"]),
]
