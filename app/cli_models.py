"""The command line's `models`: the versions of a server, and a file of one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app import cli_examples
from app.lazily import lazily

if TYPE_CHECKING:
    from app import offline, online
else:
    offline, online = lazily("app.offline"), lazily("app.online")

commands = typer.Typer(
    no_args_is_help=True,
    help="List, show, activate and verify versions.\n\n"
    "Every training that ends well makes a version of the network, with its data's\n"
    "hash and its quality; one of them serves. These commands ask a running server,\n"
    "but for verify, which reads a file.",
    epilog=cli_examples.MODELS,
)

Server = Annotated[str, typer.Option(help="Where: http://HOST:PORT.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Version = Annotated[int, typer.Argument(min=1, help="Its number.")]

HERE = "http://127.0.0.1:8000"


@commands.command(name="list", epilog=cli_examples.LIST)
def list_command(*, server: Server = HERE, as_json: Json = False) -> None:
    """List the versions, newest first.

    Which one serves and which did before it, when each was made, on how many
    people, and how good it was on those held out.
    """
    online.list_models(server, as_json=as_json)


@commands.command(epilog=cli_examples.SHOW)
def show(version: Version, *, server: Server = HERE, as_json: Json = False) -> None:
    """Show one version.

    Its parent, job, data and weights by their hashes, its quality, and the
    settings that it was trained with.
    """
    online.show_model(server, version, as_json=as_json)


@commands.command(epilog=cli_examples.ACTIVATE)
def activate(version: Version, *, server: Server = HERE, as_json: Json = False) -> None:
    """Let a version serve.

    No request fails meanwhile. If somebody else sets the active version in the
    same moment, this does nothing and says so. Needs an admin key, or a server
    without one on this machine.
    """
    online.activate(server, version, as_json=as_json)


@commands.command(epilog=cli_examples.ROLLBACK)
def rollback(*, server: Server = HERE, as_json: Json = False) -> None:
    """Let the version serve that did before the active one.

    A second call undoes the first.
    """
    online.roll_back(server, as_json=as_json)


@commands.command(epilog=cli_examples.VERIFY)
def verify(
    file: Annotated[Path, typer.Argument(help="Of weights, as safetensors.")],
    *,
    as_json: Json = False,
) -> None:
    """Verify a file of weights, without a server, and show what it holds.

    Its structure, shapes and numbers are checked, and its golden predictions are
    made again; the SHA-256 is what a server shows for the same version.
    """
    offline.verify_file(file, as_json=as_json)
