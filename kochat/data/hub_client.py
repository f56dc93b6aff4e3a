"""How the Hugging Face Hub is asked: for how long one waits, and how a repository and its revision are written.

Knows huggingface_hub's client; asks nothing itself.
"""

from __future__ import annotations

import functools
import re

import httpx2
from huggingface_hub import set_client_factory
from huggingface_hub.utils._http import default_client_factory

TIMEOUT = 8.0  # seconds without a byte after which the Hub counts as out of reach
PATIENCE = 120.0  # the same, for what is written: the Hub may take a while over a commit of large files
LOG_OF_A_JOB = re.compile(r"/api/jobs/[^/]+/[^/]+/logs")  # in which nothing may come for as long
ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w.][\w./-]*)?", re.ASCII)


def looks_like_hub_id(source: str) -> bool:
    """Whether `source` can be owner/name, or owner/name@revision, on the Hub."""
    return ID.fullmatch(source) is not None and not source.startswith("checkpoints/")


def split_revision(source: str) -> tuple[str, str | None]:
    """owner/name and the revision (a branch, a tag or a commit) of owner/name@revision; None where none is said."""
    repo, _, revision = source.partition("@")
    return repo, revision or None


@functools.cache
def bound_requests() -> None:
    """Let all requests of huggingface_hub in this process have a limit.

    Once: a new factory closes the client that others may be using just then.
    """
    set_client_factory(_bounded_client)


def _bounded_client() -> httpx2.Client:
    # Some of the library's requests ask for no limit, and would wait forever for a server that is silent.
    def bound(request: httpx2.Request) -> None:
        is_quick = request.method in ("GET", "HEAD") and not LOG_OF_A_JOB.search(request.url.path)
        limits, most = request.extensions["timeout"], TIMEOUT if is_quick else PATIENCE
        request.extensions["timeout"] = {kind: min(s or most, most) for kind, s in limits.items()}

    client = default_client_factory()
    client.event_hooks = {"request": [*client.event_hooks["request"], bound]}
    return client
