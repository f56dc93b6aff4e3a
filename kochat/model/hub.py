"""Download a model repository from the Hugging Face Hub; nothing is loaded here.

Knows huggingface_hub and its failures; every one comes out as a HubError with a sentence.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_download, set_client_factory, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils._http import default_client_factory

from kochat.errors import HubError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
SHARDS = ("model.safetensors.index.json", "model-*.safetensors")  # transformers reads weights in several files too
NEEDED = ("config.json", "tokenizer.json")
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


def bounded_client(longest: float | None = None) -> httpx2.Client:
    """A client whose requests wait at most so many seconds for a byte; by default TIMEOUT."""

    # Some of the library's requests ask for no limit, and would wait forever for a server that is silent.
    def bound(request: httpx2.Request) -> None:
        limits, most = request.extensions["timeout"], longest or TIMEOUT
        request.extensions["timeout"] = {kind: min(s or most, most) for kind, s in limits.items()}

    client = default_client_factory()
    client.event_hooks = {"request": [*client.event_hooks["request"], bound]}
    return client


def _weights_among(names: set[str]) -> list[str]:
    """Which files of weights are to be downloaded: one is enough, and safetensors cannot hold code."""
    if WEIGHTS[0] not in names and SHARDS[0] in names:
        return list(SHARDS)
    return [name for name in WEIGHTS if name in names][:1]


def _check_kind(config: Path, repo: str) -> None:
    """Raise HubError where a config.json is that of another architecture than GPT-2."""
    with contextlib.suppress(ValueError, AttributeError):  # a damaged one is named when the model is loaded
        kind = json.loads(config.read_text("utf-8")).get("model_type")
        if kind != "gpt2":
            raise HubError("not_a_gpt2", name=repo, found=kind)


def fetch(repo: str, revision: str = "main") -> Path:
    """The folder of a Hub model in the local cache, downloaded where needed.

    Where the Hub is out of reach, a copy from before is used. Raises HubError.
    """
    set_client_factory(bounded_client)
    try:
        info = HfApi().model_info(repo, revision=revision, timeout=TIMEOUT)
        names = {file.rfilename for file in info.siblings or []}
        weights = _weights_among(names)
        if missing := [name for name in NEEDED if name not in names] + (["model.safetensors"] if not weights else []):
            raise HubError("hub_incomplete", name=repo, missing=", ".join(missing))
        # What is no GPT-2 is refused before its weights, which may be gigabytes, are downloaded.
        _check_kind(Path(hf_hub_download(repo, "config.json", revision=revision)), repo)
        return Path(snapshot_download(repo, revision=revision, allow_patterns=[*WANTED, *weights]))
    except GatedRepoError as error:  # a kind of RepositoryNotFoundError
        raise HubError("hub_gated", name=repo, url=f"{constants.ENDPOINT}/{repo}") from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise HubError("hub_no_model", name=repo) from error
    except (OSError, httpx2.HTTPError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise HubError("disk_full") from error
        try:
            kept = snapshot_download(
                repo, revision=revision, allow_patterns=[*WANTED, *WEIGHTS, *SHARDS], local_files_only=True
            )
        except LocalEntryNotFoundError:
            raise HubError("hub_unreachable", name=repo) from error
        return Path(kept)
