"""Keeping checkpoints: rename, delete, as a zip out and in again.

Never the shipped one, never one that a run works with. Knows checkpoints and runs; no model.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import re
import shutil
import stat
import tempfile
import time
import unicodedata
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from kochat.config import DEFAULT_CHECKPOINT, home
from kochat.errors import CheckpointError, SettingsError
from kochat.files import atomic_folder, safe_name
from kochat.model import checkpoint
from kochat.model.architectures import GPT2
from kochat.model.cards import MAX_PROFILE_EXAMPLES, PROFILE_TEXTS, source_name
from kochat.runs import evaluation_job, queue, registry

UPLOADS_KEPT = 24 * 3600  # seconds
MAX_FILES = 20
MAX_BYTES = 2 * 2**30  # unpacked; KoGPT2 in float32 is 0.5 GB
PIECE = 2**20
MAX_DEPTH = 4  # folders and the file itself: who unpacks and packs again often adds one
UTF_8_FLAG = 0x800
LITTER = (".DS_Store", "desktop.ini", "Thumbs.db", "Icon\r")  # of Finder and Explorer, beside __MACOSX/ and ._files
# What a broken zip, a locked one, or a config with nonsense in it raises.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    ImportError,
)
# Weights come as safetensors alone: other forms can carry code.
KINDS = (".safetensors", ".json", ".jinja", ".md", ".txt", ".xz")
# With these a config asks for other libraries, or for code from the Hub.
FOREIGN = ("quantization_config", "attn_implementation", "_attn_implementation", "auto_map")


def rename(name: str, new_name: str) -> Path:
    """Give a checkpoint another name. Raises CheckpointError."""
    with queue.lock():
        folder = _own(name)
        output = _free(new_name)
        evaluation_job.forget(folder)
        folder.rename(output)
    checkpoint.record(output, {})  # its README says the new name
    return output


def set_profile(name: str, profile: dict[str, Any]) -> None:
    """Keep what the owner of a checkpoint chose of its profile, see `Card.profile`. Raises KochatError."""
    examples = profile.get("examples", ())
    if len(examples) > MAX_PROFILE_EXAMPLES or any(len(one) > PROFILE_TEXTS["greeting"] for one in examples):
        raise SettingsError("too_many_examples", most=MAX_PROFILE_EXAMPLES, length=PROFILE_TEXTS["greeting"])
    with queue.lock():
        folder = _own(name)
        checkpoint.write_card(folder, folder.name, replace(checkpoint.read_card(folder), profile=profile))


def delete(name: str) -> None:
    """Remove a checkpoint from disk. Raises CheckpointError."""
    with queue.lock():
        folder = _own(name)
        evaluation_job.forget(folder)
        hidden = Path(tempfile.mkdtemp(prefix=f".{folder.name}.part-", dir=folder.parent))
        folder.rename(hidden / folder.name)  # gone at once, not file by file
    shutil.rmtree(hidden)


def forget_uploads() -> None:
    """Remove files uploaded more than a day ago that no run can go on from and no checkpoint was trained on."""
    folders = checkpoint.list_checkpoints(for_chat=False).values()
    with queue.lock():
        runs = {Path(run.config.data) for run in registry.list_runs()}
        names = {checkpoint.read_card(folder, needed=False).data.get("source") for folder in folders}
        for path in list((home() / "uploads").glob("*/*")):
            is_used = path in runs or source_name(str(path)) in names
            if not is_used and time.time() - path.stat().st_mtime > UPLOADS_KEPT:
                path.unlink()
                if not any(path.parent.iterdir()):  # the same bytes may be there under another name
                    path.parent.rmdir()


def _own(name: str) -> Path:
    folder = checkpoint.list_checkpoints(for_chat=False).get(name)
    if folder is None:
        raise CheckpointError("no_checkpoint", path=name)
    if folder == DEFAULT_CHECKPOINT or folder.parent != home() / "checkpoints":
        raise CheckpointError("shipped_checkpoint", name=name)
    for run in [*registry.running(), *registry.queued(), *registry.reserved().values()]:
        if Path(run.config.base) == folder or Path(run.config.output) == folder:
            raise CheckpointError("checkpoint_in_use", name=name, run=run.name)
    return folder


def _free(name: str) -> Path:
    output = checkpoint.folder_of(name)
    if output.name in checkpoint.names_taken() or output.name in registry.reserved():
        raise CheckpointError("name_taken", name=output.name)
    return output


def pack(name: str, folder: Path) -> Path:
    """Write a checkpoint as NAME.zip into `folder`. Raises CheckpointError."""
    source = checkpoint.list_checkpoints(for_chat=False).get(name)
    if source is None:
        raise CheckpointError("no_checkpoint", path=name)
    target = folder / f"{name}.zip"
    # By way of another file, since somebody may be downloading this one; stored, since weights hardly shrink.
    part = Path(tempfile.mkdtemp(dir=folder)) / target.name
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(source.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                archive.write(file, f"{name}/{file.name}")
    part.replace(target)
    part.parent.rmdir()
    return target


def unpack(archive: Path) -> Path:
    """Take a checkpoint out of a zip like those of `pack`, under the name of its folder or of the file.

    Checked before a byte is written: names, kinds and sizes; then loaded once, strictly, before it is there.
    Raises CheckpointError.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _members(opened, archive.name)
            output = _free(_name_for(next(iter(members)).parent.name, archive.stem))
            with atomic_folder(output) as part:
                for path, member in members.items():
                    _extract(opened, member, part / path.name, archive.name)
                _check(part, archive.name, output.name)
                _free(output.name)  # a run may have taken the name meanwhile
    except BROKEN as error:
        raise CheckpointError("bad_zip", name=archive.name) from error
    return output


def _name_for(folder: str, file: str) -> str:
    """The name of what is in a zip: that of its folder, else that of the file, whose browser may have numbered it."""
    for name in (folder, file):
        with contextlib.suppress(CheckpointError):
            return safe_name(name)
    return re.sub(r"[^\w-]+", " ", file).strip(" -")


def _path_in(member: zipfile.ZipInfo) -> PurePosixPath:
    """Where a file lies in a zip, its name as it was meant.

    Without the flag for UTF-8, which Finder and Explorer forget, zipfile takes a name for DOS's code page 437.
    """
    name = member.filename
    if not (member.flag_bits & UTF_8_FLAG or name.isascii()):
        for encoding in ("utf-8", "cp949"):
            with contextlib.suppress(UnicodeError):
                name = name.encode("cp437").decode(encoding)
                break
    return PurePosixPath(unicodedata.normalize("NFC", name))


def _is_litter(path: PurePosixPath) -> bool:
    return "__MACOSX" in path.parts or path.name in LITTER or path.name.startswith("._")


def _members(opened: zipfile.ZipFile, name: str) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The files of the zip by where they lie, if all of them may come in; what packers leave behind is left out."""
    there = [(_path_in(one), one) for one in opened.infolist() if not one.is_dir()]
    there = [(path, one) for path, one in there if not _is_litter(path)]
    folders = {path.parent for path, _ in there}
    for path, one in there:
        is_plain = len(path.parts) <= MAX_DEPTH and not path.is_absolute()
        is_plain &= not {"..", "\\"} & {*path.parts, *one.filename}
        is_link = stat.S_ISLNK(one.external_attr >> 16)
        is_plain &= bool(re.fullmatch(r"\w[\w.-]*", path.name))  # no drives, no streams, nothing hidden
        if not is_plain or is_link or path.suffix not in KINDS:
            raise CheckpointError("unsafe_zip", name=name, file=one.filename)
    sizes = sum(one.file_size for _, one in there)
    same = len({str(path).casefold() for path, _ in there}) < len(there)
    if same or not there or len(folders) > 1 or len(there) > MAX_FILES or sizes > MAX_BYTES:
        raise CheckpointError("bad_zip", name=name)
    return dict(there)


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, name: str) -> None:
    left = member.file_size
    with opened.open(member) as source, target.open("xb") as file:
        while piece := source.read(PIECE):
            left -= len(piece)
            if left < 0:  # it is larger than it says
                raise CheckpointError("bad_zip", name=name)
            file.write(piece)


def _check(folder: Path, name: str, output: str) -> None:
    """Refuse what cannot be talked to; write its README anew, whatever came along."""
    from kochat.inference.chatbot import load  # brings torch, which takes seconds

    try:
        card = checkpoint.read_card(folder)
        if not card.labels:
            raise CheckpointError("not_for_upload", name=name)
        _check_config(folder, name)
        load(folder).reply("안녕", card.labels[0])
        checkpoint.write_card(folder, output, card)
    except CheckpointError as error:  # the folder's own name says nothing to anybody
        raise CheckpointError(error.key, **{**error.values, "name": name}) from error


def _check_config(folder: Path, name: str) -> None:
    """Refuse a config that asks for more than a GPT-2, or for one much larger than the weights.

    Loading it would fill the memory.
    """
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if config.get("model_type") != GPT2:
        raise CheckpointError("only_gpt2", name=name, found=config.get("model_type"))
    width, layers = int(config.get("n_embd", 768)), int(config.get("n_layer", 12))
    others = int(config.get("vocab_size", 50257)) + int(config.get("n_positions", 1024))
    inner = int(config.get("n_inner") or 4 * width)
    parameters = layers * width * (4 * width + 2 * inner) + others * width
    if (
        any(config.get(one) for one in FOREIGN)
        or min(width, layers, others, inner) < 1
        or parameters > (folder / "model.safetensors").stat().st_size
    ):
        raise CheckpointError("damaged_checkpoint", name=name)
