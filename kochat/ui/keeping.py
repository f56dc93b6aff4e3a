"""What of this server outlives a restart: KOCHAT_SYNC for the page, and what its owner, and nobody else, is told of it.

Knows the sync of this process; how things are copied is `sharing/sync.py`'s business.
"""

from __future__ import annotations

import html
import os
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import gradio as gr

from kochat.config import SPACE_DISK, home
from kochat.data.store import SUFFIX
from kochat.sharing import versions
from kochat.ui import auth
from kochat.ui.monitor import watcher
from kochat.ui.text import language_of, say
from kochat.ui.widgets import PRIVATE

if TYPE_CHECKING:  # brings huggingface_hub, for those who keep something elsewhere
    from kochat.sharing.sync import Sync

MAX_NAMES = 5  # of chatbots that are listed
_sync: Sync | None = None


def start() -> None:
    """Bring back what was made before; then copy what is made, where KOCHAT_SYNC says where to."""
    global _sync
    if not (setting := os.environ.get("KOCHAT_SYNC", "").strip()):
        return
    from kochat.sharing.sync import sync_of

    _sync = sync_of(setting)
    _sync.start()
    if threading.current_thread() is threading.main_thread():
        # As Ctrl+C does: the server ends, and then there is time for `stop`.
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def stop() -> None:
    """Copy what has changed since the last time."""
    if _sync:
        _sync.end()


def is_ready() -> bool:
    """Whether all that was made before is here."""
    return _sync is None or _sync.is_brought


def notice() -> None:
    """Let what the watcher has seen be copied now, where it is a new checkpoint."""
    if _sync:
        _sync.notice(watcher.revision("checkpoints"))


def status(language: str) -> str:
    """In a few words where all of it is copied to, and when that was; why not, where it is not."""
    if _sync is None:
        return "–"
    if _sync.failure:
        return _sync.failure.text(language)
    minutes = int((time.time() - (_sync.copied_at or time.time())) / 60)
    return say(language, "k_kept_at", target=_sync.target.name, minutes=minutes)


def warnings(language: str) -> list[str]:
    """What the owner has to know: each a text that is not HTML yet."""
    if _sync is None:
        return [_what_goes(language)] if auth.on_space() and not _lasts() else []
    told = []
    if _sync.failure:
        key = "k_keep_fails" if _sync.is_brought else "k_bring_fails"
        minutes = int((time.time() - _sync.failed_at) / 60)
        why = _sync.failure.text(language)
        told.append(say(language, key, target=_sync.target.name, minutes=minutes, why=why))
    if _sync.unreadable:
        told.append(say(language, "k_keep_unreadable", names=", ".join(_sync.unreadable)))
    return told


def _what_goes(language: str) -> str:
    items = [item.split("/") for item in versions.items()]
    count = Counter(kind for kind, *_, name in items if kind != "visitors" or name.endswith(SUFFIX))
    chatbots = [name for kind, name, *_ in items if kind == "checkpoints"]
    keys = {
        "checkpoints": "k_goes_checkpoints",
        "datasets": "k_goes_datasets",
        "runs": "k_goes_runs",
        "visitors": "k_goes_visitors",
    }
    names = ", ".join(chatbots[:MAX_NAMES] + ["…"] * (len(chatbots) > MAX_NAMES))
    parts = [say(language, key, n=count[kind], names=names) for kind, key in keys.items() if count[kind]]
    made = say(language, "k_goes_made", made=", ".join(parts)) + " " if parts else ""
    return say(language, "k_goes", made=made)


def _lasts() -> bool:
    """Whether the home is on a disk that a Space keeps, as far as that can be told."""
    chosen = "KOCHAT_HOME" in os.environ
    return home() == SPACE_DISK or (chosen and any(map(os.path.ismount, [home(), *home().parents[:-1]])))


def show(request: gr.Request) -> gr.HTML:
    """The warnings, for the owner."""
    told = warnings(language_of(request)) if auth.is_owner_themselves(request) else []
    text = "".join(f'<p class="banner bad">{html.escape(one)}</p>' for one in told)
    return gr.HTML(text, visible=bool(told))


def build() -> gr.HTML:
    """The place for the warnings."""
    return gr.HTML(visible=False, elem_id="keeping")


def watch(page: gr.Blocks, part: gr.HTML, *tabs: gr.Tab) -> None:
    """Show them when the page is opened, and when one of these tabs is."""
    page.load(show, None, part, queue=False, **PRIVATE)
    for tab in tabs:
        tab.select(show, None, part, queue=False, **PRIVATE)
