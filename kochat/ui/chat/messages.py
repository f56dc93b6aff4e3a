"""The messages of a conversation as gr.Chatbot shows them and gives them back: made, and read.

Knows nothing of checkpoints; a message is a dict, and what it comes from rides in its metadata.
"""

from __future__ import annotations

import html
import json

from kochat.data.crisis import TURN_TO
from kochat.inference.sampling import GREEDY, Sampling
from kochat.ui.text import TEXTS
from kochat.ui.widgets import label_class

Reply = tuple[str, str, str, str]  # question, reply, label, checkpoint
# What the page says in the place of a reply.
INSTEAD = {texts["k_unsure_reply"] for texts in TEXTS.values()} | {*TURN_TO.values()}


def message(
    role: str,
    text: str,
    note: str = "",
    label: str = "",
    name: str = "",
    strength: float | None = None,
    sampling: Sampling = GREEDY,
    place: int = 0,
    reranked: bool = False,
    turn_to: str = "",
) -> dict:
    """A message for gr.Chatbot that shows `text` as it is, with a small note below, and `turn_to` below that.

    A reply's edge has the colour of its label, which is at `place` among those of the checkpoint.
    The page reads content as HTML, so it is escaped here; the raw text rides along in the metadata, and with
    a reply the label, the checkpoint, the strength and the sampling that it comes from, and whether it was chosen among
    candidates.
    """
    kind = f"note {label_class(place)}" if label else "note"
    below = [("small", kind, note), ("strong", "turn-to", turn_to)]
    below = [f'<{tag} class="{name}">{html.escape(line)}</{tag}>' for tag, name, line in below if line]
    shown = html.escape(text, quote=False) + "".join(below)
    source = json.dumps([label, name, strength, *sampling, reranked], ensure_ascii=False)
    metadata = {"log": text, **({"id": source} if label else {})}
    return {"role": role, "content": [{"type": "text", "text": shown}], "metadata": metadata}


def text_of(one: dict) -> str:
    """The raw text of a message that came back from the page."""
    raw = (one.get("metadata") or {}).get("log")
    return raw or html.unescape("".join(part["text"] for part in one["content"] if part["type"] == "text"))


def _source(reply: dict) -> list:
    return json.loads((reply.get("metadata") or {}).get("id") or '["", ""]')


def source_of(reply: dict) -> tuple[str, str]:
    """The label and the checkpoint of a reply; empty where it was stopped before it was whole."""
    label, name, *_ = _source(reply)
    return label, name


def strength_of(reply: dict) -> float | None:
    """The strength of a reply; None, the checkpoint's own, where it is not known."""
    _, _, *more = _source(reply)
    return more[0] if more else None


def sampling_of(reply: dict) -> Sampling:
    """How a reply was drawn; greedy where that is not known, as all were before it was kept."""
    return Sampling(*_source(reply)[3:6])


def is_reranked(reply: dict) -> bool:
    """Whether a reply was chosen among candidates; not where that is not known, as none was before it was kept."""
    return any(_source(reply)[6:7])


def until_last_question(history: list[dict]) -> list[dict]:
    """The conversation up to and with the last question; empty where there is none."""
    users = [i for i, one in enumerate(history) if one["role"] == "user"]
    return history[: users[-1] + 1] if users else []


def reply_at(history: list[dict], index: int) -> Reply | None:
    """The reply at a place of the conversation; None where it was stopped before it was whole."""
    label, name = source_of(history[index])
    question = next((text_of(one) for one in reversed(history[:index]) if one["role"] == "user"), None)
    return (question, text_of(history[index]), label, name) if label and question else None
