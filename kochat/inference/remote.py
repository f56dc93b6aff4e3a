"""`RemoteChatbot`: a chatbot that answers on another server, behind the OpenAI protocol.

vLLM, `transformers serve`, llama.cpp's server and `kochat serve` speak it. Knows HTTP and the protocol; no model, so it
can be talked to as a `Chatbot`, but not looked into.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import httpx2

from kochat.data.checks import clean, clean_label
from kochat.errors import ReplyError
from kochat.inference import sampling
from kochat.inference.reading import Reading
from kochat.labels import AUTO
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.prompt import MAX_REPLY_TOKENS

ENGINE, KEY = "KOCHAT_ENGINE", "KOCHAT_ENGINE_KEY"
TIMEOUT = httpx2.Timeout(60.0, connect=5.0)  # seconds without a byte
LIMITS = httpx2.Limits(keepalive_expiry=2.0)  # before uvicorn closes a connection, which is after 5 seconds
MAX_SECONDS = 180.0  # of a reply
MAX_REPLY_LENGTH = 2_000  # characters
TRIES, FIRST_WAIT = 3, 0.5  # seconds, doubled each time
BUSY = (408, 429, 502, 503, 504)  # that may be over soon
AT_ONCE = 16  # requests of `replies`
BETWEEN_LOOKS = 10.0  # seconds, where nobody could say what the engine serves
CANNOT = ("prompt", "predict_label", "predict_labels", "explain", "score", "scores", "examine", "calibrate", "generate")
CANNOT += ("candidates",)
log = logging.getLogger(__name__)


def is_url(source: str | os.PathLike) -> bool:
    """Whether a source is that of an engine: http://host/v1, or http://host/v1#model."""
    return re.match(r"https?://", str(source)) is not None


def load(url: str) -> RemoteChatbot:
    """The chatbot of http://host/v1 or http://host/v1#model. Raises ReplyError for what is no such address."""
    if not is_url(url):
        raise ReplyError("engine_bad_url", url=url)
    return RemoteChatbot(url)


class RemoteChatbot:
    """Talks by a server of the OpenAI protocol: `model`, or the first one that it serves.

    The label is told in `chat_template_kwargs`; under "auto" none is, and the engine decides. Which labels there are
    says the engine, or a checkpoint here that is called as the model is. There is no strength and nothing that looks
    into a model: asking for it raises ReplyError. Nothing is asked of the engine before it is needed. Safe to use from
    several threads.
    """

    retriever = None  # there are no pairs here to look anything up in

    def __init__(self, url: str):
        address, _, self._model = url.partition("#")
        key = os.environ.get(KEY, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            base = address.rstrip("/") + "/"
            self._http = httpx2.Client(base_url=base, headers=headers, timeout=TIMEOUT, limits=LIMITS)
        except httpx2.InvalidURL as error:
            raise ReplyError("engine_bad_url", url=address) from error
        self._lock, self._looked_at, self._card = threading.Lock(), -math.inf, None
        self._max_tokens = MAX_REPLY_TOKENS

    def __getattr__(self, name: str) -> NoReturn:
        if name in CANNOT:
            raise ReplyError("engine_cannot", what=name)
        raise AttributeError(name)

    @property
    def name(self) -> str:
        """The name of the model, without the folder that it lies in there; empty until the engine has said it."""
        return self._model.rstrip("/").rpartition("/")[2]

    @property
    def card(self) -> Card:
        """Its labels as far as they are known; where the engine lists no models, by the name that was given."""
        with self._lock:
            if self._card is None and time.monotonic() - self._looked_at >= BETWEEN_LOOKS:
                with contextlib.suppress(ReplyError):  # which is in the log
                    self._card = self._look()
                self._looked_at = time.monotonic()
            return self._card or self._known_here()

    @property
    def labels(self) -> list[str]:
        """The labels as far as they are known."""
        return list(self.card.labels)

    def cuts_question(self, question: str, label: str) -> bool:
        """Whether only the end of a question fits; that is not known here."""
        return False

    def reply(self, question: str, label: str = AUTO, strength: float | None = None, **drawn: Any) -> str:
        """As Chatbot.reply. Raises ReplyError, also where the engine is away."""
        return "".join(self.stream(question, label, strength, **drawn))

    def replies(self, asked: Sequence[tuple[str, str]], strength: float | None = None, **drawn: Any) -> list[str]:
        """As Chatbot.replies; the engine decodes them together if it can."""
        seed = drawn.pop("seed", None)
        seeds = [None if seed is None else (seed + i) % sampling.NUM_SEEDS for i in range(len(asked))]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            each = zip(asked, seeds, strict=True)
            return list(pool.map(lambda one: self.reply(*one[0], strength, seed=one[1], **drawn), each))

    def stream(
        self,
        question: str,
        label: str = AUTO,
        strength: float | None = None,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        rerank: bool = False,
    ) -> Iterator[str]:
        """As Chatbot.stream. Raises ReplyError, also where the engine is away."""
        drawn = sampling.checked(temperature, top_p, seed)
        if rerank:
            raise ReplyError("engine_cannot", what="rerank")
        if strength:
            raise ReplyError("engine_cannot", what="strength")
        question = clean(question)
        if not question:
            raise ReplyError("empty_question")
        label = self._own_label(label)
        if not self._model:
            self._look()
        body = {"model": self._model, "messages": [{"role": "user", "content": question}], "stream": True}
        body |= {"max_tokens": self._max_tokens, "temperature": temperature}
        if label != AUTO:
            body["chat_template_kwargs"] = {"label": label}
        if temperature:
            body |= {"top_p": top_p, "seed": drawn.seed}
        return _trimmed(self._pieces(body))

    def read(self, question: str, label: str = AUTO) -> Reading:
        """As Chatbot.read, but nothing is read: no label has a probability here."""
        return Reading({}, 0.0, None)

    def _own_label(self, label: str) -> str:
        known = {clean_label(one): one for one in self.labels}
        if label == AUTO or not known:
            return label
        if clean_label(label) not in known:
            raise ReplyError("unknown_label", label=label, known=", ".join(self.labels))
        return known[clean_label(label)]

    def _look(self) -> Card:
        """What the engine says of its models, and what is known here of the one that answers. Raises ReplyError."""
        try:
            with contextlib.closing(self._send("GET", "models", tries=1)) as response:
                served = {one["id"]: one for one in json.loads(response.read())["data"]}
            self._model = self._model or next(iter(served))
        except (httpx2.HTTPError, ValueError, KeyError, TypeError, StopIteration) as error:
            log.warning("the engine does not list its models: %r", error)
            raise ReplyError("engine_broken_off") from error
        told = served.get(self._model, {})
        if "labels" in told:  # by kochat
            with contextlib.suppress(TypeError):
                return Card(told["labels"], told.get("label_names") or {})
        return self._known_here()

    def _known_here(self) -> Card:
        folder = checkpoint.list_checkpoints().get(self.name)
        if folder is None:
            return Card()
        # Some engines would go on until no position is left.
        with contextlib.suppress(OSError, ValueError, KeyError):
            decoding = json.loads((folder / "generation_config.json").read_text("utf-8"))
            self._max_tokens = int(decoding["max_new_tokens"])
        card = checkpoint.read_card(folder)
        return Card(card.labels, card.label_names)

    def _pieces(self, body: dict[str, Any]) -> Iterator[str]:
        """The text of a reply as it comes, over at MAX_REPLY_LENGTH and MAX_SECONDS."""
        end, length, is_whole = time.monotonic() + MAX_SECONDS, 0, False
        with contextlib.closing(self._send("POST", "chat/completions", json=body)) as response:
            try:
                for event in httpx2.EventSource(response):
                    if event.data == "[DONE]" or length > MAX_REPLY_LENGTH or time.monotonic() > end:
                        return
                    told = json.loads(event.data)
                    choice = next(iter(told.get("choices") or ()), {})
                    if piece := (choice.get("delta") or {}).get("content"):
                        length += len(piece)
                        yield piece
                    if "error" in told:
                        raise ValueError(told["error"])
                    is_whole = is_whole or bool(choice.get("finish_reason"))
            except (httpx2.HTTPError, ValueError, AttributeError, TypeError) as error:
                log.warning("the engine's reply broke off: %r", error)
                raise ReplyError("engine_broken_off") from error
        if not is_whole:
            raise ReplyError("engine_broken_off")

    def _send(self, method: str, path: str, tries: int = TRIES, **content: Any) -> httpx2.Response:
        """The answer to a request, its body still to come; asked again where it may help. Raises ReplyError."""
        request, why = self._http.build_request(method, path, **content), ""
        for wait in (0, *(FIRST_WAIT * 2**i for i in range(tries - 1))):
            time.sleep(wait)
            try:
                response = self._http.send(request, stream=True)
            except (httpx2.NetworkError, httpx2.ConnectTimeout, httpx2.RemoteProtocolError) as error:
                why = repr(error)
                continue
            except httpx2.HTTPError as error:  # it was reached, and may be at work for us
                why = repr(error)
                break
            if response.status_code not in BUSY:
                return self._checked(response)
            why = f"HTTP {response.status_code}"
            response.close()
        log.warning("the engine is away: %s", why)
        raise ReplyError("engine_away")

    def _checked(self, response: httpx2.Response) -> httpx2.Response:
        if response.status_code == 200:
            return response
        with contextlib.closing(response), contextlib.suppress(httpx2.HTTPError):
            log.warning("the engine refused: HTTP %s %s", response.status_code, response.read()[:500])
        if response.status_code in (401, 403):
            raise ReplyError("engine_key", variable=KEY)
        if response.status_code == 404:
            raise ReplyError("engine_no_model", name=self.name)
        raise ReplyError("engine_refused", status=response.status_code)


def _trimmed(pieces: Iterator[str]) -> Iterator[str]:
    """The pieces of a text without the space at its ends."""
    held, has_begun = "", False
    for piece in pieces:
        held += piece
        if not has_begun:
            held = held.lstrip()
        if ready := held.rstrip():
            has_begun, held = True, held[len(ready) :]
            yield ready
