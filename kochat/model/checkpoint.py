"""Checkpoints: a folder with a model, its tokenizer and its card; complete, or not there at all.

Knows the folder and the Hub; loads strictly, writes whole or not at all. The model itself is
`gpt2.py`'s business.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kochat.config import SHIPPED_CHECKPOINTS, home
from kochat.data.hub_client import split_revision
from kochat.errors import CheckpointError
from kochat.files import MAX_NAME_LENGTH as MAX_NAME_LENGTH
from kochat.files import atomic_folder, safe_name, sha256_of, write_atomically
from kochat.labels import CHATBOT_DATA_LABELS
from kochat.model import hub
from kochat.model.architectures import GPT2, positions_of
from kochat.model.cards import Card, model_card
from kochat.model.chat_template import chat_template
from kochat.model.kept_pairs import MAX_PAIRS as MAX_PAIRS
from kochat.model.kept_pairs import PAIRS_FILE as PAIRS_FILE
from kochat.model.kept_pairs import VALIDATION_FILE, read_pairs, write_pairs
from kochat.model.prompt import MAX_REPLY_TOKENS

if TYPE_CHECKING:  # brings torch, which takes seconds; listing checkpoints needs none
    from kochat.data.pairs import Pair
    from kochat.model.gpt2 import Model
    from kochat.model.tokenizer import Tokenizer
    from kochat.model.weights import Weights

CARD_FILE = "kochat.json"
NEEDED_FILES = ("config.json", "model.safetensors", "tokenizer.json", CARD_FILE)


@dataclass
class Checkpoint:
    """A loaded checkpoint: to train on its `model` is used, to talk its `weights`."""

    name: str
    folder: Path
    tokenizer: Tokenizer
    card: Card

    @cached_property
    def config(self) -> dict[str, Any]:
        """What config.json holds. Raises CheckpointError."""
        return _read_config(self.folder)

    @property
    def is_gpt2(self) -> bool:
        """Whether it is a GPT-2, whose replies kochat itself decodes. Raises CheckpointError."""
        return self.config.get("model_type") == GPT2

    @cached_property
    def pairs(self) -> list[Pair]:
        """What it was trained on, (question, answer, label), as far as it is kept. Raises CheckpointError."""
        return read_pairs(self.folder, self.name)

    @cached_property
    def validation(self) -> list[Pair]:
        """Pairs that no training of it has seen, as far as they are kept. Raises CheckpointError."""
        return read_pairs(self.folder, self.name, VALIDATION_FILE)

    @cached_property
    def model(self) -> Model:
        """The model as transformers has it. Raises CheckpointError."""
        from kochat.model.gpt2 import load_model

        return load_model(self.folder, self.tokenizer)

    @cached_property
    def weights(self) -> Weights:
        """The weights of a GPT-2 alone, for the tokens that there are. Raises CheckpointError, also for any other."""
        if not self.is_gpt2:
            raise CheckpointError("only_gpt2", name=self.name, found=self.config.get("model_type"))
        from kochat.model.weights import read_weights, weights_of

        ours = read_weights(self.folder) if (self.folder / CARD_FILE).is_file() else None
        whole = ours or weights_of(self.model)
        return whole if self.num_tokens >= whole.config["vocab_size"] else whole.for_vocabulary(self.num_tokens)

    @property
    def num_parameters(self) -> int:
        """How many numbers the model has, shared ones once. Raises CheckpointError."""
        return self.weights.parameters() if self.is_gpt2 else self.model.num_parameters()

    @cached_property
    def num_tokens(self) -> int:
        """One more than the largest id of the tokenizer; the model may have embeddings for more."""
        return max(self.tokenizer.get_vocab().values()) + 1


def load(source: str | os.PathLike, as_base: bool = False) -> Checkpoint:
    """Load a checkpoint folder, one of the list by its name, or a Hub id: owner/name, or owner/name@revision.

    A folder must be complete; as a base to train on it may lack kochat.json. A GPT-2 from the Hub
    without one is taken to be trained as the notebook does. Raises CheckpointError or HubError.
    """
    if folder := folder_meant(source):
        return _load(folder, folder.name, read_card(folder, needed=not as_base) or Card(), as_base)
    if not hub.looks_like_hub_id(str(source)):
        explain_absence(str(source))
    folder = hub.fetch(str(source))
    try:
        as_notebook = not as_base and _read_config(folder).get("model_type") == GPT2
        card = read_card(folder, needed=False) or Card(list(CHATBOT_DATA_LABELS) if as_notebook else [])
        return _load(folder, split_revision(str(source))[0], card, as_base)
    except CheckpointError as error:
        # The folder's own name is the hash of a commit.
        raise CheckpointError(error.key, **{**error.values, "name": source}) from error


def folder_meant(source: str | os.PathLike) -> Path | None:
    """The folder `source`, or that of the checkpoint in the list which is called so; None where neither is there."""
    folder = Path(os.path.abspath(source))  # "." has no name of its own
    here = bool(str(source)) and folder.is_dir()
    listed = {unicodedata.normalize("NFC", name): path for name, path in list_checkpoints(for_chat=False).items()}
    return folder if here else listed.get(unicodedata.normalize("NFC", str(source)))


def _load(folder: Path, name: str, card: Card, as_base: bool) -> Checkpoint:
    if card.weights_sha256 and card.weights_sha256 != sha256_of(folder / "model.safetensors"):
        raise CheckpointError("damaged_checkpoint", name=name)
    from kochat.model.tokenizer import load_tokenizer

    loaded = Checkpoint(name, folder, load_tokenizer(folder), card)
    loaded.tokenizer.chat_template = chat_template(loaded.tokenizer, card)
    if as_base or (card.labels and not loaded.is_gpt2):
        _ = loaded.model  # what is wrong with it is said now
    if not as_base and (card.labels or loaded.is_gpt2):
        known = loaded.weights.config if loaded.is_gpt2 else loaded.config
        if len(loaded.tokenizer) > known.get("vocab_size", math.inf):  # load_model makes up what a base lacks
            raise CheckpointError("damaged_checkpoint", name=name)
    return loaded


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        return {**json.loads((folder / "config.json").read_text("utf-8"))}
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError("damaged_checkpoint", name=folder.name) from error


def read_card(folder: Path, needed: bool = True) -> Card | None:
    """The card of a checkpoint folder, whose files must all be there. Raises CheckpointError.

    None where there is no kochat.json and it is not `needed`; then a .bin or several files will do for weights too.
    """
    missing = [name for name in NEEDED_FILES if not (folder / name).is_file()]
    if not needed and CARD_FILE in missing:
        missing.remove(CARD_FILE)
        others = ("pytorch_model.bin", "model.safetensors.index.json")
        if any((folder / name).is_file() for name in others) and "model.safetensors" in missing:
            missing.remove("model.safetensors")
    if missing:
        raise CheckpointError("incomplete_checkpoint", name=folder.name, missing=", ".join(missing))
    if not (folder / CARD_FILE).is_file():
        return None
    try:
        values = json.loads((folder / CARD_FILE).read_text("utf-8"))
        known = {f.name for f in fields(Card)}
        return Card(**{name: value for name, value in values.items() if name in known})
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError("damaged_checkpoint", name=folder.name) from error


def size_of(folder: Path) -> tuple[int, float]:
    """How wide the model of a checkpoint folder is, and about how many parameters it has. Raises CheckpointError."""
    config = _read_config(folder)
    of_gpt2 = config.get("model_type") == GPT2
    names = ("n_embd", "n_layer", "vocab_size") if of_gpt2 else ("hidden_size", "num_hidden_layers", "vocab_size")
    try:
        width, layers, vocabulary = (int(config[name]) for name in names)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError("damaged_checkpoint", name=folder.name) from error
    return width, 12.0 * layers * width**2 + vocabulary * width


def folder_of(name: str) -> Path:
    """Where a new checkpoint of this name goes. Raises CheckpointError for an unsafe name."""
    return home() / "checkpoints" / safe_name(name)


def check_free(output: str | os.PathLike) -> None:
    """Raise CheckpointError where a new checkpoint cannot be called `output`."""
    safe_name(Path(output).name if str(output).strip() else "")
    if Path(output).exists():
        raise CheckpointError("name_taken", name=Path(output).name)
    try:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=Path(output).parent).close()
    except OSError as error:
        raise CheckpointError("not_writable", path=str(Path(output).parent)) from error


def names_taken() -> set[str]:
    """Names that a new checkpoint cannot have: those of all folders beside the shipped and the own ones."""
    parents = (SHIPPED_CHECKPOINTS, home() / "checkpoints")
    return {path.name for parent in parents if parent.is_dir() for path in parent.iterdir()}


def list_checkpoints(for_chat: bool = True) -> dict[str, Path]:
    """Complete checkpoints by name: that of KOCHAT_CHECKPOINT, the shipped ones, what was trained, newest first.

    `for_chat` leaves out bases that were not trained to answer.
    """
    shipped = sorted(_complete(SHIPPED_CHECKPOINTS, for_chat), key=lambda path: path.name != "kochat-mini")
    own = _complete(home() / "checkpoints", for_chat)
    own.sort(key=_changed, reverse=True)
    found: dict[str, Path] = {}
    for path in shipped[:1] + own + shipped[1:]:
        found.setdefault(path.name, path)
    first = os.environ.get("KOCHAT_CHECKPOINT", "")
    return {first: found[first], **found} if first in found else found


def explain_absence(name: str) -> NoReturn:
    """Raise the CheckpointError that says why `name` is not in the list."""
    try:
        folder = folder_of(name)
    except CheckpointError:  # no name, but a path
        folder = None
    if folder and folder.is_dir():
        read_card(folder)
    raise CheckpointError("no_checkpoint", path=name)


def _changed(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):  # deleted since it was listed
        return path.stat().st_mtime
    return 0.0


def _complete(parent: Path, for_chat: bool) -> list[Path]:
    paths = []
    for path in parent.iterdir() if parent.is_dir() else ():
        if path.name.startswith(".") or not all((path / name).is_file() for name in NEEDED_FILES):
            continue
        # One that is damaged must not hide the others.
        with contextlib.suppress(CheckpointError):
            if read_card(path).labels or not for_chat:
                paths.append(path)
    return paths


def save(
    output: str | os.PathLike,
    model: Model,
    tokenizer: Tokenizer,
    card: Card,
    dtype: str = "float32",
    pairs: Sequence[Pair] = (),
    validation: Sequence[Pair] = (),
) -> Path:
    """Write a checkpoint: to a hidden folder beside `output`, synced, then renamed.

    `dtype` is that of the saved weights, `pairs` what it was trained on, at most MAX_PAIRS, and
    `validation` what it was not. Raises CheckpointError when the name is taken or the disk is full; nothing
    half-written stays.
    """
    output = Path(output)
    check_free(output)
    with atomic_folder(output) as part:
        _write(part, output.name, model, tokenizer, card, dtype)
        for rows, file in ((pairs, PAIRS_FILE), (validation, VALIDATION_FILE)):
            if rows:
                write_pairs(part, rows, file)
    return output


def _write(folder: Path, name: str, model: Model, tokenizer: Tokenizer, card: Card, dtype: str) -> None:
    from kochat.model.gpt2 import save_model

    positions = positions_of(model.config)
    save_model(model, folder, dtype, min(MAX_REPLY_TOKENS, max(1, positions - card.max_length)))
    tokenizer.model_max_length, tokenizer.chat_template = positions, chat_template(tokenizer, card)
    tokenizer.save_pretrained(folder)
    # transformers indents it, which doubles its size.
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    card.weights_sha256 = sha256_of(folder / "model.safetensors")
    write_card(folder, name, card)


def write_card(folder: Path, name: str, card: Card) -> None:
    """Write kochat.json, and the README.md made from it, of a checkpoint called `name`."""
    text = json.dumps(asdict(card), ensure_ascii=False, indent=2) + "\n"
    for file, content in ((CARD_FILE, text), ("README.md", model_card(name, card))):
        write_atomically(folder / file, content)


def record(folder: Path, metrics: dict[str, Any], strength: float | None = None) -> None:
    """Add figures to the card of a checkpoint, and its default strength where given. Raises CheckpointError."""
    card = read_card(folder)
    card.metrics.update(metrics)
    if strength is not None:
        card.strength = strength
    write_card(folder, folder.name, card)
