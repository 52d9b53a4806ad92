"""The command line: `serve`, `train`, `predict`, `models`, `sample`, `runner`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from pydantic import ValidationError

from app import __version__, cli_models, cli_serve
from app.lazily import lazily
from app.schemas import TrainQuery
from model import ALL_UNITS, sample_csv

if TYPE_CHECKING:
    from app import offline, online, terminal
else:
    offline, online = lazily("app.offline"), lazily("app.online")
    terminal = lazily("app.terminal")

PERSON_OPTIONS: Final = {name for units in ALL_UNITS for name in units.columns}

cli = typer.Typer(
    name="offsetnet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
cli.command()(cli_serve.serve)
cli.command()(cli_serve.runner)
cli.add_typer(cli_models.commands, name="models")

SERVER: Final = "With a server"
PERSON: Final = typer.Option(help="Of one person.", rich_help_panel="A person")


def _setting(name: str, panel: str = "Training settings") -> Any:
    """Offer one of the settings that POST /train takes too."""
    text = TrainQuery.model_fields[name].description
    return typer.Option(help=text, rich_help_panel=panel)


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@cli.callback(invoke_without_command=True)
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.")
    ] = False,
) -> None:
    """Predict a label from weight and height, and retrain safely meanwhile."""
    if version:
        terminal.output.print(__version__)
        raise typer.Exit


@cli.command()
def sample(
    rows: Annotated[
        int, typer.Argument(min=1, max=10_000_000, help="How many people.")
    ],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same people.")] = 0,
) -> None:
    """Write a CSV of made-up people, to try things with."""
    for line in sample_csv(rows, seed):
        sys.stdout.write(line)


@cli.command(name="train")
def train_command(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="CSV of labelled people.")] = None,
    *,
    article: Annotated[
        bool, typer.Option("--article", help="The article's run.")
    ] = False,
    output_file: Annotated[
        Path | None, typer.Option("--output", help="Where to save the weights.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(help="Train there: http://HOST:PORT.", rich_help_panel=SERVER),
    ] = None,
    promote: Annotated[str | None, _setting("promote", SERVER)] = None,
    note: Annotated[str | None, _setting("note", SERVER)] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the loss curve.")] = False,
    as_json: Json = False,
    hidden_units: Annotated[int | None, _setting("hidden_units")] = None,
    loss: Annotated[str | None, _setting("loss")] = None,
    learning_rate: Annotated[float | None, _setting("learning_rate")] = None,
    momentum: Annotated[float | None, _setting("momentum")] = None,
    batch_size: Annotated[int | None, _setting("batch_size")] = None,
    epochs: Annotated[int | None, _setting("epochs")] = None,
    patience: Annotated[str | None, _setting("patience")] = None,
    standardize: Annotated[bool | None, _setting("standardize")] = None,
    shuffle: Annotated[bool | None, _setting("shuffle")] = None,
    holdout: Annotated[float | None, _setting("holdout")] = None,
    seed: Annotated[int | None, _setting("seed")] = None,
) -> None:
    """Train on a CSV of people, or on the article's four as the article does."""
    if (file and article) or not (file or article or server):
        terminal.usage("give either a FILE or --article")
    if server is None and (promote, note) != (None, None):
        terminal.usage("--promote and --note go with --server")
    changes = _changes(context.params)
    outputs = terminal.Outputs(save_to=output_file, draw_curve=plot, as_json=as_json)
    if server is None:
        offline.train_file(file, changes, outputs)
    else:
        online.train(server, file, changes, outputs)


@cli.command(name="predict")
def predict_command(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="CSV of people.")] = None,
    *,
    weights: Annotated[
        Path | None, typer.Option(help="Weights to use; the shipped ones otherwise.")
    ] = None,
    as_json: Json = False,
    weight_offset: Annotated[float | None, PERSON] = None,
    height_offset: Annotated[float | None, PERSON] = None,
    weight_lb: Annotated[float | None, PERSON] = None,
    height_in: Annotated[float | None, PERSON] = None,
    weight_kg: Annotated[float | None, PERSON] = None,
    height_cm: Annotated[float | None, PERSON] = None,
) -> None:
    """Predict one person, or every person of a CSV."""
    person = {
        name: value
        for name, value in context.params.items()
        if value is not None and name in PERSON_OPTIONS
    }
    if bool(person) == (file is not None):
        terminal.usage("give either a FILE or a weight and a height")
    if file is not None and as_json:
        terminal.usage("--json is for one person; a FILE is answered as CSV")
    if file is None:
        offline.predict_person(weights, person, as_json=as_json)
    else:
        offline.predict_file(weights, file)


def _changes(parameters: Mapping[str, object]) -> TrainQuery:
    """Read the training settings as POST /train reads its query."""
    given = {
        name: str(value)
        for name, value in parameters.items()
        if name in TrainQuery.model_fields and value is not None
    }
    try:
        return TrainQuery.model_validate_strings(given)
    except ValidationError as error:
        terminal.wrong_option(error)
