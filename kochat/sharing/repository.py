"""One commit into a repository of the Hugging Face Hub: made where it is not there, left alone where it is another's.

Knows the requests of huggingface_hub that write, and what may go wrong with them: each failure is a HubError with a
sentence. A repository that is made here and cannot be filled goes again, so nothing is ever half there.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    DatasetInfo,
    HfApi,
    ModelInfo,
    SpaceInfo,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OIDCError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from kochat.data.hub_client import bound_requests
from kochat.errors import HubError
from kochat.files import is_disk_full
from kochat.sharing.hub_cards import TAG

KINDS = {"model": "", "dataset": "datasets/", "space": "spaces/"}  # and where their addresses begin
FRESH = {".gitattributes", "README.md", "index.html", "style.css"}  # what the Hub puts into a new one
Files = dict[str, bytes | Path]
Info = ModelInfo | DatasetInfo | SpaceInfo


@dataclass(frozen=True)
class Published:
    """What became of a repository, or in a dry run would."""

    repo: str  # as the Hub calls it now; it may have been renamed
    url: str
    is_private: bool
    is_new: bool  # it was not there before
    is_changed: bool  # there was something to write
    files: tuple[str, ...]  # all that were written or were there already
    held_back: tuple[str, ...] = ()  # files of the checkpoint that were left out, since they hold pairs
    commit: str = ""  # the hash of the newest one


def validate(repo: str) -> None:
    """Raise HubError where nothing on the Hub can be called so."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise HubError("hub_bad_name", name=repo) from error
    if not re.fullmatch(r"[^/]+/[^/]+", repo):
        raise HubError("hub_bad_name", name=repo)


def connect(token: str | None = None) -> HfApi:
    """The Hub, with `token` or else that of HF_TOKEN or of `hf auth login`."""
    bound_requests()
    return HfApi(token=token)


def publish(
    kind: str,
    repo: str,
    files: Files,
    private: bool,
    dry_run: bool = False,
    sdk: str | None = None,
    is_obsolete: Callable[[str], bool] = lambda path: False,
    token: str | None = None,
    holds_pairs: bool = False,
    prepare: Callable[[Info], object] = lambda info: None,
    **made_with: Any,
) -> Published:
    """Let these files be in the repository, by one commit; those of before that are obsolete go.

    `kind` is a key of KINDS, `sdk` that of a Space; `made_with` are further arguments of HfApi.create_repo. What is to
    be `private` and `holds_pairs` does not go where everybody can read it. `prepare` is called before a repository that
    is there is written to. A dry run looks and writes nothing. Raises HubError.
    """
    api = connect(token)
    with explained(repo):
        check_rights(api, repo)
        info = info_of(api, kind, repo)
        if info and not (_is_ours(info, sdk) or _is_untouched(api, kind, info)):
            raise HubError("hub_taken", name=repo)
        if info and private and holds_pairs and not info.private:
            raise HubError("hub_is_public", name=repo)
        repo = info.id if info else repo
        url = f"{api.endpoint}/{KINDS[kind]}{repo}"
        is_private = bool(info.private) if info else private
        if dry_run:
            return Published(repo, url, is_private, not info, True, tuple(files))
        before = info.sha if info else None
        if info:
            prepare(info)
            commit = _commit(api, kind, repo, files, is_obsolete, info)
        else:
            made_with |= {"space_sdk": sdk} if kind == "space" else {}
            commit = _create(api, kind, repo, files, is_obsolete, private=private, **made_with)
    return Published(repo, url, is_private, not info, commit != before, tuple(files), commit=commit)


def check_rights(api: HfApi, repo: str) -> None:
    """Raise HubError where the token is not one that may write for the owner of `repo`."""
    account = account_of(api)
    owners = {account["name"], *(one["name"] for one in account.get("orgs") or [])}
    role = ((account.get("auth") or {}).get("accessToken") or {}).get("role")
    if role == "read" or repo.split("/")[0].casefold() not in {owner.casefold() for owner in owners}:
        raise HubError("hub_no_rights", name=repo)


def account_of(api: HfApi) -> dict[str, Any]:
    """Whose token it is. Raises HubError for one that the Hub does not know."""
    try:
        return api.whoami()
    except HfHubHTTPError as error:
        if error.response.status_code == 401:
            raise HubError("hub_wrong_token") from error
        raise


def info_of(api: HfApi, kind: str, repo: str) -> Info | None:
    """What the Hub says of a repository; None where it is not there."""
    try:
        return api.repo_info(repo, repo_type=kind)
    except RepositoryNotFoundError:
        return None


def _is_ours(info: Info, sdk: str | None) -> bool:
    """Whether kochat has filled it before; a Space of another kind is another thing, of whomever."""
    return getattr(info, "sdk", None) in (None, sdk) and TAG in ((info.card_data or {}).get("tags") or [])


def _is_untouched(api: HfApi, kind: str, info: Info) -> bool:
    """Whether nobody has put anything into it since it was made; a history may have been squashed to one commit."""
    names = {one.rfilename for one in info.siblings or []}
    return names <= FRESH and len(api.list_repo_commits(info.id, repo_type=kind)) <= 1


def _create(
    api: HfApi, kind: str, repo: str, files: Files, is_obsolete: Callable[[str], bool], **made_with: Any
) -> str:
    try:
        api.create_repo(repo, repo_type=kind, **made_with)
    except HfHubHTTPError as error:
        if error.response.status_code == 409:
            raise HubError("hub_taken", name=repo) from error
        raise
    try:
        return _commit(api, kind, repo, files, is_obsolete, api.repo_info(repo, repo_type=kind))
    except BaseException:
        # The commit may have arrived, though its answer did not, and another process may have gone on meanwhile.
        with contextlib.suppress(Exception):
            if _is_untouched(api, kind, api.repo_info(repo, repo_type=kind)):
                api.delete_repo(repo, repo_type=kind)
        raise


def _commit(api: HfApi, kind: str, repo: str, files: Files, is_obsolete: Callable[[str], bool], info: Info) -> str:
    """Write what has changed; the hash of the newest commit, which is the one of before where nothing had."""
    gone = sorted(one.rfilename for one in info.siblings or [] if is_obsolete(one.rfilename))
    operations = [CommitOperationAdd(name, content) for name, content in sorted(files.items())]
    operations += [CommitOperationDelete(name) for name in gone if name not in files]
    return api.create_commit(repo, operations, commit_message="Update the chatbot with kochat", repo_type=kind).oid


@contextlib.contextmanager
def explained(repo: str) -> Iterator[None]:
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
