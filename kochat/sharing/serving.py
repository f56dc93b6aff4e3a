"""Chatbots behind the OpenAI protocol: /v1/chat/completions and /v1/models, as routes of any server of ASGI.

Knows the protocol and `Chatbot`; not where chatbots come from, nor what who asks may do (`Service`). The protocol:
https://platform.openai.com/docs/api-reference/chat. Beyond it a request may have `label` and `strength`, and an answer
says the label that it was given under. Whatever runs at the same time is decoded together, in the engine.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import anyio
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from kochat import __version__
from kochat.errors import CheckpointError, HubError, KochatError, LimitError, RequestError
from kochat.inference.sampling import NUM_SEEDS
from kochat.labels import AUTO, label_named, labels_by_name
from kochat.model.cards import Card

if TYPE_CHECKING:  # brings torch, which takes seconds
    from kochat.inference.chatbot import Chatbot
    from kochat.inference.generation import Generation

KEY = "KOCHAT_API_KEY"
MAX_BODY = 2**20  # bytes
MAX_THREADS = 64  # as many replies as are decoded together; the others wait
# What a request may ask for that a small chatbot cannot do, with what asks for nothing: anything else is refused.
NOT_OFFERED = {
    "n": (1,),
    "tools": ([],),
    "logprobs": (False,),
    "response_format": ({"type": "text"},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
}
# Of errors that have them: the status, the field that they are about, and the protocol's code.
KNOWN = {
    "api_key": (401, None, "invalid_api_key"),
    "no_checkpoint": (404, "model", "model_not_found"),
    "unknown_label": (400, "label", "invalid_value"),
    "label_too_long": (400, "label", "invalid_value"),
    "bad_temperature": (400, "temperature", "invalid_value"),
    "bad_top_p": (400, "top_p", "invalid_value"),
    "bad_strength": (400, "strength", "invalid_value"),
    "api_bad_field": (400, None, "invalid_value"),
    "api_not_offered": (400, None, "unsupported_parameter"),
    "api_no_question": (400, "messages", "invalid_value"),
    "api_only_text": (400, "messages", "invalid_value"),
    "empty_question": (400, "messages", "invalid_value"),
    "question_too_long": (413, "messages", "context_length_exceeded"),
    "too_large": (413, None, "request_too_large"),
    "too_many_at_once": (429, None, "rate_limit_exceeded"),
    "unexpected": (500, None, "server_error"),
}
log = logging.getLogger(__name__)


class Service(Protocol):
    """What the routes need of the server around them."""

    def cards(self) -> Mapping[str, Card]:
        """The cards of the chatbots that are served, by the name that a request has as `model`."""

    def bot(self, name: str) -> Chatbot:
        """The chatbot of a name. Raises CheckpointError where there is none."""

    def check(self, question: str, request: Request) -> None:
        """Raise LimitError for a question that whoever asks may not ask."""

    def replied(self, seconds: float) -> None:
        """Count a reply that took so long."""


class Loaded(Service):
    """Chatbots that are loaded, each under its name, for everybody who has the key."""

    def __init__(self, bots: Mapping[str, Chatbot]):
        self._bots = bots

    def cards(self) -> Mapping[str, Card]:
        """As Service.cards."""
        return {name: bot.card for name, bot in self._bots.items()}

    def bot(self, name: str) -> Chatbot:
        """As Service.bot."""
        if name not in self._bots:
            raise CheckpointError("no_checkpoint", path=name)
        return self._bots[name]


class Part(BaseModel):
    """A part of a message."""

    type: str
    text: str = ""


class Message(BaseModel):
    """A message of a conversation."""

    role: str
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """What it says. Raises RequestError for what is no text."""
        if not isinstance(self.content, list):
            return self.content or ""
        for part in self.content:
            if part.type != "text":
                raise RequestError("api_only_text", kind=part.type)
        return "".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """What a stream tells beside the text."""

    include_usage: bool | None = False


class CompletionRequest(BaseModel, extra="allow"):
    """The body of a request; fields that are not here are ignored, but for NOT_OFFERED."""

    model: str
    messages: list[Message]
    label: str | int | None = None
    strength: float | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    @property
    def question(self) -> str:
        """The newest message of the user: the chatbot remembers no earlier one. Raises RequestError."""
        asked = [one for one in self.messages if one.role == "user"]
        if not asked:
            raise RequestError("api_no_question")
        return asked[-1].text

    @property
    def stops(self) -> list[str]:
        """The texts before which a reply ends."""
        return [one for one in ([self.stop] if isinstance(self.stop, str) else self.stop or []) if one]

    def label_of(self, bot: Chatbot) -> str:
        """The label that is asked for: by itself, for the chat template, or by a system message that names one."""
        for given in (self.label, (self.chat_template_kwargs or {}).get("label")):
            if given not in (None, ""):
                return str(given)
        called = labels_by_name(bot.labels, bot.card.label_names)
        said = [label_named(one.text, called) for one in self.messages if one.role in ("system", "developer")]
        return next(filter(None, reversed(said)), AUTO)

    def begin(self, bot: Chatbot) -> Generation:
        """Let a chatbot answer. Raises ReplyError."""
        sampling = {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed}
        limits = {"max_tokens": self.max_completion_tokens or self.max_tokens}
        given = {name: value for name, value in {**sampling, **limits}.items() if value is not None}
        if self.seed is not None:
            given["seed"] = self.seed % NUM_SEEDS  # the protocol's are of 64 bits
        return bot.generate(self.question, self.label_of(bot), self.strength, **given)


def error_response(error: KochatError, request: Request, status: int = 0, **headers: str) -> JSONResponse:
    """An error in the protocol's form, in the language of whoever asked; its status follows from what it is."""
    usual = 500 if isinstance(error, CheckpointError | HubError) else 400
    known, field, code = KNOWN.get(error.key, (usual, None, error.key))
    status, korean = status or known, request.headers.get("accept-language", "").strip().lower().startswith("ko")
    kind = "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    told = {"message": error.text("ko" if korean else "en"), "type": kind}
    told |= {"param": field or error.values.get("field"), "code": code}
    return JSONResponse({"error": told}, status, headers)


def _check_key(request: Request) -> None:
    key = os.environ.get(KEY, "")
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    # Told in constant time; a header comes as Latin-1, whatever its bytes are.
    is_right = kind.lower() == "bearer" and hmac.compare_digest(given.strip(" ").encode("latin-1"), key.encode())
    if key and not is_right:
        raise RequestError("api_key")


async def _read(request: Request) -> CompletionRequest:
    """The body, checked. Raises RequestError and LimitError."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise LimitError("too_large", most=MAX_BODY // 2**20)
    try:
        asked = CompletionRequest.model_validate_json(bytes(body))
    except ValidationError as error:
        first, *_ = error.errors(include_url=False)
        field = ".".join(map(str, first["loc"])) or "JSON"
        raise RequestError("api_bad_field", field=field, reason=first["msg"]) from error
    for field, nothing in NOT_OFFERED.items():
        if (asked.model_extra or {}).get(field) not in (None, *nothing):
            raise RequestError("api_not_offered", field=field)
    return asked


def until(pieces: Generation, stops: list[str]) -> Iterator[str]:
    """The pieces of a text that ends before the first of some texts in it; what may begin one is held back."""
    held, most = "", max(map(len, stops), default=1) - 1
    for piece in pieces:
        held += piece
        if found := [at for stop in stops if (at := held.find(stop)) >= 0]:
            pieces.close()
            held = held[: min(found)]
            break
        if ready := held[: len(held) - most]:
            yield ready
        held = held[len(ready) :]
    if held:
        yield held


class _Completion:
    """The answer to one request, in the protocol's form."""

    def __init__(self, asked: CompletionRequest, generation: Generation):
        self._generation, self.pieces = generation, until(generation, asked.stops)
        self._common = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": asked.model}
        self._common["label"] = generation.label

    def _usage(self) -> dict[str, int]:
        read, said = self._generation.num_prompt_tokens, self._generation.num_tokens
        return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}

    @property
    def _reason(self) -> str:
        return "length" if self._generation.is_cut else "stop"

    def whole(self, text: str) -> dict[str, Any]:
        """All of it."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._reason}
        return {**self._common, "object": "chat.completion", "choices": [choice], "usage": self._usage()}

    def _chunk(self, choices: list[dict], **more: Any) -> str:
        told = {**self._common, "object": "chat.completion.chunk", "choices": choices, **more}
        return f"data: {json.dumps(told, ensure_ascii=False)}\n\n"

    def piece(self, **delta: str) -> str:
        """A piece of it, as a server-sent event."""
        return self._chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])

    def end(self, with_usage: bool) -> str:
        """What comes after the last piece."""
        last = self._chunk([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": self._reason}])
        return last + (self._chunk([], usage=self._usage()) if with_usage else "") + "data: [DONE]\n\n"

    def close(self) -> None:
        """Whoever asked has gone: let the engine go on without it."""
        self._generation.close()


class _Routes:
    """The handlers over one service."""

    def __init__(self, service: Service):
        self._service, self._places = service, anyio.CapacityLimiter(MAX_THREADS)

    async def _in_thread(self, function: Callable, *values: Any) -> Any:
        return await anyio.to_thread.run_sync(function, *values, limiter=self._places)

    async def models(self, request: Request) -> Response:
        """The chatbots that are served, or the one that is named."""
        try:
            _check_key(request)
            served, name = self._service.cards(), request.path_params.get("model")
            if name is None:
                return JSONResponse({"object": "list", "data": [_model(*one) for one in served.items()]})
            if name not in served:
                raise CheckpointError("no_checkpoint", path=name)
            return JSONResponse(_model(name, served[name]))
        except KochatError as error:
            return error_response(error, request)

    async def completions(self, request: Request) -> Response:
        """A reply, whole or as it comes."""
        start = time.monotonic()
        try:
            _check_key(request)
            asked = await _read(request)
            self._service.check(asked.question, request)
        except KochatError as error:
            return error_response(error, request)
        try:
            if not asked.stream:
                return JSONResponse(await self._in_thread(self._whole, asked, start))
            completion = await self._in_thread(self._begin, asked)
        except Exception as error:
            return error_response(_foreseen(error), request)
        told = self._events(completion, asked, start, request)
        return StreamingResponse(told, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})

    def _begin(self, asked: CompletionRequest) -> _Completion:
        return _Completion(asked, asked.begin(self._service.bot(asked.model)))

    def _whole(self, asked: CompletionRequest, start: float) -> dict[str, Any]:
        completion = self._begin(asked)
        text = "".join(completion.pieces)
        self._service.replied(time.monotonic() - start)
        return completion.whole(text)

    async def _events(
        self, completion: _Completion, asked: CompletionRequest, start: float, request: Request
    ) -> AsyncIterator[str]:
        try:
            yield completion.piece(role="assistant", content="")
            while (piece := await self._in_thread(next, completion.pieces, None)) is not None:
                yield completion.piece(content=piece)
            self._service.replied(time.monotonic() - start)
            yield completion.end(bool(asked.stream_options and asked.stream_options.include_usage))
        except Exception as error:  # too late for a status
            yield f"data: {error_response(_foreseen(error), request).body.decode()}\n\n"
        finally:
            completion.close()


def _foreseen(error: Exception) -> KochatError:
    """The same, or where nobody foresaw it a number, which the log has too."""
    if isinstance(error, KochatError):
        return error
    number = secrets.token_hex(4)
    log.error("error %s", number, exc_info=error)
    return KochatError("unexpected", number=number)


def _model(name: str, card: Card) -> dict[str, Any]:
    try:
        created = int(datetime.fromisoformat(card.created).timestamp())
    except ValueError:
        created = 0
    more = {"labels": card.chat_labels, "label_names": card.label_names}
    return {"id": name, "object": "model", "created": created, "owned_by": "kochat", **more}


def routes(service: Service) -> list[Route]:
    """The routes of the protocol, for a server of ASGI."""
    handlers = _Routes(service)
    return [
        Route("/v1/chat/completions", handlers.completions, methods=["POST"]),
        Route("/v1/models", handlers.models),
        Route("/v1/models/{model:path}", handlers.models),
    ]


def server(bots: Mapping[str, Chatbot]) -> Starlette:
    """A server of these chatbots, each under its name, with /health beside the protocol."""

    def health(request: Request) -> Response:
        return JSONResponse({"ok": True, "version": __version__, "checkpoints": list(bots)})

    return Starlette(routes=[*routes(Loaded(bots)), Route("/health", health)])
