"""A checkpoint on the Hugging Face Hub: as a model repository, or as a web page in a static Space; pairs as a dataset.

Knows what of a checkpoint goes up, and what stays since it is somebody's. Everything is made before the first request.
"""

from __future__ import annotations

import fnmatch
import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kochat.config import SAMPLE_QUESTIONS
from kochat.data.pairs import as_csv, read_pairs
from kochat.errors import HubError
from kochat.files import is_disk_full
from kochat.inference.chatbot import load
from kochat.labels import AUTO
from kochat.model import checkpoint as checkpoints
from kochat.model.cards import Card
from kochat.model.kept_pairs import PAIRS_FILE, VALIDATION_FILE
from kochat.sharing.hub_cards import TAG, dataset_readme, model_readme, space_readme
from kochat.sharing.repository import KINDS, Files, Published, account_of, connect, explained, publish, validate

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
EXAMPLES = 3  # on the Hub's page of a checkpoint


@dataclass(frozen=True)
class Entry:
    """A repository on the Hub; `kind` is "model", "dataset" or "space"."""

    kind: str
    repo: str
    url: str
    is_private: bool


def push(
    checkpoint: str | os.PathLike,
    repo: str,
    private: bool = True,
    with_pairs: bool = False,
    token: str | None = None,
) -> Published:
    """Put a checkpoint into the model repository `repo` (owner/name), which is made where it is not there.

    `private` is for a new repository; one that is there stays as it is, and pairs that are to be private do not go into
    a public one. Without `with_pairs` neither the kept pairs nor
    the names of the withheld questions go up, since they are somebody's, and pairs of an earlier push are taken away.
    Again it writes only what has changed. `token` is that of HF_TOKEN or of `hf auth login` where it is not given.
    Raises CheckpointError and HubError; nothing is written then.
    """
    validate(repo)
    files, card, left = files_of(checkpoint, with_pairs)
    files["README.md"] = model_readme(repo, card, with_pairs, _examples(checkpoint, card)).encode()
    gone = set(PAIR_FILES) - files.keys()
    options = {"is_obsolete": gone.__contains__, "token": token, "holds_pairs": with_pairs}
    return replace(publish("model", repo, files, private, **options), held_back=left)


def files_of(checkpoint: str | os.PathLike, with_pairs: bool = False) -> tuple[Files, Card, tuple[str, ...]]:
    """What of a checkpoint goes up, its card as it does, and the files that are left out.

    Without `with_pairs` neither the kept pairs nor the names of the withheld questions go up. Raises CheckpointError
    and HubError.
    """
    folder = checkpoints.load(checkpoint).folder  # whole, and as it was when it was saved
    card = checkpoints.read_card(folder)
    wanted = MODEL_FILES + (PAIR_FILES if with_pairs else ())
    files: Files = {name: folder / name for name in wanted if (folder / name).is_file()}
    files[checkpoints.CARD_FILE] = (folder / checkpoints.CARD_FILE).read_bytes()
    if not with_pairs and "withheld" in card.data:
        card = replace(card, data={name: value for name, value in card.data.items() if name != "withheld"})
        files[checkpoints.CARD_FILE] = _without_questions(files[checkpoints.CARD_FILE])
    return files, card, tuple(name for name in PAIR_FILES if name not in files and (folder / name).is_file())


def _examples(checkpoint: str | os.PathLike, card: Card) -> list[tuple[str, str]]:
    """Questions that the Hub's page offers, and what the chatbot answers."""
    if not card.labels:
        return []
    questions = (card.profile.get("examples") or list(SAMPLE_QUESTIONS))[:EXAMPLES]
    replies = load(checkpoint).replies([(question, AUTO) for question in questions])
    return list(zip(questions, replies, strict=True))


def push_dataset(
    data: str | os.PathLike,
    repo: str,
    private: bool = True,
    licence: str | None = None,
    token: str | None = None,
    **reading: Any,
) -> Published:
    """Put the pairs of `data` into the dataset repository `repo` (owner/name), with a card.

    `data` and `reading` are as `read_pairs` takes them, `licence` is called as the Hub calls it. Raises DataError and
    HubError; nothing is written then.
    """
    validate(repo)
    pairs = read_pairs(data, **reading)
    files: Files = {"data.csv": as_csv(pairs), "README.md": dataset_readme(repo, pairs, licence).encode()}
    return publish("dataset", repo, files, private, token=token, holds_pairs=True)


def published(token: str | None = None) -> list[Entry]:
    """What the token's owner has put on the Hub with kochat: checkpoints, datasets and Spaces. Raises HubError."""
    api = connect(token)
    with explained(""):
        author = account_of(api)["name"]
        found = {
            "model": api.list_models(author=author, filter=TAG),
            "dataset": api.list_datasets(author=author, filter=TAG),
            "space": api.list_spaces(author=author, filter=TAG),
        }
        return [
            Entry(kind, one.id, f"{api.endpoint}/{KINDS[kind]}{one.id}", bool(one.private))
            for kind, ones in found.items()
            for one in ones
        ]


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

    validate(repo)
    with tempfile.TemporaryDirectory() as folder:
        try:
            page = export_web(checkpoint, Path(folder) / "index.html", title, greeting)
        except OSError as error:
            if is_disk_full(error):
                raise HubError("disk_full") from error
            raise
        card, name = _card_of(checkpoint)
        shown = (title or "").strip() or card.profile.get("title") or name
        files: Files = {path.name: path for path in (page.iterdir() if page.is_dir() else [page])}
        files["README.md"] = space_readme(shown, card).encode()
        return publish("space", repo, files, private, dry_run, "static", is_obsolete=_is_left_over)


def _is_left_over(name: str) -> bool:
    """Whether a file is of an earlier page, or the style sheet of the one that the Hub puts into a new static Space."""
    from kochat.sharing.web import WEIGHTS_FILE

    return name == "style.css" or fnmatch.fnmatch(name, WEIGHTS_FILE.format("*"))


def _card_of(checkpoint: str | os.PathLike) -> tuple[Card, str]:
    loaded = checkpoints.load(checkpoint)
    return loaded.card, loaded.name.rsplit("/", 1)[-1]


def _without_questions(content: bytes) -> bytes:
    values = json.loads(content)
    del values["data"]["withheld"]
    return (json.dumps(values, ensure_ascii=False, indent=2) + "\n").encode()
