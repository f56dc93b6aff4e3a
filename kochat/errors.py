"""Exceptions with a sentence for people, in English and in Korean.

Every module raises these; the page and the command line show `error.text(language)`, the log keeps
the traceback. The sentences are in `sentences/`, a file a language; this file knows nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path

SENTENCES: dict[str, dict[str, str]] = {
    language: json.loads((Path(__file__).parent / "sentences" / f"{language}.json").read_text("utf-8"))
    for language in ("en", "ko")
}


class KochatError(Exception):
    """A foreseen failure. `key` names its sentence in SENTENCES, `values` fill it in."""

    def __init__(self, key: str, **values: object):
        self.key, self.values = key, values
        super().__init__(self.text("en"))

    def text(self, language: str) -> str:
        """The sentence for people; `language` is "ko" or "en"."""
        return SENTENCES[language][self.key].format(**self.values)


class DataError(KochatError):
    """The pairs cannot be read or used."""


class SettingsError(KochatError):
    """A setting is out of its range."""


class CheckpointError(KochatError):
    """A checkpoint cannot be found, read, named or written."""


class HubError(KochatError):
    """The Hugging Face Hub did not give what was asked."""


class RunError(KochatError):
    """A run cannot be started, found or finished."""


class LimitError(KochatError):
    """Somebody asked for more than a visitor may, or from where nobody may."""


class ReplyError(KochatError):
    """A reply cannot be given to this question or label."""


class RequestError(KochatError):
    """A request of the OpenAI protocol cannot be answered as it is."""
