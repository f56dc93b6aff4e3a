"""Who looks at the page, a visitor or the owner of the server; what each may do, and which datasets are theirs.

The owner is whoever has a session (sessions.py), begun with KOCHAT_PASSWORD or, on a Space, by signing in to Hugging
Face. With neither it is this machine's own browser. What visitors may do is KOCHAT_VISITORS. A visitor is known by a
random cookie that page.js makes; only its hash is ever stored.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import importlib.util
import ipaddress
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from gradio.utils import get_space

from kochat.config import home
from kochat.data.datasets import list_datasets
from kochat.errors import DataError, SettingsError
from kochat.ui.sessions import COOKIE, sessions

VISITOR = "kochat_visitor"  # cookie
MAY = ("chat", "teach", "all")  # each of them also what stands before it
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
# Whoever is behind a proxy is not at this machine. Each proxy adds one of these, some of their own making.
PROXY_HEADERS = {"forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "x-cluster-client-ip", "cdn-loop"}
PROXY_BEGINNINGS = ("x-forwarded-", "x-original-", "cf-", "fly-", "fastly-", "tailscale-", "ngrok-")
ORG_ROLES = ("admin", "write")  # who of an organisation may change its Spaces

# What has headers, cookies and a client: a request of starlette's, or gradio's in a handler.
Request = Any


def password() -> str:
    """What the owner gives to be known from elsewhere; empty where there is none."""
    return os.environ.get("KOCHAT_PASSWORD", "")


def is_password(given: str) -> bool:
    """Whether this is the owner's password, told in constant time; where there is none, nothing is."""
    return bool(password()) and hmac.compare_digest(given.encode("utf-8", "surrogatepass"), password().encode())


def on_space() -> bool:
    """Whether this is a Space on Hugging Face, where nobody sits at the machine."""
    return "SPACE_ID" in os.environ


def has_hugging_face() -> bool:
    """Whether one can sign in with Hugging Face: on a Space with `hf_oauth: true`, where gradio has its libraries."""
    is_offered = get_space() is not None and "OAUTH_CLIENT_ID" in os.environ
    return is_offered and all(map(importlib.util.find_spec, ("authlib", "itsdangerous")))


def owns_space(user: dict[str, Any]) -> bool:
    """Whether the Space belongs to this user of Hugging Face, or to an organisation in which they may change it.

    `user` is as OpenID Connect of Hugging Face tells it: preferred_username, and orgs with preferred_username and
    roleInOrg.
    """
    owner = os.environ.get("SPACE_AUTHOR_NAME") or os.environ.get("SPACE_ID", "").partition("/")[0]
    orgs = [org.get("preferred_username") for org in user.get("orgs") or () if org.get("roleInOrg") in ORG_ROLES]
    return bool(owner) and owner in (user.get("preferred_username"), *orgs)


def visitors_may() -> str:
    """What visitors may do: chat, teach or all. Raises SettingsError for another KOCHAT_VISITORS."""
    value = os.environ.get("KOCHAT_VISITORS") or ("chat" if on_space() else "teach")
    if value not in MAY:
        raise SettingsError(
            "bad_setting",
            field="KOCHAT_VISITORS",
            field_ko="KOCHAT_VISITORS",
            value=value,
            allowed="chat, teach or all",
            allowed_ko="chat, teach, all 가운데 하나",
        )
    return value


def same_host(origin: str, host: str) -> bool:
    """Whether a page of this Origin is one of the server that the browser calls `host`."""
    try:
        page, server = urlsplit(origin), urlsplit(f"//{host}")
        # A proxy may leave out the port of the outside.
        return page.hostname is not None and page.hostname == server.hostname and server.port in (None, page.port)
    except ValueError:
        return False


def is_local(request: Request) -> bool:
    """Whether this comes from a browser at this machine, and from no page but ours.

    Any website can have a name for 127.0.0.1 (DNS rebinding), but its browser says that name in the Host header.
    """
    headers = request.headers
    if any(name in PROXY_HEADERS or name.startswith(PROXY_BEGINNINGS) for name in map(str.lower, headers.keys())):
        return False
    if headers.get("x-gradio-user") == "mcp":  # gradio asks itself, for whomever
        return False
    host, origin = headers.get("host") or "localhost", headers.get("origin")  # every browser sends the first
    try:
        if urlsplit(f"//{host}").hostname not in LOCAL_HOSTS or (origin and not same_host(origin, host)):
            return False
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def is_owner_themselves(request: Request) -> bool:
    """Whether this comes from whom the server belongs to, whatever visitors may do."""
    if sessions.find(request.cookies.get(COOKIE)):
        return True
    return not password() and not on_space() and is_local(request)


def is_owner(request: Request) -> bool:
    """Whether this comes from somebody with the owner's rights: the owner, where visitors may do all, everybody."""
    return is_owner_themselves(request) or visitors_may() == "all"


def may_teach(request: Request) -> bool:
    """Whether whoever this comes from may teach."""
    return is_owner(request) or visitors_may() != "chat"


def require_owner(request: Request) -> None:
    """Raise SettingsError for everybody without the owner's rights."""
    if not is_owner(request):
        _refuse()


def require_owner_themselves(request: Request) -> None:
    """Raise SettingsError for everybody but the owner, whatever visitors may do."""
    if not is_owner_themselves(request):
        _refuse()


def _refuse() -> None:
    if has_hugging_face():
        raise SettingsError("owner_only_hugging_face")
    if password():
        raise SettingsError("owner_only")
    raise SettingsError("owner_only_no_password")


def require_teacher(request: Request) -> None:
    """Raise SettingsError for those who may only chat."""
    if not may_teach(request):
        raise SettingsError("only_chat")


def _only(require):
    def decorate(handler):
        @functools.wraps(handler)
        def wrapper(*args, **kwargs):
            require(next(a for a in [*args, *kwargs.values()] if isinstance(a, gr.Request)))
            return handler(*args, **kwargs)

        return wrapper

    return decorate


# Decorators that let a handler with a gr.Request among its arguments work for some alone (SettingsError for others).
owner_only = _only(require_owner)
owner_themselves_only = _only(require_owner_themselves)
teacher_only = _only(require_teacher)


def address_of(request: Request) -> str:
    """Where a request comes from, as limits count it: of IPv6 the first 64 bits, which is what one home has."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


def name_of(request: Request) -> str:
    """What a visitor's folder is called: a hash, so that the disk does not hold the cookie.

    A browser that keeps no cookie is another visitor each time it opens the page.
    """
    known = request.cookies.get(VISITOR) or request.session_hash or ""
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def folder_of(request: Request) -> Path:
    """Where the datasets of whoever looks at the page are."""
    return datasets() if is_owner(request) else visitors() / name_of(request)


def datasets() -> Path:
    """The folder of the owner's datasets."""
    return home() / "datasets"


def visitors() -> Path:
    """The folder with a folder for each visitor."""
    return home() / "visitors"


def datasets_of(request: Request) -> dict[str, Path]:
    """The datasets of whoever looks at the page, by name, with the file of each."""
    return list_datasets(folder_of(request))


def path_of(key: str | None, request: Request) -> Path:
    """The file of a dataset that somebody may see; only names count, never a path. Raises DataError."""
    path = datasets_of(request).get(key or "")
    if path is None:
        raise DataError("no_dataset", name=key or "")
    return path
