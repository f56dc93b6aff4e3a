"""The page's texts in Korean and English, and errors as sentences in the visitor's language.

Two ways, since gradio translates some texts in the browser and others it cannot: `t(key)` marks a text
for the browser, `say(language, key)` is the text itself, for what the server writes.
"""

from __future__ import annotations

import functools
import html
import inspect
import json
from pathlib import Path

import gradio as gr

from kochat.errors import KochatError
from kochat.files import explained

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


def _as_shown(error: KochatError | OSError, arguments) -> gr.Error | OSError:
    known = explained(error) if isinstance(error, OSError) else error
    if known is None:
        return error
    request = next((a for a in arguments if isinstance(a, gr.Request)), None)
    # The page would read the sentence as HTML.
    return gr.Error(html.escape(known.text(language_of(request))), duration=10, print_exception=False)


def shows_errors(handler):
    """Let a handler's KochatError come up on the page, as its sentence in the visitor's language.

    So does a folder that is closed to us. Works for functions and generators that take a gr.Request; any other
    exception stays as it is.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def wrapper(*args, **kwargs):
            try:
                yield from handler(*args, **kwargs)
            except (KochatError, OSError) as error:
                raise _as_shown(error, [*args, *kwargs.values()]) from error
    else:

        @functools.wraps(handler)
        def wrapper(*args, **kwargs):
            try:
                return handler(*args, **kwargs)
            except (KochatError, OSError) as error:
                raise _as_shown(error, [*args, *kwargs.values()]) from error

    return wrapper
