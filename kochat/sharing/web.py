"""A checkpoint as a web page that talks by itself.

Puts the page's own files, of the folder `web/`, together with a description of the bot and its weights in 8 bits.
Up to `MANY_BYTES` of weights it is one file that asks nothing of any host; the page comes first in it and the weights
last, so that a browser shows it before it has read them all. A larger bot becomes a folder for a web host, the weights
in files beside the page.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kochat.data.checks import FOLDED
from kochat.data.crisis import NAMES_HELP, SPEAKS_OF_SUICIDE, TURN_TO
from kochat.errors import CheckpointError
from kochat.files import is_disk_full, write_atomically
from kochat.inference.chatbot import Chatbot
from kochat.model import checkpoint as checkpoints
from kochat.model.weights import Weights
from kochat.sharing.description import LANGUAGES, description_of
from kochat.sharing.int8 import quantised, quantised_size

PAGE = Path(__file__).with_name("web")
# In this order: each one uses only what stands before it.
SCRIPTS = ("tokenizer.js", "matching.js", "kernel.js", "decoder.js", "bot.js", "loading.js", "chat.js")
MANY_BYTES = 22_000_000  # of weights, 30 MB as text: a phone may not open a larger file
PART_BYTES = 20_000_000  # of a file of weights: what a host and a shaky line can bear
WEIGHTS_FILE = "weights-{}.bin"
# Where a page in a folder may load from: beside itself, and where the Hub sends whoever asks a Space for a large file.
HOSTS = "'self' https://*.hf.co https://*.huggingface.co"
MAX_TEXT = 300  # characters of a title or a greeting
BASE64_AT_ONCE = 3 * 2**20  # bytes; a multiple of three, so that the pieces can be joined


def export_web(
    checkpoint: str | os.PathLike,
    output: str | os.PathLike,
    title: str | None = None,
    greeting: str | None = None,
    progress: Callable[[float], object] | None = None,
) -> Path:
    """Write a checkpoint as a web page that talks by itself, and return its path; a page that is there is replaced.

    It is one HTML file. With more than MANY_BYTES of weights it is a folder for a web host, called as `output` without
    its .html, with index.html and the weights in files of at most PART_BYTES.
    `title` stands above the conversation and `greeting` begins it; by default they are those of the card's profile, and
    the title is the checkpoint's name where it has none. `progress` is called with the share that is done, from 0 to 1.
    Raises CheckpointError, HubError, ReplyError where it is a base that does not answer, and DataError where a label is
    too long for its prompt.
    """
    tell, output = progress or (lambda share: None), Path(output)
    tell(0.0)
    bot = Chatbot(checkpoints.load(checkpoint))
    tell(0.2)
    profile = bot.card.profile
    own = {"title": _short(title) or profile.get("title") or bot.name}
    own["greeting"] = _short(greeting) or profile.get("greeting", "")
    layout, pieces = _packed(bot.weights, lambda share: tell(0.2 + 0.6 * share))
    content = b"".join(pieces)
    description = {**description_of(bot), **own, "model": layout, "id": _id(content, bot)}
    tell(0.9)
    if len(content) > MANY_BYTES:
        output = output.with_suffix("") if output.suffix.lower() in (".html", ".htm") else output
        _write_folder(output, description, content)
    else:
        _write(output, page_of(description, content))
    tell(1.0)
    return output


def weights_size(checkpoint: str | os.PathLike) -> int:
    """How many bytes of weights the page of a checkpoint will have. Raises CheckpointError and HubError."""
    return quantised_size(checkpoints.load(checkpoint).weights)


def _short(text: str | None) -> str:
    return (text or "").strip()[:MAX_TEXT]


def _id(content: bytes, bot: Chatbot) -> str:
    """What tells this bot from others, whose conversations the same browser may keep."""
    return hashlib.sha256(content + json.dumps([bot.name, bot.labels]).encode()).hexdigest()[:16]


def _packed(weights: Weights, tell: Callable[[float], object]) -> tuple[dict[str, Any], list[bytes]]:
    """What the page has to know of the model, and its bytes: every matrix in 8 bits, then vectors in float32."""
    config, pieces, parts = weights.config, [], []
    number = sum(tensor.ndim == 2 for tensor in weights.tensors.values())
    for i, (name, matrix) in enumerate(quantised(weights)):
        parts.append([name, *matrix.whole.shape])
        pieces.append(matrix.bytes())
        tell((i + 1) / number)
    for name, tensor in weights.tensors.items():
        if tensor.ndim == 1:
            parts.append([name, len(tensor)])
            pieces.append(tensor.numpy().astype("<f4").tobytes())
    layout = {
        "layers": config["n_layer"],
        "heads": config["n_head"],
        "positions": config["n_positions"],
        "epsilon": config["layer_norm_epsilon"],
        "scaleAttention": config["scale_attn_weights"],
        "scaleByLayer": config["scale_attn_by_inverse_layer_idx"],
        "parts": parts,
    }
    return layout, pieces


def page_of(description: dict[str, Any], content: bytes = b"") -> str:
    """The HTML of a page with this description and these weights, or with weights in the files that it names."""
    texts = {language: json.loads(_own_file(f"{language}.json")) for language in LANGUAGES}
    patterns = {"speaksOfSuicide": SPEAKS_OF_SUICIDE, "namesHelp": NAMES_HELP, "unseenInside": FOLDED}
    crisis = {**{name: pattern.pattern for name, pattern in patterns.items()}, "turnTo": TURN_TO}
    style, script = _own_file("page.css"), "\n".join(['"use strict";', *map(_own_file, SCRIPTS)])
    return string.Template(_own_file("page.html")).substitute(
        title=html.escape(description["title"].encode("utf-8", "replace").decode()),
        policy=_policy(style, script, "files" in description),
        style=style,
        description=as_json({**description, **crisis, "texts": texts}),
        script=script,
        weights="".join(_base64(content)),
    )


def _own_file(name: str) -> str:
    return (PAGE / name).read_text("utf-8")


def _policy(style: str, script: str, loads: bool) -> str:
    """A Content-Security-Policy that forbids every script and style but the page's own, and every request.

    A page that loads its weights may do that.
    """
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)
    )
    return (
        f"default-src 'none'; script-src 'sha256-{script_hash}' 'wasm-unsafe-eval'; style-src 'sha256-{style_hash}'; "
        f"{f'connect-src {HOSTS}; ' if loads else ''}base-uri 'none'; form-action 'none'"
    )


def as_json(value: Any) -> str:
    """JSON that can stand in a page's <script>, whatever its texts hold: no tag can begin in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").encode("utf-8", "backslashreplace").decode()


def _base64(content: bytes) -> Iterator[str]:
    for start in range(0, len(content), BASE64_AT_ONCE):
        yield base64.b64encode(content[start : start + BASE64_AT_ONCE]).decode()


def _write_folder(folder: Path, description: dict[str, Any], content: bytes) -> None:
    """Write the weights first and the page, which names them, last: until then an earlier page stays as it was."""
    files = []
    for start in range(0, len(content), PART_BYTES):
        part = content[start : start + PART_BYTES]
        sha256 = hashlib.sha256(part).hexdigest()
        files.append((WEIGHTS_FILE.format(sha256[:16]), len(part), sha256))
        _write(folder / files[-1][0], part)
    _write(folder / "index.html", page_of({**description, "files": files}))
    for old in {path.name for path in folder.glob(WEIGHTS_FILE.format("*"))} - {name for name, _, _ in files}:
        (folder / old).unlink()


def _write(output: Path, page: str | bytes) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(output, page)
    except IsADirectoryError as error:
        raise CheckpointError("not_writable", path=output) from error
    except OSError as error:
        if is_disk_full(error):
            raise CheckpointError("disk_full") from error
        raise
