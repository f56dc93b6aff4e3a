"""`python -m kochat push`, `push-data`, `published` and `deploy`: chatbots and pairs on the Hugging Face Hub.

Knows the core and typer; errors are for whoever runs the command line to show.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from kochat.cli.export import warn_of_size
from kochat.config import DEFAULT_CHECKPOINT

if TYPE_CHECKING:  # brings huggingface_hub, which takes a while
    from kochat.sharing.package import Hardware
    from kochat.sharing.repository import Published


class Deploy(TyperGroup):
    """A group whose command is `space` where none is named: `kochat deploy OWNER/NAME`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        """Put `space` before what names no command."""
        names_one = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if names_one else ["space", *args])


app = typer.Typer(cls=Deploy, help="Put a chatbot where everybody can open it.", no_args_is_help=True)

CheckpointArgument = Annotated[str, typer.Argument(help="A checkpoint: its folder, or its name on the page.")]
RepoArgument = Annotated[str, typer.Argument(help="Where it goes on the Hub: owner/name.")]
TitleOption = Annotated[str | None, typer.Option(help="What stands above the chat. Default: the chatbot's name.")]
PrivateOption = Annotated[bool, typer.Option("--private", help="Let only the owner see a new Space.")]
PublicOption = Annotated[bool, typer.Option("--public", help="Let everybody see a new repository.")]
PairsOption = Annotated[bool, typer.Option("--with-pairs", help="Publish the pairs that it was trained on, too.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")]


@app.callback()
def deploy() -> None:
    """Put a chatbot where everybody can open it: `kochat deploy OWNER/NAME` the whole page, `web` the chatbot alone."""


def push(
    checkpoint: CheckpointArgument, repo: RepoArgument, public: PublicOption = False, with_pairs: PairsOption = False
) -> None:
    """Put a checkpoint on the Hugging Face Hub, private unless you say otherwise."""
    from kochat.sharing import hub

    _quiet()
    typer.echo(f"Uploading {checkpoint} …", err=True)
    _tell(hub.push(checkpoint, repo, private=not public, with_pairs=with_pairs))


def push_data(
    data: Annotated[str, typer.Argument(help="A file of pairs, a URL, or the name of a known dataset.")],
    repo: RepoArgument,
    public: PublicOption = False,
    licence: Annotated[
        str | None, typer.Option("--license", help="Of the pairs, as the Hub calls it: cc-by-4.0, mit, …")
    ] = None,
) -> None:
    """Put pairs on the Hugging Face Hub as a dataset, private unless you say otherwise."""
    from kochat.sharing import hub

    _quiet()
    _tell(hub.push_dataset(data, repo, private=not public, licence=licence))


def published() -> None:
    """Print what you have put on the Hugging Face Hub with kochat."""
    from kochat.sharing import hub

    _quiet()
    for one in hub.published():
        typer.echo(f"{one.kind:8} {one.repo}  {'private' if one.is_private else 'public '}  {one.url}")


@app.command()
def space(
    repo: RepoArgument,
    checkpoint: Annotated[
        str, typer.Option(help="The chatbot that it opens on: a folder, a name on the page, or a Hub id.")
    ] = str(DEFAULT_CHECKPOINT),
    hardware: Annotated[str, typer.Option(help="zero-a10g, cpu-basic, t4-small, …: the Hub's name.")] = "zero-a10g",
    private: PrivateOption = False,
    title: TitleOption = None,
    with_pairs: PairsOption = False,
    secret: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, or NAME with the value that it has here; several times.")
    ] = None,
    variable: Annotated[list[str] | None, typer.Option(help="The same, for what everybody may see.")] = None,
    bucket: Annotated[
        str | None, typer.Option(help="A storage bucket that keeps everything, owner/name; made if it is not there.")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Put the whole page into a Space of the Hugging Face Hub: to talk, teach and train. Short: deploy OWNER/NAME."""
    from kochat.sharing import space as spaces

    _quiet()
    secrets, variables = (_values(ones, option) for ones, option in ((secret, "--secret"), (variable, "--variable")))
    typer.echo(f"Looking at the Hub, and putting {repo} together …", err=True)
    made = spaces.deploy_space(
        repo,
        checkpoint,
        hardware,
        private,
        title,
        with_pairs,
        secrets,
        variables,
        bucket,
        dry_run,
        tell_price=lambda one: typer.echo(_price(one), err=True),
    )
    if dry_run:
        return _plan(made)
    _tell(made, "is written", "had these files already")
    stage = spaces.wait_for_space(made.repo, made.commit, lambda stage: typer.echo(_at(stage), err=True))
    typer.echo(f"{made.url} runs." if stage == "RUNNING" else f"{made.url} is not running yet: {_at(stage)}")


@app.command()
def web(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint: its folder, its name on the page, or a Hub id.")],
    repo: RepoArgument,
    private: PrivateOption = False,
    title: TitleOption = None,
    greeting: Annotated[str | None, typer.Option(help="What the chatbot says first.")] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Put the web page of a chatbot into a static Space of the Hugging Face Hub, which is free."""
    from kochat.sharing import hub

    _quiet()
    warn_of_size(checkpoint)
    typer.echo(f"Making the page of {checkpoint} …", err=True)
    made = hub.deploy_web(checkpoint, repo, private, title, greeting, dry_run)
    _plan(made) if dry_run else _tell(made)


def _values(given: list[str] | None, option: str) -> dict[str, str]:
    """NAME=VALUE as a dict; the value of NAME alone is that of the environment."""
    found = {}
    for one in given or ():
        name, is_given, value = one.partition("=")
        if not is_given and name not in os.environ:
            raise typer.BadParameter(f"{name} is not set here; write {name}=VALUE.", param_hint=option)
        found[name] = value if is_given else os.environ[name]
    return found


def _price(hardware: Hardware) -> str:
    if hardware.name == "zero-a10g":
        return "ZeroGPU costs nothing; visitors use their own daily quota of GPU time."
    if hardware.name == "cpu-basic":
        return "CPU Basic costs nothing by the hour; making such a Space needs PRO or a paid organisation."
    if hardware.price is None:
        return f"What {hardware.title} costs is at https://huggingface.co/pricing."
    return f"{hardware.title} costs ${hardware.price:.2f} an hour while it runs; an hour without a visitor it sleeps."


def _at(stage: str) -> str:
    return stage.replace("_", " ").lower()


def _quiet() -> None:
    from huggingface_hub.utils import logging

    from kochat.model.gpt2 import quiet

    quiet()
    logging.set_verbosity_error()


def _plan(planned: Published) -> None:
    what = "made" if planned.is_new else "updated"
    folders = sorted({name.partition("/")[0] for name in planned.files}, key=str.lower)
    typer.echo(f"{planned.url} would be {what} ({_seen_by(planned)}), with {', '.join(folders)}.")


def _tell(made: Published, ready: str = "is ready", same: str = "was up to date") -> None:
    state = ready if made.is_changed else same
    typer.echo(f"{made.url} {state} ({_seen_by(made)}).")
    if made.held_back:
        typer.echo(f"Left out, since they hold the pairs: {', '.join(made.held_back)} (see --with-pairs).")


def _seen_by(made: Published) -> str:
    return "private" if made.is_private else "everybody can see it"
