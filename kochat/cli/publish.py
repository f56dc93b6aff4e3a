"""`python -m kochat push` and `python -m kochat deploy`: a checkpoint on the Hugging Face Hub.

Knows the core and typer; errors are for whoever runs the command line to show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kochat.cli.export import warn_of_size

if TYPE_CHECKING:  # brings huggingface_hub, which takes a while
    from kochat.sharing.hub import Published

app = typer.Typer(help="Put a chatbot where everybody can open it.", no_args_is_help=True)

CheckpointArgument = Annotated[str, typer.Argument(help="A checkpoint: its folder, or its name on the page.")]
RepoArgument = Annotated[str, typer.Argument(help="Where it goes on the Hub: owner/name.")]


@app.callback()
def deploy() -> None:
    """Put a chatbot where everybody can open it."""


def push(
    checkpoint: CheckpointArgument,
    repo: RepoArgument,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see a new repository.")] = False,
    with_pairs: Annotated[
        bool, typer.Option("--with-pairs", help="Publish the pairs that it was trained on, too.")
    ] = False,
) -> None:
    """Put a checkpoint on the Hugging Face Hub, private unless you say otherwise."""
    from kochat.sharing import hub

    _quiet()
    typer.echo(f"Uploading {checkpoint} …", err=True)
    published = hub.push(checkpoint, repo, private=not public, with_pairs=with_pairs)
    _tell(published)
    if published.held_back:
        typer.echo(f"Left out, since they hold the pairs: {', '.join(published.held_back)} (see --with-pairs).")


@app.command()
def web(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint: its folder, its name on the page, or a Hub id.")],
    repo: RepoArgument,
    private: Annotated[bool, typer.Option("--private", help="Let only the owner see a new Space.")] = False,
    title: Annotated[str | None, typer.Option(help="What stands above the chat. Default: the chatbot's name.")] = None,
    greeting: Annotated[str | None, typer.Option(help="What the chatbot says first.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")] = False,
) -> None:
    """Put the web page of a chatbot into a static Space of the Hugging Face Hub, which is free."""
    from kochat.sharing import hub

    _quiet()
    warn_of_size(checkpoint)
    typer.echo(f"Making the page of {checkpoint} …", err=True)
    published = hub.deploy_web(checkpoint, repo, private, title, greeting, dry_run)
    if not dry_run:
        return _tell(published)
    what = "made" if published.is_new else "updated"
    typer.echo(f"{published.url} would be {what} ({_seen_by(published)}), with {', '.join(published.files)}.")


def _quiet() -> None:
    from huggingface_hub.utils import logging

    from kochat.model.gpt2 import quiet

    quiet()
    logging.set_verbosity_error()


def _tell(published: Published) -> None:
    state = "is ready" if published.is_changed else "was up to date"
    typer.echo(f"{published.url} {state} ({_seen_by(published)}).")


def _seen_by(published: Published) -> str:
    return "private" if published.is_private else "everybody can see it"
