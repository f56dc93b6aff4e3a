"""Download a model repository from the Hugging Face Hub; nothing is loaded here.

Knows huggingface_hub and its failures; every one comes out as a HubError with a sentence.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, set_client_factory, snapshot_download
from huggingface_hub.errors import (
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils._http import default_client_factory

from kochat.errors import HubError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
WANTED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "kochat.json",
    "pairs.csv.xz",
    "validation.csv.xz",
)
TIMEOUT = 8.0  # seconds without a byte after which the Hub counts as out of reach


def looks_like_hub_id(source: str) -> bool:
    """Whether `source` can be owner/name on the Hub."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", source) is not None and not source.startswith("checkpoints/")


def _bounded_client() -> httpx2.Client:
    # Some of the library's requests ask for no limit, and would wait forever for a server that is silent.
    def bound(request: httpx2.Request) -> None:
        limits = request.extensions["timeout"]
        request.extensions["timeout"] = {kind: min(s or TIMEOUT, TIMEOUT) for kind, s in limits.items()}

    client = default_client_factory()
    client.event_hooks = {"request": [*client.event_hooks["request"], bound]}
    return client


def fetch(repo: str, revision: str = "main") -> Path:
    """The folder of a Hub model in the local cache, downloaded where needed.

    Where the Hub is out of reach, a copy from before is used. Raises HubError.
    """
    set_client_factory(_bounded_client)
    try:
        info = HfApi().model_info(repo, revision=revision, timeout=TIMEOUT)
        names = {file.rfilename for file in info.siblings or []}
        # One file of weights is enough, and safetensors cannot hold code.
        weights = next((name for name in WEIGHTS if name in names), WEIGHTS[0])
        return Path(snapshot_download(repo, revision=revision, allow_patterns=[*WANTED, weights]))
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise HubError("hub_no_model", name=repo) from error
    except (OSError, httpx2.HTTPError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise HubError("disk_full") from error
        try:
            kept = snapshot_download(repo, revision=revision, allow_patterns=[*WANTED, *WEIGHTS], local_files_only=True)
        except LocalEntryNotFoundError:
            raise HubError("hub_unreachable", name=repo) from error
        return Path(kept)
