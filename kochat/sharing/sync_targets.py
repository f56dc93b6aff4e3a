"""Where a home is kept: a folder, such as a mounted storage bucket, or a private dataset repository on the Hub.

Both take new files under names that were never used, and delete; they change nothing. A mounted bucket has no locks and
no renames to rely on, so versions are written last there; on the Hub a commit is whole or not there. Knows files and
the requests; what is in the files is `versions.py`'s business. Failures are KochatErrors, or OSErrors of the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, DatasetCardData
from huggingface_hub.errors import HfHubHTTPError

from kochat.data.hub_client import looks_like_hub_id
from kochat.errors import HubError, SettingsError
from kochat.sharing import versions
from kochat.sharing.hub_cards import TAG
from kochat.sharing.repository import FRESH, Info, check_rights, connect, explained, info_of, publish, validate

SYNC_TAG = "kochat-sync"
README = """---
{data}
---

# {repo}

What a server of kochat keeps here (KOCHAT_SYNC), to have it again after a restart: chatbots, datasets, what was taught,
runs. `versions/` says which files belong together. Keep it private, and let only those write to it who may do
everything on that server.
"""
TRIES = 5  # of a commit, where another one comes in between
MAX_COMMITS = 500  # after which the history goes, which holds every file that was ever there
NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # what a file system says that has no fsync


class MissingError(Exception):
    """Files that a new version needs are not in the target any more; `paths` says which."""

    def __init__(self, paths: Collection[str]):
        self.paths = set(paths)
        super().__init__(f"{len(self.paths)} files are gone from the target")


class Target(Protocol):
    """Where to. Paths are seen from its root, with slashes."""

    name: str

    def prepare(self) -> bool:
        """See that it is there; whether nothing was kept there before."""

    def fetch(self, folder: Path) -> Path:
        """A folder with all of it to read; it may be made as `folder`, which does not exist yet."""

    def write(self, staged: Path, gone: Collection[str], needed: Collection[str]) -> None:
        """Add the files of the folder `staged`, its versions last, and delete what is `gone`.

        Raises MissingError where something of what is `needed` is not there.
        """

    def clean(self, gone: Collection[str]) -> None:
        """Delete what nobody needs any more, by what `fetch` has given."""


def target_of(setting: str) -> FolderTarget | HubTarget:
    """The target that KOCHAT_SYNC names: owner/name on the Hub, or else a folder."""
    if looks_like_hub_id(setting) and not Path(setting).is_dir():
        return HubTarget(setting)
    return FolderTarget(Path(setting))


class FolderTarget:
    """A folder, which is there: one that is made would be on the disk that is wiped."""

    def __init__(self, root: Path, grace: float = 600.0):
        """`grace`: seconds for which files stay that are not needed any more: newer ones may not have arrived yet."""
        self.root, self.name, self._grace = root, str(root), grace
        self._due: list[tuple[float, str]] = []

    def prepare(self) -> bool:
        """Raises SettingsError where there is no such folder."""
        if not self.root.is_dir():
            raise SettingsError("sync_no_folder", path=self.root)
        return not (self.root / versions.FOLDER).is_dir()

    def fetch(self, folder: Path) -> Path:
        """Itself."""
        return self.root

    def write(self, staged: Path, gone: Collection[str], needed: Collection[str]) -> None:
        """See `Target.write`. What is gone goes after `grace` seconds, with a later write."""
        if not self.root.is_dir():
            raise SettingsError("sync_no_folder", path=self.root)
        for path in sorted(_files_of(staged), key=lambda path: path.startswith(f"{versions.FOLDER}/")):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            with (staged / path).open("rb") as source, (self.root / path).open("xb") as file:
                shutil.copyfileobj(source, file, 2**20)
                file.flush()
                with _without_fsync():
                    os.fsync(file.fileno())
        if missing := [path for path in needed if not (self.root / path).is_file()]:
            raise MissingError(missing)
        self._due += [(time.monotonic() + self._grace, path) for path in gone]
        self.clean([path for at, path in self._due if at <= time.monotonic()])
        self._due = [(at, path) for at, path in self._due if at > time.monotonic()]

    def clean(self, gone: Collection[str]) -> None:
        """Versions first: without its files one would be taken for a torn one."""
        for path in sorted(gone, key=lambda path: not path.startswith(f"{versions.FOLDER}/")):
            (self.root / path).unlink(missing_ok=True)
            for folder in (self.root / path).parents:
                if folder == self.root or folder.name == versions.FOLDER:
                    break
                with contextlib.suppress(OSError):  # there is more in it
                    folder.rmdir()


class HubTarget:
    """A private dataset repository, which is made where it is not there. The token is that of HF_TOKEN."""

    def __init__(self, repo: str):
        self.repo = self.name = repo
        self._api = connect()
        self._sha: str | None = None

    def prepare(self) -> bool:
        """Raises HubError where it cannot be written to, is public, or is something else."""
        validate(self.repo)
        with explained(self.repo):
            info = info_of(self._api, "dataset", self.repo)
            if info is None:
                data = DatasetCardData(language="ko", tags=[TAG, SYNC_TAG]).to_yaml()
                readme = README.format(data=data, repo=self.repo.split("/")[1]).encode()
                publish("dataset", self.repo, {"README.md": readme}, private=True, holds_pairs=True)
                return True
            check_rights(self._api, self.repo)
            self._check(info)
            names = {one.rfilename for one in info.siblings or []}
            if SYNC_TAG not in ((info.card_data or {}).get("tags") or []) and not names <= FRESH:
                raise HubError("hub_taken", name=self.repo)
            return not any(name.startswith(f"{versions.FOLDER}/") for name in names)

    def _check(self, info: Info) -> None:
        if not info.private:  # it may have been opened meanwhile
            raise HubError("sync_is_public", name=self.repo)

    def fetch(self, folder: Path) -> Path:
        """Downloaded into `folder`. Raises HubError where that breaks off."""
        try:
            with explained(self.repo):
                info = self._api.repo_info(self.repo, repo_type="dataset")
                # Out of reach, the client would give what it has of an earlier time; here there is none.
                self._api.snapshot_download(self.repo, repo_type="dataset", revision=info.sha, local_dir=folder)
                names = [one.rfilename for one in info.siblings or []]
                if not all((folder / name).is_file() for name in names):
                    raise HubError("sync_not_read", name=self.repo)
        except HubError as error:
            raise HubError("sync_not_read", name=self.repo) if error.key == "hub_broken_off" else error from error
        self._sha = info.sha
        return folder

    def write(self, staged: Path, gone: Collection[str], needed: Collection[str]) -> None:
        """See `Target.write`; all of it is one commit, on top of what it was seen to be needed from."""
        with explained(self.repo):
            for number in range(1, TRIES + 1):
                info = self._api.repo_info(self.repo, repo_type="dataset")
                self._check(info)
                there = {one.rfilename for one in info.siblings or []}
                if missing := set(needed) - there:
                    raise MissingError(missing)
                # The client does not take an operation twice.
                operations = [CommitOperationAdd(path, staged / path) for path in _files_of(staged)]
                operations += [CommitOperationDelete(path, is_folder=False) for path in sorted(there & set(gone))]
                try:
                    return self._commit(operations, info.sha)
                except HfHubHTTPError as error:
                    if not _is_late(error) or number == TRIES:
                        raise

    def _commit(self, operations: list, parent: str | None) -> None:
        if operations:
            message = "Keep what has changed"
            self._api.create_commit(
                self.repo, operations, commit_message=message, repo_type="dataset", parent_commit=parent
            )

    def clean(self, gone: Collection[str]) -> None:
        """Not where somebody has written since: then it is for the next start."""
        with explained(self.repo):
            try:
                self._commit([CommitOperationDelete(path, is_folder=False) for path in sorted(gone)], self._sha)
            except HfHubHTTPError as error:
                if not _is_late(error):
                    raise
            if len(self._api.list_repo_commits(self.repo, repo_type="dataset")) > MAX_COMMITS:
                self._api.super_squash_history(self.repo, repo_type="dataset")


def _is_late(error: HfHubHTTPError) -> bool:
    """Whether another commit was there before this one."""
    return error.response.status_code in (409, 412)


def _files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def _without_fsync() -> Iterator[None]:
    """Go on where the file system has no fsync."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
