"""Atomic file writes: a file or folder is complete or not there, whatever ends the process meanwhile.

Knows the disk; not what is in a file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from kochat.config import home
from kochat.errors import CheckpointError

MAX_NAME_LENGTH = 60
NAME = re.compile(r"\w[\w-]*([ .][\w-]+)*")
NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
WINDOWS_OWN = r"(?i)con|prn|aux|nul|(com|lpt)\d"  # devices, not files


def safe_name(name: str) -> str:
    """`name` if it can be a file or a folder anywhere: letters of any script, digits, - and _; within it also
    single dots and spaces.

    It is the rule for whatever people name: checkpoints, datasets, runs. It is given back in the one normal form of
    Unicode (macOS takes Hangul apart). Raises CheckpointError.
    """
    name = unicodedata.normalize("NFC", name.strip())
    if not NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH or re.fullmatch(WINDOWS_OWN, name.split(".")[0]):
        raise CheckpointError("unsafe_name", name=name, longest=MAX_NAME_LENGTH)
    return name


@contextlib.contextmanager
def atomic_folder(output: Path) -> Iterator[Path]:
    """A hidden folder beside `output` to write into; in the end it is synced and renamed to `output`.

    If anything fails it is removed. Raises CheckpointError where the disk is full.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{output.name}.part-"
    for left in output.parent.glob(f"{prefix}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=prefix, dir=output.parent))
    try:
        yield part
        for file in part.iterdir():
            _sync(file)
        part.chmod(0o755)
        part.rename(output)
        _sync(output.parent)
    except Exception as error:
        if is_disk_full(error):
            raise CheckpointError("disk_full") from error
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def signature(path: str | Path) -> tuple[int, int, int, int]:
    """What of a file changes when its content does: device, inode, size in bytes, time in ns. Raises OSError."""
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def sha256_of(path: Path) -> str:
    """The SHA-256 of what is in a file, in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file by way of a hidden one beside it, synced: of two writers at once the later one's is there."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    part = Path(name)
    try:
        with open(descriptor, "wb") if isinstance(content, bytes) else open(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def move_without_replacing(part: Path, output: Path) -> None:
    """Sync the file `part` and name it `output`. Raises FileExistsError where that is there by now."""
    _sync(part)
    try:
        os.link(part, output)  # unlike a rename it never replaces another one's file
        part.unlink()
    except FileExistsError:
        raise
    except OSError:  # a disk without such links
        if output.exists():
            raise FileExistsError(output) from None
        part.rename(output)
    _sync(output.parent)


def explained(error: OSError) -> CheckpointError | None:
    """What to say where the disk is full or does not let us, naming KOCHAT_HOME where that is where; else None."""
    if is_disk_full(error):
        return CheckpointError("disk_full")
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else None
    if path is None or error.errno not in NO_ACCESS:
        return None
    if path.is_relative_to(home()):
        return CheckpointError("home_not_writable", path=home())
    return CheckpointError("no_access", path=path)


def is_disk_full(error: BaseException) -> bool:
    """Whether this says that the disk is full, or that no more may be written there.

    safetensors, tokenizers and torch have exceptions of their own, and tell the reason in words only.
    """
    no_more = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows has no quota of that name
    words = ("No space left on device", *(f"(os error {number})" for number in no_more))
    # What torch's zip writer says of a piece that it could not write, and then of the end of its file.
    torch = r"PytorchStreamWriter failed writing|inline_container\.cc:\d+\] \. unexpected pos"
    told = str(error)
    return getattr(error, "errno", None) in no_more or any(one in told for one in words) or bool(re.search(torch, told))


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
