"""`python -m kochat export`: a checkpoint as something that others open without kochat.

Knows the core and typer; errors are for whoever runs the command line to show.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Write a chatbot as something that others open without kochat.", no_args_is_help=True)


@app.callback()
def export() -> None:
    """Write a chatbot as something that others open without kochat."""


@app.command()
def web(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint: its folder, its name on the page, or a Hub id.")],
    output: Annotated[Path, typer.Option(help="The HTML file to write; one that is there is replaced.")],
    title: Annotated[str | None, typer.Option(help="What stands above the chat. Default: the chatbot's name.")] = None,
    greeting: Annotated[str | None, typer.Option(help="What the chatbot says first.")] = None,
) -> None:
    """Write one web page that holds the chatbot and talks by itself, offline too."""
    from kochat.model.gpt2 import quiet
    from kochat.sharing.web import MANY_BYTES, export_web

    quiet()
    written = export_web(checkpoint, output, title, greeting)
    size = written.stat().st_size
    typer.echo(f"{written} is ready ({size / 1e6:.1f} MB): open it with a double click.")
    if size > MANY_BYTES:
        typer.echo("That is a lot for a phone: try it on one before you pass it on.", err=True)
