"""What is kept of a home elsewhere: every item of it as versions, each of which says which ones it follows.

An item is a checkpoint, a run, a dataset or a file that a run was started with. A version is one JSON file, written
after the files that it names, and never changed; so nobody waits for anybody, and two who write at once each add one of
their own. The versions that no other one follows are what there is of an item: one, or several where two have changed
it at once. Knows files and JSON; copies nothing itself.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from kochat.config import DEFAULT_CHECKPOINT, home
from kochat.model import checkpoint
from kochat.runs import registry

FOLDER = "versions"  # of the versions, beside the folders of what they name
FOLDER_KINDS, FILE_KINDS = ("checkpoints", "runs"), ("datasets", "uploads", "visitors")
# Of SQLite: what belongs to a change that is not over yet.
UNFINISHED = ("-journal", "-wal", "-shm")
RESERVE = "reserve"  # of a run, for its last words
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stored:
    """A file that is kept: where, seen from the root of the target, and its content. `size` is in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Version:
    """An item at one moment; without files it says that the item was deleted. Ids are in the order of time."""

    id: str
    item: str  # where it is in a home: checkpoints/mine, datasets/mine.pairs
    parents: tuple[str, ...]
    files: dict[str, Stored]  # by their path in the item; "" where the item is a file itself

    def content(self) -> dict[str, str]:
        """The hash of each file: what is the same in two versions with the same content."""
        return {name: one.sha256 for name, one in self.files.items()}

    def to_json(self) -> str:
        """As `read` takes it."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"


def path_of(id: str) -> str:
    """Where a version is, seen from the root of the target."""
    return f"{FOLDER}/{id}.json"


def stored_path(item: str, id: str, name: str) -> str:
    """Where a file of a version goes, seen from the root of the target."""
    return f"{item}/{id}/{name or PurePosixPath(item).name}"


def read(root: Path) -> dict[str, Version]:
    """The versions in a target, by id; what is torn, or names a place outside, is left out. Raises OSError."""
    found = {}
    for path in sorted((root / FOLDER).glob("*.json")):
        with contextlib.suppress(FileNotFoundError):  # removed since it was listed
            try:
                version = _parse(path.read_text("utf-8"), path.stem)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                log.warning("%s is left out: %s", path.name, error)
                continue
            found[version.id] = version
    return found


def _parse(text: str, id: str) -> Version:
    values = json.loads(text)
    files = {name: Stored(**one) for name, one in values["files"].items()}
    version = Version(values["id"], values["item"], tuple(values["parents"]), files)
    kind, *inner = version.item.split("/")
    is_known = "" not in files if kind in FOLDER_KINDS else kind in FILE_KINDS and files.keys() <= {""}
    if not (is_known and inner and version.id == id):
        raise ValueError(f"{version.item} is nothing that is kept")
    for place in [version.item, *filter(None, files), *(one.path for one in files.values())]:
        if "\\" in place or any(part == "" or part.startswith(".") for part in place.split("/")):
            raise ValueError(f"{place} is no place to write to")
    return version


def heads(found: Iterable[Version]) -> list[Version]:
    """The versions that no other one follows, in the order of time."""
    found = list(found)
    followed = {parent for one in found for parent in one.parents}
    return sorted((one for one in found if one.id not in followed), key=lambda one: one.id)


def items() -> dict[str, dict[str, Path]]:
    """What there is to keep in this home: the files of each item, by their path in it."""
    found: dict[str, dict[str, Path]] = {}
    for folder in [*_inside("checkpoints"), *_inside("runs")]:
        needed = "config.json" if folder.parent.name == "runs" else checkpoint.CARD_FILE
        if folder.is_dir() and folder.resolve() != DEFAULT_CHECKPOINT.resolve() and (folder / needed).is_file():
            found[_name_of(folder)] = _files(folder)
    for path in {Path(run.config.data) for run in registry.unsorted_runs()}:
        if path.parent.parent == home() / "uploads" and path.is_file():  # what a run is resumed with
            found[_name_of(path)] = {"": path}
    for kind in ("datasets", "visitors"):
        found |= {_name_of(path): {"": path} for path in _files(home() / kind).values()}
    return {item: files for item, files in found.items() if files}


def _inside(folder: str) -> list[Path]:
    folder = home() / folder
    return [path for path in sorted(folder.iterdir()) if _is_kept(path)] if folder.is_dir() else []


def _name_of(path: Path) -> str:
    return path.relative_to(home()).as_posix()


def _files(folder: Path) -> dict[str, Path]:
    """The files of a folder and of those in it, without what is hidden: locks, and what is not whole yet."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not _is_kept(path):
            continue
        if path.is_dir():
            found |= {f"{path.name}/{name}": file for name, file in _files(path).items()}
        elif path.is_file():
            found[path.name] = path
    return found


def _is_kept(path: Path) -> bool:
    is_left_out = path.name.startswith(".") or path.name.endswith(UNFINISHED) or path.name == RESERVE
    return not (is_left_out or path.is_symlink())
