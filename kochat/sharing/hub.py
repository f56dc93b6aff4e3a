"""A checkpoint on the Hugging Face Hub: as a model repository, or as a web page in a static Space.

Knows the requests of huggingface_hub that write, and what may go wrong with them: each failure is a HubError with a
sentence. What is written is made before the first request, and goes up in one commit, so nothing is ever half there.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo, SpaceInfo, set_client_factory
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OIDCError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from kochat.errors import HubError
from kochat.files import is_disk_full
from kochat.model import checkpoint as checkpoints
from kochat.model.cards import Card
from kochat.model.hub import bounded_client
from kochat.model.kept_pairs import PAIRS_FILE, VALIDATION_FILE
from kochat.sharing.hub_cards import TAG, model_readme, space_readme

MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
PAIR_FILES = (PAIRS_FILE, VALIDATION_FILE)
PATIENCE = 120.0  # seconds without a byte; the Hub may take a while over a commit of large files
KINDS = {"model": "", "space": "spaces/"}  # and where their addresses begin


@dataclass(frozen=True)
class Published:
    """What became of a repository, or in a dry run would."""

    url: str
    is_private: bool
    is_new: bool  # it was not there before
    is_changed: bool  # there was something to write
    files: tuple[str, ...]  # all that were written or were there already
    held_back: tuple[str, ...] = ()  # files of the checkpoint that were left out, since they hold pairs


def push(checkpoint: str | os.PathLike, repo: str, private: bool = True, with_pairs: bool = False) -> Published:
    """Put a checkpoint into the model repository `repo` (owner/name), which is made where it is not there.

    `private` is for a new repository; one that is there stays as it is. Without `with_pairs` neither the kept pairs nor
    the names of the withheld questions go up, since they are somebody's, and pairs of an earlier push are taken away.
    Again it writes only what has changed. Raises CheckpointError and HubError; nothing is written then.
    """
    _validate(repo)
    folder = checkpoints.folder_meant(checkpoint) or checkpoints.explain_absence(str(checkpoint))
    card = checkpoints.load(folder).card  # whole, and as it was when it was saved
    wanted = MODEL_FILES + (PAIR_FILES if with_pairs else ())
    files: dict[str, bytes | Path] = {name: folder / name for name in wanted if (folder / name).is_file()}
    files[checkpoints.CARD_FILE] = (folder / checkpoints.CARD_FILE).read_bytes()
    if not with_pairs and "withheld" in card.data:
        card = replace(card, data={name: value for name, value in card.data.items() if name != "withheld"})
        files[checkpoints.CARD_FILE] = _without_questions(files[checkpoints.CARD_FILE])
    files["README.md"] = model_readme(repo, card, with_pairs).encode()
    left = tuple(name for name in PAIR_FILES if name not in files and (folder / name).is_file())
    return replace(_publish("model", repo, files, private), held_back=left)


def deploy_web(
    checkpoint: str | os.PathLike,
    repo: str,
    private: bool = False,
    title: str | None = None,
    greeting: str | None = None,
    dry_run: bool = False,
) -> Published:
    """Put a checkpoint's web page into the static Space `repo` (owner/name), which is made where it is not there.

    `title` and `greeting` are those of `export_web`; `private` is for a new Space. A dry run makes the page and looks
    at the Hub, and writes nothing there. Again it writes only what has changed. Raises HubError, and what `export_web`
    raises; nothing is written then.
    """
    from kochat.sharing.web import export_web

    _validate(repo)
    with tempfile.TemporaryDirectory() as folder:
        try:
            page = export_web(checkpoint, Path(folder) / "index.html", title, greeting)
        except OSError as error:
            if is_disk_full(error):
                raise HubError("disk_full") from error
            raise
        card, name = _card_of(checkpoint)
        shown = (title or "").strip() or card.profile.get("title") or name
        files: dict[str, bytes | Path] = {path.name: path for path in (page.iterdir() if page.is_dir() else [page])}
        return _publish("space", repo, files | {"README.md": space_readme(shown, card).encode()}, private, dry_run)


def _card_of(checkpoint: str | os.PathLike) -> tuple[Card, str]:
    loaded = checkpoints.load(checkpoint)
    return loaded.card, loaded.name.rsplit("/", 1)[-1]


def _without_questions(content: bytes) -> bytes:
    values = json.loads(content)
    del values["data"]["withheld"]
    return (json.dumps(values, ensure_ascii=False, indent=2) + "\n").encode()


def _validate(repo: str) -> None:
    """Raise HubError where nothing on the Hub can be called so."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise HubError("hub_bad_name", name=repo) from error
    if not re.fullmatch(r"[^/]+/[^/]+", repo):
        raise HubError("hub_bad_name", name=repo)


def _publish(kind: str, repo: str, files: dict[str, bytes | Path], private: bool, dry_run: bool = False) -> Published:
    """Let these files be in the repository, by one commit; one that is made here and cannot be filled goes again."""
    set_client_factory(functools.partial(bounded_client, PATIENCE))
    api = HfApi()
    with _explained(repo):
        _check_rights(api, repo)
        info = _info(api, kind, repo)
        if info and not (_is_ours(info) or _is_untouched(api, kind, repo)):
            raise HubError("hub_taken", name=repo)
        url = f"{api.endpoint}/{KINDS[kind]}{repo}"
        is_private = bool(info.private) if info else private
        if dry_run:
            return Published(url, is_private, not info, True, tuple(files))
        is_changed = _commit(api, kind, repo, files, info) if info else _create(api, kind, repo, files, private)
    return Published(url, is_private, not info, is_changed, tuple(files))


def _check_rights(api: HfApi, repo: str) -> None:
    """Raise HubError where the token is not one that may write for the owner of `repo`."""
    try:
        account = api.whoami()
    except HfHubHTTPError as error:
        if error.response.status_code == 401:
            raise HubError("hub_wrong_token") from error
        raise
    owners = {account["name"], *(one["name"] for one in account.get("orgs") or [])}
    role = ((account.get("auth") or {}).get("accessToken") or {}).get("role")
    if role == "read" or repo.split("/")[0].casefold() not in {owner.casefold() for owner in owners}:
        raise HubError("hub_no_rights", name=repo)


def _info(api: HfApi, kind: str, repo: str) -> ModelInfo | SpaceInfo | None:
    try:
        return api.repo_info(repo, repo_type=kind)
    except RepositoryNotFoundError:
        return None


def _is_ours(info: ModelInfo | SpaceInfo) -> bool:
    """Whether kochat has filled it before; a Space that runs a program is another thing, of whomever."""
    is_page = getattr(info, "sdk", None) in (None, "static")
    return is_page and TAG in ((info.card_data or {}).get("tags") or [])


def _is_untouched(api: HfApi, kind: str, repo: str) -> bool:
    """Whether nobody has put anything into it since it was made."""
    return len(api.list_repo_commits(repo, repo_type=kind)) <= 1


def _create(api: HfApi, kind: str, repo: str, files: dict[str, bytes | Path], private: bool) -> bool:
    try:
        api.create_repo(repo, repo_type=kind, private=private, space_sdk="static" if kind == "space" else None)
    except HfHubHTTPError as error:
        if error.response.status_code == 409:
            raise HubError("hub_taken", name=repo) from error
        raise
    try:
        return _commit(api, kind, repo, files, api.repo_info(repo, repo_type=kind))
    except BaseException:
        # The commit may have arrived, though its answer did not, and another process may have gone on meanwhile.
        with contextlib.suppress(Exception):
            if _is_untouched(api, kind, repo):
                api.delete_repo(repo, repo_type=kind)
        raise


def _commit(api: HfApi, kind: str, repo: str, files: dict[str, bytes | Path], info: ModelInfo | SpaceInfo) -> bool:
    """Write what has changed, and say whether anything had."""
    there = {one.rfilename for one in info.siblings or []}
    gone = sorted(name for name in there - files.keys() if _is_left_over(kind, name))
    operations = [CommitOperationAdd(name, content) for name, content in sorted(files.items())]
    operations += [CommitOperationDelete(name) for name in gone]
    made = api.create_commit(repo, operations, commit_message="Update the chatbot with kochat", repo_type=kind)
    return made.oid != info.sha


def _is_left_over(kind: str, name: str) -> bool:
    """Whether a file is of an earlier push, or the style sheet of the page that the Hub puts into a new Space."""
    if kind == "model":
        return name in PAIR_FILES
    from kochat.sharing.web import WEIGHTS_FILE

    return name == "style.css" or fnmatch.fnmatch(name, WEIGHTS_FILE.format("*"))


@contextlib.contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Turn whatever huggingface_hub raises into a HubError with a sentence."""
    try:
        yield
    except (LocalTokenNotFoundError, OIDCError) as error:
        raise HubError("hub_no_token") from error
    except HfHubHTTPError as error:
        raise _refusal(repo, error) from error
    except (OSError, httpx2.HTTPError, RuntimeError, ValueError) as error:
        # Large files go up in threads and in Rust, whose errors are RuntimeErrors with the reason within.
        reason = error.__cause__ or error
        if isinstance(reason, HfHubHTTPError):
            raise _refusal(repo, reason) from error
        if is_disk_full(error) or is_disk_full(reason):
            raise HubError("disk_full") from error
        raise HubError("hub_broken_off", name=repo) from error


def _refusal(repo: str, error: HfHubHTTPError) -> HubError:
    """What the Hub's answer means."""
    status = error.response.status_code
    if status in (401, 403, 404):  # the token is a good one, but does not see the repository, or may not make one
        return HubError("hub_no_rights", name=repo)
    if status == 402:
        return HubError("hub_payment", name=repo)
    if status == 429:
        return HubError("hub_too_many", name=repo)
    if status >= 500:
        return HubError("hub_broken_off", name=repo)
    return HubError("hub_refused", name=repo, status=status, reason=error.server_message or "-")
