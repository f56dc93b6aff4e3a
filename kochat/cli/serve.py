"""`kochat serve`: chatbots behind the OpenAI protocol, without the page.

Knows the routes, uvicorn and typer.
"""

from __future__ import annotations

from typing import Annotated

import typer

from kochat.config import DEFAULT_CHECKPOINT

MAX_CONNECTIONS = 512  # what is more gets HTTP 503


def serve(
    checkpoints: Annotated[
        list[str] | None,
        typer.Argument(help="Checkpoints: folders, names on the page or Hub ids. Default: kochat-mini."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 for other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8000,
) -> None:
    """Serve chatbots behind the OpenAI protocol; KOCHAT_API_KEY is the key that others need, where it is set."""
    import uvicorn

    from kochat.inference.chatbot import load
    from kochat.model.gpt2 import quiet
    from kochat.sharing.serving import server

    quiet()
    bots = {bot.name: bot for bot in map(load, checkpoints or [str(DEFAULT_CHECKPOINT)])}
    typer.echo(f"{', '.join(bots)}: http://{host}:{port}/v1")
    uvicorn.run(server(bots), host=host, port=port, log_level="warning", limit_concurrency=MAX_CONNECTIONS)
