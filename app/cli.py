"""The command line: `offsetnet serve`, `train`, `predict`, `sample`, `runner`."""

import copy
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
import uvicorn
from pydantic import ValidationError
from uvicorn.config import LOGGING_CONFIG, STARTUP_FAILURE

from app import __version__, offline, settings
from app.auth import Guard
from app.schemas import ConfigChanges
from app.store import Store, StoreError
from app.terminal import output
from model import ALL_UNITS, sample_csv

GRACEFUL_SECONDS: Final = 20
PERSON_OPTIONS: Final = {name for units in ALL_UNITS for name in units.columns}

cli = typer.Typer(
    name="offsetnet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

PERSON: Final = typer.Option(help="Of one person.", rich_help_panel="A person")


def _setting(name: str) -> Any:
    """Offer one of the training settings that POST /train takes too."""
    text = ConfigChanges.model_fields[name].description
    return typer.Option(help=text, rich_help_panel="Training settings")


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
    data_dir: Annotated[Path | None, typer.Option(help="Folder for the data.")] = None,
    access_log: Annotated[bool, typer.Option(help="Log each request.")] = False,
) -> None:
    """Answer predictions over HTTP, and retrain in the background."""
    if data_dir is not None:
        settings.publish(data_dir=data_dir)
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
def runner() -> None:
    """Only train: take jobs from the data folder until stopped."""
    _check_settings()
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    os.execve(sys.executable, [sys.executable, "-P", "-m", "app.runner"], environment)


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
    if article == (file is not None):
        offline.usage("give either a FILE or --article")
    offline.train_file(
        file,
        context.params,
        save_to=output_file,
        draw_curve=plot,
        as_json=as_json,
    )


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
        offline.usage("give either a FILE or a weight and a height")
    if file is not None and as_json:
        offline.usage("--json is for one person; a FILE is answered as CSV")
    if file is None:
        offline.predict_person(weights, person, as_json=as_json)
    else:
        offline.predict_file(weights, file)


def main() -> None:
    """Run the command line."""
    cli(prog_name="offsetnet")


def _check_settings() -> None:
    """Find what is wrong with the settings before anything is started."""
    try:
        chosen = settings.Settings()
        Guard(chosen)
        Store(chosen.database_path).close()
    except ValidationError as error:
        offline.fail(*(_describe(fault) for fault in error.errors()))
    except (StoreError, OSError) as error:
        offline.fail(str(error))


def _describe(fault: Mapping[str, Any]) -> str:
    variables = [settings.PREFIX + str(name).upper() for name in fault["loc"]]
    return ": ".join([*variables, fault["msg"]])


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
