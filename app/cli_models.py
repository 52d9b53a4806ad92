"""The command line's `models`: the versions of a server, and a file of one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.lazily import lazily

if TYPE_CHECKING:
    from app import offline, online
else:
    offline, online = lazily("app.offline"), lazily("app.online")

commands = typer.Typer(
    no_args_is_help=True, help="List, show, activate and verify versions."
)

Server = Annotated[str, typer.Option(help="Where: http://HOST:PORT.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Version = Annotated[int, typer.Argument(min=1, help="Its number.")]

HERE = "http://127.0.0.1:8000"


@commands.command(name="list")
def list_command(*, server: Server = HERE, as_json: Json = False) -> None:
    """List the versions, newest first."""
    online.list_models(server, as_json=as_json)


@commands.command()
def show(version: Version, *, server: Server = HERE, as_json: Json = False) -> None:
    """Show one version."""
    online.show_model(server, version, as_json=as_json)


@commands.command()
def activate(version: Version, *, server: Server = HERE, as_json: Json = False) -> None:
    """Let a version serve."""
    online.activate(server, version, as_json=as_json)


@commands.command()
def rollback(*, server: Server = HERE, as_json: Json = False) -> None:
    """Let the version serve that did before the active one."""
    online.roll_back(server, as_json=as_json)


@commands.command()
def verify(
    file: Annotated[Path, typer.Argument(help="Of weights, as safetensors.")],
    *,
    as_json: Json = False,
) -> None:
    """Verify a file of weights, without a server, and show what it holds."""
    offline.verify_file(file, as_json=as_json)
