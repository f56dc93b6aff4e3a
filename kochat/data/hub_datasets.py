"""The address of a dataset on the Hugging Face Hub, as one copies it from the browser: the file that is meant by it.

Knows addresses and the Hub's list of a dataset's files. Raises DataError.
"""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request

from kochat.data.remarks import listed
from kochat.errors import DataError

HUBS = ("https://huggingface.co", "https://hf.co")
FILES = (".csv", ".tsv", ".txt", ".xlsx", ".json", ".jsonl", ".parquet")
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
    found = [one for one in _names(hub, f"{owner}/{name}", url) if one.lower().endswith(FILES)]
    training = [one for one in found if re.search(r"\btrain", one)]
    chosen = found if len(found) == 1 else training
    if not found:
        raise DataError("no_hub_file", url=url)
    if len(chosen) != 1:
        raise DataError("hub_files", url=url, files=listed(found), example=f"{repository}/blob/main/{found[0]}")
    return f"{repository}/resolve/main/{urllib.parse.quote(chosen[0])}"


def _names(hub: str, repository: str, url: str) -> list[str]:
    """The names of a dataset's files."""
    try:
        with urllib.request.urlopen(f"{hub}/api/datasets/{repository}", timeout=TIMEOUT) as response:
            return [one["rfilename"] for one in json.load(response)["siblings"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError("no_download", url=url, reason=getattr(error, "reason", error)) from error
