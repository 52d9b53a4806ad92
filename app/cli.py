"""The command line: `serve`, `train`, `predict`, `models`, `sample`, `runner`."""

import asyncio
import copy
import logging
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
import uvicorn
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from uvicorn.config import LOGGING_CONFIG, STARTUP_FAILURE

from app import __version__, cli_models, offline, online, settings
from app.auth import Guard
from app.schemas import TrainQuery
from app.standalone import train_only
from app.store import Store, StoreError
from app.terminal import Outputs, fail, notices, output, usage, wrong_option
from model import ALL_UNITS, sample_csv

GRACEFUL_SECONDS: Final = 20
PERSON_OPTIONS: Final = {name for units in ALL_UNITS for name in units.columns}

cli = typer.Typer(
    name="offsetnet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
cli.add_typer(cli_models.commands, name="models")

SERVER: Final = "With a server"
PERSON: Final = typer.Option(help="Of one person.", rich_help_panel="A person")


def _setting(name: str, panel: str = "Training settings") -> Any:
    """Offer one of the settings that POST /train takes too."""
    text = TrainQuery.model_fields[name].description
    return typer.Option(help=text, rich_help_panel=panel)


DataDir = Annotated[Path | None, typer.Option(help="Folder for the data.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(help="postgresql://..., in place of the folder's SQLite."),
]
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
        output.print(__version__)
        raise typer.Exit


@cli.command()
def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Server processes.")] = 1,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    access_log: Annotated[bool, typer.Option(help="Log each request.")] = False,
) -> None:
    """Answer predictions over HTTP, and retrain in the background."""
    _publish(data_dir, database_url)
    _check_settings()
    log_config = copy.deepcopy(LOGGING_CONFIG)
    log_config["loggers"]["app"] = {"handlers": ["default"], "level": "INFO"}
    signal.signal(signal.SIGTERM, _exit_cleanly)
    with _failure_as_1():
        uvicorn.run(
            "app.main:create_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http="httptools",
            ws="none",
            access_log=access_log,
            server_header=False,
            log_config=log_config,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        )


@cli.command()
def runner(*, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Only train: take jobs until stopped."""
    _publish(data_dir, database_url)
    _check_settings()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    asyncio.run(train_only(settings.Settings()))


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
        usage("give either a FILE or --article")
    if server is None and (promote, note) != (None, None):
        usage("--promote and --note go with --server")
    changes = _changes(context.params)
    outputs = Outputs(save_to=output_file, draw_curve=plot, as_json=as_json)
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
        usage("give either a FILE or a weight and a height")
    if file is not None and as_json:
        usage("--json is for one person; a FILE is answered as CSV")
    if file is None:
        offline.predict_person(weights, person, as_json=as_json)
    else:
        offline.predict_file(weights, file)


def main() -> None:
    """Run the command line."""
    cli(prog_name="offsetnet")


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
        wrong_option(error)


def _publish(data_dir: Path | None, database_url: str | None) -> None:
    """Let the flags win over the environment, here and in the processes below."""
    if data_dir is not None:
        settings.publish(data_dir=data_dir)
    if database_url is not None:
        settings.publish(database_url=database_url)


def _check_settings() -> None:
    """Find what is wrong with the settings before anything is started."""
    try:
        chosen = settings.Settings()
        Guard(chosen)
        _check_store(chosen)
    except ValidationError as error:
        fail(*settings.describe(error))
    except (StoreError, OSError) as error:
        fail(str(error))


def _check_store(chosen: settings.Settings) -> None:
    """Find what is wrong with the database; a server may be away and come."""
    store = Store(chosen)
    try:
        store.prepare()
    except DBAPIError as error:
        notices.print(f"the database does not answer: {error.orig}")
    finally:
        store.close()


@contextmanager
def _failure_as_1() -> Iterator[None]:
    """End with status 1, as every failure here does, where uvicorn would with 3."""
    try:
        yield
    except SystemExit as error:
        if error.code == STARTUP_FAILURE:
            raise typer.Exit(1) from error
        raise


def _exit_cleanly(*_: object) -> NoReturn:
    """End with status 0 once the server has shut down and signals itself again."""
    sys.exit(0)


if __name__ == "__main__":
    main()
