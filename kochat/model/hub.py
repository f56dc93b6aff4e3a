"""Download a model repository from the Hugging Face Hub; nothing is loaded here.

Knows huggingface_hub and its failures; every one comes out as a HubError with a sentence.
"""

from __future__ import annotations

import contextlib
import errno
import json
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from kochat.data.hub_client import TIMEOUT, bound_requests, split_revision
from kochat.data.hub_client import looks_like_hub_id as looks_like_hub_id
from kochat.errors import HubError
from kochat.model.architectures import is_causal_lm

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


def _weights_among(names: set[str]) -> list[str]:
    """Which files of weights are to be downloaded: one is enough, and safetensors cannot hold code."""
    if WEIGHTS[0] not in names and SHARDS[0] in names:
        return list(SHARDS)
    return [name for name in WEIGHTS if name in names][:1]


def _check_kind(config: Path, repo: str) -> None:
    """Raise HubError where a config.json is that of a model that cannot be a base."""
    with contextlib.suppress(ValueError, AttributeError, TypeError):  # a damaged one is named when the model is loaded
        found = json.loads(config.read_text("utf-8"))
        if not is_causal_lm(found):
            raise HubError("not_a_causal_lm", name=repo, found=found.get("model_type"))


def fetch(source: str) -> Path:
    """The folder of a Hub model, owner/name or owner/name@revision, in the local cache, downloaded where needed.

    Where the Hub is out of reach, a copy from before is used. Raises HubError.
    """
    repo, revision = split_revision(source)
    bound_requests()
    try:
        info = HfApi().model_info(repo, revision=revision, timeout=TIMEOUT)
        names = {file.rfilename for file in info.siblings or []}
        weights = _weights_among(names)
        if missing := [name for name in NEEDED if name not in names] + (["model.safetensors"] if not weights else []):
            raise HubError("hub_incomplete", name=repo, missing=", ".join(missing))
        # What cannot be a base is refused before its weights, which may be gigabytes, are downloaded.
        _check_kind(Path(hf_hub_download(repo, "config.json", revision=revision)), repo)
        return Path(snapshot_download(repo, revision=revision, allow_patterns=[*WANTED, *weights]))
    except GatedRepoError as error:  # a kind of RepositoryNotFoundError
        raise HubError("hub_gated", name=repo, url=f"{constants.ENDPOINT}/{repo}") from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise HubError("hub_no_model", name=source) from error
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
