"""Who looks at the page, a visitor or the owner of the server, and which datasets are for them to see.

A visitor is known by a random cookie that page.js makes; only its hash is ever stored. The owner is whoever
gives KOCHAT_PASSWORD where that is set; else whoever sits at the machine itself. On a Space without a
password nobody is.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import ipaddress
import os
import time
from pathlib import Path

import gradio as gr

from kochat.config import home
from kochat.data.datasets import list_datasets
from kochat.errors import DataError, SettingsError
from kochat.ui.text import say

VISITOR, OWNER = "kochat_visitor", "kochat_owner"  # cookies
PROXY_HEADERS = ("x-forwarded-for", "forwarded", "x-real-ip", "via")
WRONG_PASSWORD_WAIT = 1.0  # seconds, and one at a time: nobody can try many


def password() -> str:
    """What the owner gives to be known from elsewhere; empty where there is none."""
    return os.environ.get("KOCHAT_PASSWORD", "")


def key_of(given: str) -> str:
    """What the owner's browser keeps instead of the password."""
    return hmac.new(given.encode(), b"kochat owner", hashlib.sha256).hexdigest()


def log_in(given: str) -> str:
    """The key for the owner's browser. Raises SettingsError for a wrong password."""
    if not (password() and hmac.compare_digest(given.encode(), password().encode())):
        time.sleep(WRONG_PASSWORD_WAIT)
        raise SettingsError("wrong_password")
    return key_of(given)


def is_owner(request: gr.Request) -> bool:
    """Whether this comes from whom the server belongs to."""
    if password():
        return hmac.compare_digest(request.cookies.get(OWNER, "").encode(), key_of(password()).encode())
    # A proxy on this machine would make everybody look local.
    if "SPACE_ID" in os.environ or any(header in request.headers for header in PROXY_HEADERS):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def require_owner(request: gr.Request) -> None:
    """Raise SettingsError for everybody but the owner."""
    if is_owner(request):
        return
    if password():
        raise SettingsError("owner_only")
    raise SettingsError("owner_only_no_password")


def owner_only(handler):
    """Let a handler with a gr.Request among its arguments work for the owner alone (SettingsError for others)."""

    @functools.wraps(handler)
    def wrapper(*args, **kwargs):
        require_owner(next(a for a in [*args, *kwargs.values()] if isinstance(a, gr.Request)))
        return handler(*args, **kwargs)

    return wrapper


def name_of(request: gr.Request) -> str:
    """What a visitor's folder is called: a hash, so that the disk does not hold the cookie.

    A browser that keeps no cookie is another visitor each time it opens the page.
    """
    known = request.cookies.get(VISITOR) or request.session_hash or ""
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def folder_of(request: gr.Request) -> Path:
    """Where the datasets of whoever looks at the page are."""
    return datasets() if is_owner(request) else visitors() / name_of(request)


def datasets() -> Path:
    """The folder of the owner's datasets."""
    return home() / "datasets"


def visitors() -> Path:
    """The folder with a folder for each visitor."""
    return home() / "visitors"


def datasets_of(request: gr.Request) -> dict[str, Path]:
    """The datasets that somebody may see: NAME, and for the owner VISITOR/NAME too, with the file of each."""
    found = dict(list_datasets(folder_of(request)))
    if is_owner(request) and visitors().is_dir():
        for folder in sorted(visitors().iterdir()):
            found |= {f"{folder.name}/{name}": path for name, path in list_datasets(folder).items()}
    return found


def path_of(key: str | None, request: gr.Request) -> Path:
    """The file of a dataset that somebody may see; only names count, never a path. Raises DataError."""
    path = datasets_of(request).get(key or "")
    if path is None:
        raise DataError("no_dataset", name=(key or "").rpartition("/")[2])
    return path


def shown_name(language: str, key: str) -> str:
    """How a dataset is called on the page: NAME, or "Visitor 3f2a… · NAME"."""
    visitor, _, name = key.rpartition("/")
    return say(language, "k_visitor_dataset", visitor=visitor[:4], name=name) if visitor else name
