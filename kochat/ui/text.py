"""The page's texts in Korean and English, and errors as sentences in the visitor's language.

Two ways, since gradio translates some texts in the browser and others it cannot: `t(key)` marks a text
for the browser, `say(language, key)` is the text itself, for what the server writes.
"""

from __future__ import annotations

import functools
import html
import inspect
import json
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import gradio as gr
from gradio.context import LocalContext

from kochat.config import PROJECT, home
from kochat.errors import KochatError, LimitError
from kochat.files import explained
from kochat.ui import auth

log = logging.getLogger(__name__)
MAX_TEXT = 20_000  # characters, of a box that says no limit of its own

TEXTS = {
    language: json.loads((Path(__file__).parent / "text" / f"{language}.json").read_text("utf-8"))
    for language in ("ko", "en")
}
# Keys start with k_: gradio has texts of its own, and a key like "label" would meet one of them.
i18n = gr.I18n(**TEXTS)
t = i18n


def language_of(request: gr.Request | None) -> str:
    """ "ko" or "en" by the browser's first language, the same rule as the browser's own."""
    accepted = (request.headers.get("accept-language") or "") if request else ""
    return "ko" if accepted.strip().lower().startswith("ko") else "en"


def say(language: str, key: str, **values: object) -> str:
    """The text of `key` in a language, filled in."""
    return TEXTS[language][key].format(**values)


def without_places(text: str) -> str:
    """A text that a visitor may see: where things lie on the server is left out."""
    places = {str(home()), str(PROJECT), tempfile.gettempdir(), str(Path.home()), sys.prefix}
    for place in sorted(places, key=len, reverse=True):
        if len(place) > 1:
            text = text.replace(place + os.sep, "").replace(place, "…")
    return text


def _as_shown(error: Exception, request: gr.Request | None) -> Exception:
    """What to raise instead of an error, so that the page shows its sentence; the same one, where it has none."""
    known = explained(error) if isinstance(error, OSError) else error
    if not isinstance(known, KochatError):
        return error
    told = known.text(language_of(request))
    if request is None or not auth.is_owner_themselves(request):
        told = without_places(told)
    # The page would read the sentence as HTML.
    return gr.Error(html.escape(told), duration=10, print_exception=False)


def _numbered(error: Exception, request: gr.Request | None) -> Exception:
    """The same for every error: one that nobody foresaw is a number on the page, and in the log all there is to it."""
    shown = _as_shown(error, request)
    if isinstance(shown, gr.Error):
        return shown
    number = secrets.token_hex(4)
    log.error("error %s", number, exc_info=error)
    return _as_shown(KochatError("unexpected", number=number), request)


def _mended(handler, mend, before=lambda values: None):
    """A handler (function or generator) whose errors are what `mend` makes of them and of the request.

    `before` sees what it is called with, and may raise one.
    """

    def shown_instead(error, arguments):
        request = next((a for a in arguments if isinstance(a, gr.Request)), None)
        return mend(error, request or LocalContext.request.get(None))

    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def wrapper(*args, **kwargs):
            try:
                before(args)
                yield from handler(*args, **kwargs)
            except Exception as error:
                if (shown := shown_instead(error, [*args, *kwargs.values()])) is error:
                    raise
                raise shown from error
    else:

        @functools.wraps(handler)
        def wrapper(*args, **kwargs):
            try:
                before(args)
                return handler(*args, **kwargs)
            except Exception as error:
                if (shown := shown_instead(error, [*args, *kwargs.values()])) is error:
                    raise
                raise shown from error

    return wrapper


def shows_errors(handler):
    """Let a handler's KochatError come up on the page, as its sentence in the visitor's language.

    So does a disk that is full and a folder that is closed to us. Works for functions and generators; any other
    exception stays as it is.
    """
    return _mended(handler, _as_shown)


def guard_handlers(page: gr.Blocks) -> None:
    """Let no handler get a text longer than its box holds, nor tell more of an error that nobody foresaw than a number.

    Only the browser cuts what is typed into a box; others send what they like.
    """
    for function in page.fns.values():
        if function.fn and not inspect.iscoroutinefunction(function.fn):
            function.fn = _mended(function.fn, _numbered, _lengths_of(function.inputs))


def _lengths_of(inputs: list) -> Callable[[Sequence], None]:
    most_of = [(one.max_length or MAX_TEXT) if isinstance(one, gr.Textbox) else None for one in inputs]

    def check(values: Sequence) -> None:
        for value, most in zip(values, most_of, strict=False):
            if most and isinstance(value, str) and len(value) > most:
                raise LimitError("text_too_long", most=most)

    return check
