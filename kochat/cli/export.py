"""`python -m kochat export`: a checkpoint as something that others open without kochat.

Knows the core and typer; errors are for whoever runs the command line to show.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Write a chatbot as something that others open without kochat.", no_args_is_help=True)

CheckpointArgument = Annotated[str, typer.Argument(help="A checkpoint: its folder, its name on the page, or a Hub id.")]


@app.callback()
def export() -> None:
    """Write a chatbot as something that others open without kochat."""


@app.command()
def web(
    checkpoint: CheckpointArgument,
    output: Annotated[
        Path,
        typer.Option(help="The HTML file to write (of a large chatbot the folder); one there is replaced."),
    ],
    title: Annotated[str | None, typer.Option(help="What stands above the chat. Default: the chatbot's name.")] = None,
    greeting: Annotated[str | None, typer.Option(help="What the chatbot says first.")] = None,
) -> None:
    """Write one web page that holds the chatbot and talks by itself, offline too."""
    from kochat.model.gpt2 import quiet
    from kochat.sharing.web import export_web

    quiet()
    warn_of_size(checkpoint)
    written = export_web(checkpoint, output, title, greeting)
    if written.is_dir():
        typer.echo(f"{written} is ready: put the folder on a web host, and open the address of its index.html.")
    else:
        typer.echo(f"{written} is ready ({written.stat().st_size / 1e6:.1f} MB): open it with a double click.")


@app.command()
def onnx(
    checkpoint: CheckpointArgument,
    output: Annotated[Path, typer.Option(help="The folder to write; it must not exist yet.")],
) -> None:
    """Write ONNX with a KV cache, for onnxruntime and transformers.js."""
    from kochat.model.gpt2 import quiet
    from kochat.sharing.onnx import export_onnx

    quiet()
    typer.echo(f"{export_onnx(checkpoint, output)} is ready; its README.md says how to use it, and what is not in it.")


@app.command()
def gguf(
    checkpoint: CheckpointArgument,
    output: Annotated[Path, typer.Option(help="The .gguf file to write; one that is there is replaced.")],
) -> None:
    """Write a GGUF file, for llama.cpp."""
    from kochat.model.gpt2 import quiet
    from kochat.sharing.gguf import export_gguf

    quiet()
    written = export_gguf(checkpoint, output)
    card = written.with_suffix(".md")
    typer.echo(f"{written} is ready; {card.name} beside it says how to use it, and what is not in it.")


def warn_of_size(checkpoint: str) -> None:
    """Say before a long export what a phone can bear."""
    from kochat.sharing.web import MANY_BYTES, weights_size

    if (size := weights_size(checkpoint)) > MANY_BYTES:
        typer.echo(
            f"Whoever opens its page loads {size / 1e6:.0f} MB and needs about {size / 1e6 + 200:.0f} MB of memory. "
            "Computers and newer phones bear that, older phones may close the page. Try it on one first.",
            err=True,
        )
