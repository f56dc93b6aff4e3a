"""Keeping a home elsewhere: brought back at the start, copied again where it has changed.

What wins where two homes keep to one target: each item keeps what was written first under its name, and what somebody
else made of it meanwhile comes back beside it, as NAME-2. Knows what is where; the target itself is `sync_targets.py`'s
business, and nothing here ends the process that it works for: what goes wrong is kept in `failure`, and tried again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from kochat.config import home
from kochat.errors import KochatError, SettingsError
from kochat.files import MAX_NAME_LENGTH, explained, sha256_of, signature, write_atomically
from kochat.runs.registry import Run
from kochat.sharing import versions
from kochat.sharing.sync_targets import MissingError, Target, target_of
from kochat.sharing.versions import Stored, Version

EVERY = 60.0  # seconds between two looks at what has changed
LONGEST_PAUSE = 900.0  # seconds between two tries
TRIES_AT_START = 3
LITTER_AFTER = timedelta(days=1)  # what was begun so long ago will not be finished
STAMP = "%Y%m%d-%H%M%S-%f"
WAIT = 30.0  # seconds for another one to finish a change of a dataset
log = logging.getLogger(__name__)


class _BeingWrittenError(Exception):
    """A file that changed while it was copied."""


@dataclass(frozen=True)
class _Copied(Stored):
    """A file of this home that is in the target, and its signature here when it was copied."""

    seen: tuple[int, ...] = ()


@dataclass
class _Known:
    """What the target has of an item of this home."""

    versions: list[str]  # that say what is here; the next one follows all of them
    files: dict[str, _Copied]
    is_settled: bool = True  # else there has to be a version under this name, whatever has changed


@dataclass
class _State:
    """What of this home is in which target, on disk in the home itself, so that it is gone when the home is."""

    target: str
    writer: str = field(default_factory=lambda: secrets.token_hex(4))
    items: dict[str, _Known] = field(default_factory=dict)
    unsure: dict[str, list[str]] = field(default_factory=dict)  # versions that may have arrived, by item

    @classmethod
    def read(cls, path: Path, target: str) -> _State:
        try:
            values = json.loads(path.read_text("utf-8"))
            if values["target"] != target:
                return cls(target)
            items = {
                item: _Known(
                    one["versions"],
                    {name: _Copied(**file | {"seen": tuple(file["seen"])}) for name, file in one["files"].items()},
                    one["is_settled"],
                )
                for item, one in values["items"].items()
            }
            return cls(target, values["writer"], items, values["unsure"])
        except FileNotFoundError:
            return cls(target)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s is begun anew: %s", path, error)
            return cls(target)


class Sync:
    """The home of this process, kept in a target. `bring` once, then `copy` again and again; `start` does both."""

    def __init__(self, target: Target):
        self.target = target
        self.is_brought = False
        self.copied_at: float | None = None  # seconds since 1970, of the last time that all was in the target
        self.failure: KochatError | None = None
        self.failed_at = 0.0  # since when, in seconds since 1970
        self.unreadable: tuple[str, ...] = ()  # items that could not be read, and are not copied
        self._failures = 0
        self._state = _State(target.name)
        self._passing, self._wake, self._ending = threading.Lock(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._noticed: object = None
        self._only_one = FileLock(self._folder / ".lock", thread_local=False)
        self._is_serving = False

    @property
    def _folder(self) -> Path:
        return home() / ".sync"

    def _save(self) -> None:
        write_atomically(self._folder / "state.json", json.dumps(asdict(self._state), ensure_ascii=False))

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A folder on the disk of the home, so that what is in it can be linked and renamed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._passing, tempfile.TemporaryDirectory(prefix=".part-", dir=self._folder) as folder:
            yield Path(folder)

    # At the start.

    def bring(self) -> None:
        """Bring what is in the target into this home: what is there already stays as it is, unless it is older.

        Raises KochatError and OSError; then it can be called again.
        """
        with self._scratch() as scratch:
            try:
                self._only_one.acquire(timeout=0)  # two processes in one home would copy it twice
            except Timeout as error:
                raise SettingsError("sync_twice", path=home()) from error
            self._state = _State.read(self._folder / "state.json", self.target.name)
            self._prepare()
            root = self.target.fetch(scratch / "fetched")
            found = versions.read(root)
            heads, got = self._heads(found, root, scratch)
            mine = versions.items()
            for item in sorted({one.item for one in heads}):
                self._settle(item, [one for one in heads if one.item == item], got, mine, scratch)
            self._save()
            self.is_brought = True
            try:
                self._clean(root, found, heads)
            except (KochatError, OSError) as error:  # the next start does it
                log.warning("%s could not be tidied up: %s", self.target.name, error)

    def _prepare(self) -> None:
        if self.target.prepare():  # nothing is there, or not any more
            self._state.items.clear()
            self._state.unsure.clear()

    def _heads(self, found: dict[str, Version], root: Path, scratch: Path) -> tuple[list[Version], dict[str, Path]]:
        """What there is of all items, and the files of each that this home lacks: checked, in folders by its id.

        A version that is not whole counts as if it were not there, and the one before it comes back.
        """
        found, got = dict(found), {}
        while True:
            heads, torn = versions.heads(found.values()), []
            for one in heads:
                if one.files and one.id not in got and not self._has(one):
                    folder = scratch / "got" / one.id
                    if _fetch(one, root, folder):
                        got[one.id] = folder
                    else:
                        torn.append(one)
            if not torn:
                return heads, got
            for one in torn:
                log.error("%s of %s is not whole, and left out", one.item, one.id)
                del found[one.id]

    def _has(self, version: Version) -> bool:
        return any(version.id in known.versions for known in self._state.items.values())

    def _settle(
        self,
        item: str,
        heads: list[Version],
        got: dict[str, Path],
        mine: dict[str, dict[str, Path]],
        scratch: Path,
    ) -> None:
        """Bring what there is of an item: the first one under its name, others beside it."""
        deleted = [one.id for one in heads if not one.files]
        alike: list[list[Version]] = []  # two may have written the same
        for one in heads:
            same = next((group for group in alike if group[0].content() == one.content()), None)
            if one.files:
                same.append(one) if same else alike.append([one])
        for number, group in enumerate(alike):
            ids = {one.id for one in group}
            known = next((one for one in self._state.items.values() if ids & set(one.versions)), None)
            if known:
                known.versions = sorted({*known.versions, *ids, *deleted})
                continue
            one = group[0]
            versions_of_it = sorted({*ids, *deleted})
            here = self._content_of(item, mine, scratch)
            if here == one.content():
                files = {name: _Copied(**asdict(file), seen=_seen(item, name)) for name, file in one.files.items()}
                self._state.items[item] = _Known(versions_of_it, files)
                continue
            if item.startswith("uploads/") and os.path.lexists(home() / item):
                continue  # the same content: its hash is in its name
            is_free = not (number or os.path.lexists(home() / item))
            name = item if is_free or (not number and self._is_older(item, heads, here)) else _free_name(item)
            _place(name, got[one.id])
            files = {part: _Copied(**asdict(file), seen=_seen(name, part)) for part, file in one.files.items()}
            self._state.items[name] = _Known(versions_of_it, files, is_settled=name == item)

    def _content_of(self, item: str, mine: dict[str, dict[str, Path]], scratch: Path) -> dict[str, str] | None:
        """The hashes of the files that are here; None where there are none, or where they cannot be read."""
        if item not in mine:
            return None
        try:
            return self._staged(item, mine[item], scratch, anew=True)[0].content()
        except (FileNotFoundError, _BeingWrittenError, sqlite3.Error):
            return None

    def _is_older(self, item: str, heads: list[Version], here: dict[str, str] | None) -> bool:
        """Whether what is here is a version that others have gone on from, and nobody has changed it here since.

        While people use it nothing is replaced: what they do in that moment would be lost.
        """
        known = self._state.items.get(item)
        if self._is_serving or known is None or {one.id for one in heads} & set(known.versions):
            return False
        return here == {name: one.sha256 for name, one in known.files.items()}

    def _clean(self, root: Path, found: dict[str, Version], heads: list[Version]) -> None:
        """Delete what no version needs that there is still, and what was begun long ago and never finished."""
        followed = {parent for one in found.values() for parent in one.parents}
        # A version that is not whole stays: its files may come yet.
        kept = {one.id: one for one in [*heads, *(one for one in found.values() if one.id not in followed)]}
        for one in heads:
            if not one.files and not set(one.parents) & found.keys():
                del kept[one.id]
        needed = {file.path for one in kept.values() for file in one.files.values()}
        gone = {versions.path_of(one.id) for one in found.values() if one.id not in kept}
        gone |= {file.path for one in found.values() for file in one.files.values()} - needed
        known = needed | gone
        long_ago = f"{datetime.now(UTC) - LITTER_AFTER:{STAMP}}"
        for kind in (*versions.FOLDER_KINDS, *versions.FILE_KINDS):
            for path in (root / kind).rglob("*") if (root / kind).is_dir() else ():
                name = path.relative_to(root).as_posix()
                if name not in known and path.is_file() and _is_before(name, long_ago):
                    gone.add(name)
        if gone:
            self.target.clean(gone)

    # While it runs.

    def copy(self) -> bool:
        """Copy what has changed since the last time; whether anything had.

        Raises KochatError and OSError; then nothing counts as copied, and it can be called again.
        """
        with contextlib.suppress(MissingError):  # somebody has tidied up; now all that they took is copied
            return self._copy()
        return self._copy()

    def _copy(self) -> bool:
        with self._scratch() as scratch:
            if not (self._folder / "state.json").is_file():  # that does not mean that everything was deleted
                raise SettingsError("sync_home_gone", path=home())
            if self._failures:
                self._prepare()
            made, after = self._changes(scratch)
            if made:
                for one in made:
                    self._state.unsure.setdefault(one.item, []).append(one.id)
                    path = scratch / versions.path_of(one.id)
                    path.parent.mkdir(exist_ok=True)
                    path.write_text(one.to_json(), "utf-8")
                self._save()  # it may arrive though nobody hears of it
                self._write(made, after, scratch)
                self._state.items = after
                self._state.unsure.clear()
                self._save()
            self.copied_at = time.time()
            return bool(made)

    def _write(self, made: list[Version], after: dict[str, _Known], scratch: Path) -> None:
        gone = {path for path in _paths(self._state.items) - _paths(after) if self._is_own(path)}
        files = {file.path for one in made for file in one.files.values()}
        try:
            self.target.write(scratch, gone, {path for path in files if not (scratch / path).is_file()})
        except MissingError as error:
            for known in self._state.items.values():
                known.is_settled &= not error.paths & {file.path for file in known.files.values()}
            raise

    def _changes(self, scratch: Path) -> tuple[list[Version], dict[str, _Known]]:
        """New versions, their files in `scratch`, and what then is known."""
        made, after, unreadable = [], dict(self._state.items), []
        mine = versions.items()
        for item, paths in mine.items():
            try:
                new = self._staged(item, paths, scratch)
            except (FileNotFoundError, _BeingWrittenError):  # the next time it is gone, or whole
                continue
            except sqlite3.Error as error:
                unreadable.append(item)
                if item not in self.unreadable:
                    log.error("%s is not copied: %s", item, error)
                continue
            if new:
                made.append(new[0])
                after[item] = new[1]
        for item in (self._state.items.keys() | self._state.unsure.keys()) - mine.keys():
            if not os.path.lexists(home() / item):
                made.append(Version(self._new_id(), item, self._parents(item), {}))
                after.pop(item, None)
        self.unreadable = tuple(unreadable)
        return made, after

    def _staged(
        self, item: str, paths: dict[str, Path], scratch: Path, anew: bool = False
    ) -> tuple[Version, _Known] | None:
        """A new version of an item, with its files in `scratch` that are not in the target; None where it is the same.

        `anew`: whatever is known of it, for its content. Raises FileNotFoundError, _BeingWrittenError, sqlite3.Error.
        """
        known = self._state.items.get(item)
        before = known.files if known and known.is_settled and not anew else {}
        id, files = self._new_id(), {}
        try:
            for name, path in paths.items():
                seen, same = signature(path), before.get(name)
                files[name] = same if same and same.seen == seen else self._take(item, id, name, path, scratch)
            content = {name: one.sha256 for name, one in files.items()}
            is_same = content == {name: one.sha256 for name, one in before.items()}
            if before and is_same and item not in self._state.unsure:
                known.files = {name: replace(before[name], seen=one.seen) for name, one in files.items()}
                shutil.rmtree(scratch / item / id, ignore_errors=True)
                return None
            for name, one in files.items():
                # Files of others go when they do not need them any more.
                if not self._is_own(one.path):
                    files[name] = self._take(item, id, name, paths[name], scratch)
        except BaseException:
            shutil.rmtree(scratch / item / id, ignore_errors=True)
            raise
        stored = {name: Stored(one.path, one.sha256, one.size) for name, one in files.items()}
        return Version(id, item, self._parents(item), stored), _Known([id], files)

    def _take(self, item: str, id: str, name: str, source: Path, scratch: Path) -> _Copied:
        """A copy of a file that nobody changes any more."""
        path = versions.stored_path(item, id, name)
        part, seen = scratch / path, signature(source)
        part.parent.mkdir(parents=True, exist_ok=True)
        # What is written whole and then only replaced need not be copied.
        is_replaced = item.startswith("checkpoints/") or name.startswith("state/")
        _copy(source, part, can_link=is_replaced)
        is_appended = item.startswith("runs/")
        if not (is_replaced or is_appended or signature(source) == seen or _is_database(source)):
            raise _BeingWrittenError(source)
        return _Copied(path, sha256_of(part), part.stat().st_size, seen)

    def _parents(self, item: str) -> tuple[str, ...]:
        known = self._state.items.get(item)
        return (*(known.versions if known else ()), *self._state.unsure.get(item, ()))

    def _new_id(self) -> str:
        return f"{datetime.now(UTC):{STAMP}}-{self._state.writer}-{secrets.token_hex(2)}"

    def _is_own(self, path: str) -> bool:
        return f"-{self._state.writer}-" in path

    # In the background.

    def start(self, pause: float = 2.0) -> None:
        """Bring everything, then copy in a thread. Where it cannot be brought, that is tried again in the thread."""
        for number in range(TRIES_AT_START):
            if number:
                time.sleep(pause * number)
            if self.attempt(self.bring):
                break
        self._thread = threading.Thread(target=self._work, name="sync", daemon=True)
        self._thread.start()

    def attempt(self, *steps) -> bool:
        """Do what is to be done now (or `steps`); whether it went well, else `failure` says why."""
        try:
            for step in steps or ([self.copy] if self.is_brought else [self.bring, self.copy]):
                step()
        except Exception as error:
            known = _known(error)
            if not self._failures:
                self.failed_at = time.time()
            if self.failure is None or str(self.failure) != str(known):
                is_foreseen = isinstance(error, (KochatError, OSError, MissingError))
                log.error("%s is not kept in %s: %s", home(), self.target.name, known, exc_info=not is_foreseen)
            self.failure, self._failures = known, self._failures + 1
            return False
        self.failure, self._failures = None, 0
        return True

    def notice(self, revision: object) -> None:
        """Copy now rather than in a while, where this is another revision than the last one."""
        if revision != self._noticed:
            self._noticed = revision
            self._wake.set()

    def end(self, patience: float = 20.0) -> None:
        """End the thread; what has changed since it copied last is copied now."""
        self._ending.set()
        self._wake.set()
        if self._thread:
            self._thread.join(patience)
        if self.is_brought:
            self.attempt()
        self._only_one.release(force=True)

    def _work(self) -> None:
        self._is_serving = True
        while not self._ending.is_set():
            if self._failures:
                self._ending.wait(min(15.0 * 2**self._failures, LONGEST_PAUSE))
            else:
                self._wake.wait(EVERY)
            self._wake.clear()
            if not self._ending.is_set():
                self.attempt()


def sync_of(setting: str) -> Sync:
    """The sync that KOCHAT_SYNC asks for."""
    return Sync(target_of(setting))


def _known(error: Exception) -> KochatError:
    """An error as a sentence."""
    if isinstance(error, KochatError):
        return error
    known = explained(error) if isinstance(error, OSError) else None
    return known or SettingsError("sync_failed", reason=f"{type(error).__name__}: {error}")


def _fetch(version: Version, root: Path, folder: Path) -> bool:
    """Copy the files of a version into `folder`; whether all of them are there, and as they were written.

    Raises OSError where they may be there and cannot be read.
    """
    for name, file in version.files.items():
        part = folder / (name or PurePosixPath(version.item).name)
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(root / file.path, part)
        except FileNotFoundError:
            return False
        if part.stat().st_size != file.size or sha256_of(part) != file.sha256:
            return False
    return True


def _place(item: str, folder: Path) -> None:
    """Let what was fetched into `folder` be the item, in place of an older one."""
    target = home() / item
    target.parent.mkdir(parents=True, exist_ok=True)
    if item.split("/")[0] in versions.FILE_KINDS:
        next(folder.iterdir()).replace(target)
        return
    if target.is_dir():
        target.rename(folder.with_name(f"{folder.name}-old"))
    folder.rename(target)
    if item.startswith("runs/") and Run(target).record().state == "running":
        Run(target).write("brought")  # its process is not on this machine


def _seen(item: str, name: str) -> tuple[int, ...]:
    return signature(home() / item / name if name else home() / item)


def _free_name(item: str) -> str:
    path = PurePosixPath(item)
    suffix = path.suffix if path.parts[0] in versions.FILE_KINDS else ""
    stem = path.name.removesuffix(suffix)
    for number in range(2, 10**6):
        name = str(path.with_name(f"{stem[: MAX_NAME_LENGTH - 7].rstrip(' .')}-{number}{suffix}"))
        if not os.path.lexists(home() / name):
            return name
    raise SettingsError("sync_failed", reason=item)


def _paths(items: dict[str, _Known]) -> set[str]:
    """All that is in the target of these items."""
    files = {file.path for known in items.values() for file in known.files.values()}
    return files | {versions.path_of(id) for known in items.values() for id in known.versions}


def _is_before(path: str, stamp: str) -> bool:
    """Whether a file of a version was written before, as the id in its path says."""
    return any(part[: len(stamp)] < stamp for part in path.split("/") if part[:4].isdigit() and len(part) > len(stamp))


def _copy(source: Path, target: Path, can_link: bool) -> None:
    if _is_database(source):
        # Its bytes may be those of a change that is half written; SQLite knows which ones are.
        uri = f"{source.resolve().as_uri()}?mode=rw"
        with (
            contextlib.closing(sqlite3.connect(uri, uri=True, timeout=WAIT)) as database,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            return database.backup(copy)
    if can_link:
        with contextlib.suppress(OSError):
            return os.link(source, target)
    shutil.copyfile(source, target)


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"
