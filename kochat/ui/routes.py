"""What the server answers beside gradio's own: to pages whether there is something new, to machines whether it is well.

To programs it is a server of the OpenAI protocol. Knows the watcher and HTTP; nothing here says more than what every
visitor may see.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from kochat import __version__
from kochat.errors import LimitError
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.sharing import serving
from kochat.ui import auth, keeping, limits, models
from kochat.ui.monitor import replies, watcher

if TYPE_CHECKING:
    from kochat.inference.chatbot import Chatbot

LONGEST_WAIT = 25.0  # seconds: proxies cut off what is silent for longer
MAX_LATE = 60.0  # seconds since the last look of the watcher, which has one a second


async def changes(request: Request) -> PlainTextResponse:
    """The revision of a subject, once it is another than `since` (long polling): a page that waits costs nothing."""
    subject = request.path_params["subject"]
    if subject not in ("checkpoints", "runs"):
        return PlainTextResponse("", 404)
    since = request.query_params.get("since", "")
    change = asyncio.create_task(watcher.changed(subject, since, LONGEST_WAIT))
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((change, gone), return_when=asyncio.FIRST_COMPLETED)
        revision = change.result() if change.done() else ""  # which nobody reads any more
    finally:
        change.cancel()
        gone.cancel()
    return PlainTextResponse(revision, headers={"Cache-Control": "no-store"})


async def _gone(request: Request) -> None:
    """Return when whoever asked has closed the connection: a page that is gone must not count as one that waits."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def health(request: Request) -> JSONResponse:
    """Whether the server is well (200, else 503), its version, the checkpoints loaded, and the runs in each state.

    It is not before what KOCHAT_SYNC keeps is here again.
    """
    is_well = keeping.is_ready() and time.monotonic() - watcher.looked_at < MAX_LATE
    told = {"ok": is_well, "version": __version__, "checkpoints": models.loaded(), "runs": dict(watcher.states)}
    return JSONResponse(told, 200 if is_well else 503, headers={"Cache-Control": "no-store"})


class Page(serving.Service):
    """The chatbots of the page, for visitors within their limits; how many at once is for the middleware."""

    def cards(self) -> dict[str, Card]:
        """As Service.cards."""
        return {name: checkpoint.read_card(path) for name, path in checkpoint.list_checkpoints().items()}

    def bot(self, name: str) -> Chatbot:
        """As Service.bot."""
        return models.bot(name)

    def check(self, question: str, request: Request) -> None:
        """As Service.check."""
        if len(question) > limits.MAX_QUESTION_LENGTH and not auth.is_owner(request):
            raise LimitError("question_too_long", most=limits.MAX_QUESTION_LENGTH)

    def replied(self, seconds: float) -> None:
        """As Service.replied."""
        replies.add(seconds)


ROUTES = [*serving.routes(Page()), Route("/changes/{subject}", changes), Route("/health", health)]
