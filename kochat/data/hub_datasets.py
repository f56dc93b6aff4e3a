"""A dataset on the Hugging Face Hub, by its id or by its address as one copies it from the browser: the file meant.

Knows addresses, ids, revisions and the Hub's list of a dataset's files. Raises DataError.
"""

from __future__ import annotations

import json
import os
import re
import urllib.parse
import urllib.request
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from kochat.data.hub_client import bound_requests, looks_like_hub_id, split_revision
from kochat.data.remarks import listed
from kochat.errors import DataError

HUBS = ("https://huggingface.co", "https://hf.co")
FILES = (".csv", ".tsv", ".txt", ".xlsx", ".json", ".jsonl", ".parquet")
PACKED = (".gz", ".xz", ".zip")
TIMEOUT = 15  # seconds


def file_of(url: str) -> str:
    """The address of the file that `url` means, where it is a page of a dataset or of a file; any other as it is.

    Of several files it is the only one for training. Raises DataError where there is none, or more than one.
    """
    hub = next((one for one in HUBS if url.startswith(f"{one}/datasets/")), None)
    if hub is None:
        return url
    owner, _, path = urllib.parse.urlsplit(url).path.removeprefix("/datasets/").strip("/").partition("/")
    name, *rest = path.split("/")
    if rest and rest[0] == "blob":  # the page that shows a file
        return url.replace("/blob/", "/resolve/", 1)
    if not name or rest not in ([], ["tree", "main"], ["viewer"]):
        return url
    repository = f"{hub}/datasets/{owner}/{name}"
    chosen = _file_for_training(_names(hub, f"{owner}/{name}", url), url, repository)
    return f"{repository}/resolve/main/{urllib.parse.quote(chosen)}"


def is_id(source: str) -> bool:
    """Whether `source` is owner/name, or owner/name@revision, of a dataset on the Hub, and no file here."""
    return looks_like_hub_id(source) and not source.lower().endswith((*FILES, *PACKED)) and not os.path.exists(source)


def fetch(source: str) -> Path:
    """The file that is meant by the id of a dataset, in the Hub's own cache, downloaded where needed.

    Of several files it is the only one for training; the list of files is looked at before anything is downloaded.
    Where the Hub is out of reach, a copy from before is used. Raises DataError.
    """
    repo, revision = split_revision(source)
    address = f"{constants.ENDPOINT}/datasets/{repo}"
    bound_requests()
    api, asked = HfApi(), {"repo_type": "dataset", "revision": revision}
    try:
        info = api.dataset_info(repo, revision=revision)
        name = _file_for_training([one.rfilename for one in info.siblings or []], source, address)
        return Path(api.hf_hub_download(repo, name, **asked))
    except GatedRepoError as error:  # a kind of RepositoryNotFoundError
        raise DataError("hub_gated_dataset", name=repo, url=address) from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise DataError("hub_no_dataset", name=source) from error
    except (OSError, httpx2.HTTPError) as error:
        try:
            kept = Path(api.snapshot_download(repo, local_files_only=True, **asked))
        except LocalEntryNotFoundError:
            raise DataError("no_download", url=address, reason=error) from error
        names = [path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()]
        return kept / _file_for_training(names, source, address)


def _file_for_training(names: list[str], source: str, repository: str) -> str:
    """The only file of pairs among `names`, else the only one for training. Raises DataError."""
    found = [one for one in names if one.lower().endswith(FILES)]
    training = [one for one in found if re.search(r"\btrain", one)]
    chosen = found if len(found) == 1 else training
    if not found:
        raise DataError("no_hub_file", url=source)
    if len(chosen) != 1:
        raise DataError("hub_files", url=source, files=listed(found), example=f"{repository}/blob/main/{found[0]}")
    return chosen[0]


def _names(hub: str, repository: str, url: str) -> list[str]:
    """The names of a dataset's files."""
    try:
        with urllib.request.urlopen(f"{hub}/api/datasets/{repository}", timeout=TIMEOUT) as response:
            return [one["rfilename"] for one in json.load(response)["siblings"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError("no_download", url=url, reason=getattr(error, "reason", error)) from error
