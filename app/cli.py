"""The command line: `serve`, `train`, `predict`, `models`, `sample`, `runner`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from pydantic import ValidationError

from app import __version__, cli_examples, cli_models, cli_serve
from app.cli_models import Json
from app.lazily import lazily
from app.schemas import TrainQuery
from model import ALL_UNITS, sample_csv

if TYPE_CHECKING:
    from app import offline, online, predicting, terminal
else:
    offline, online = lazily("app.offline"), lazily("app.online")
    predicting, terminal = lazily("app.predicting"), lazily("app.terminal")

PAIRS: Final = [{*units.columns} for units in ALL_UNITS]

cli = typer.Typer(
    name="offsetnet",
    epilog=cli_examples.BEGIN,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
cli.command(epilog=cli_examples.SERVE)(cli_serve.serve)
cli.command(epilog=cli_examples.RUNNER)(cli_serve.runner)
cli.add_typer(cli_models.commands, name="models")

SERVER: Final = "With a server"
PERSON: Final = typer.Option(help="Of one person.", rich_help_panel="A person")


def _setting(name: str, panel: str = "Training settings") -> Any:
    """Offer one of the settings that POST /train takes too."""
    text = TrainQuery.model_fields[name].description
    return typer.Option(help=text, rich_help_panel=panel)


@cli.callback(invoke_without_command=True)
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.")
    ] = False,
) -> None:
    """Predict a label from weight and height, and retrain safely meanwhile.

    A tiny network gives the probability that a person is labelled F. A server
    answers over HTTP and retrains in the background; training and predicting
    work without one, too.
    """
    if version:
        terminal.output.print(__version__)
        raise typer.Exit


@cli.command(epilog=cli_examples.SAMPLE)
def sample(
    rows: Annotated[
        int, typer.Argument(min=1, max=10_000_000, help="How many people.")
    ],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same people.")] = 0,
) -> None:
    """Write a CSV of made-up people, to try things with.

    They have a weight in pounds, a height in inches and a label, drawn at random
    from a seed: the same seed gives the same people. Training reads the CSV as
    it is; for predicting, leave the label out.
    """
    for line in sample_csv(rows, seed):
        sys.stdout.write(line)


@cli.command(name="train", epilog=cli_examples.TRAIN)
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
    """Train on a CSV of people, or on the article's four as the article does.

    The CSV has a header with one of the pairs weight_offset,height_offset (from
    135 lb and 66 in), weight_lb,height_in or weight_kg,height_cm, and label (F,
    M, Female or Male). A part of the people is held out, and tells how good the
    network is on others. With --server the job runs there and is followed; the
    new version serves if it is about as good as the active one, or better.
    """
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


@cli.command(name="predict", epilog=cli_examples.PREDICT)
def predict_command(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="CSV of people.")] = None,
    *,
    weights: Annotated[
        Path | None, typer.Option(help="Weights to use; the shipped ones otherwise.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(help="Ask there: http://HOST:PORT.", rich_help_panel=SERVER),
    ] = None,
    as_json: Json = False,
    weight_offset: Annotated[float | None, PERSON] = None,
    height_offset: Annotated[float | None, PERSON] = None,
    weight_lb: Annotated[float | None, PERSON] = None,
    height_in: Annotated[float | None, PERSON] = None,
    weight_kg: Annotated[float | None, PERSON] = None,
    height_cm: Annotated[float | None, PERSON] = None,
) -> None:
    """Predict one person, or every person of a CSV.

    One person is a weight and a height in one of three pairs of options. The CSV
    has a header with one of these pairs and no other columns; it is written to
    standard output again, with probability, label and extrapolating in each row.
    With --server the version that is active there answers, and one version
    answers a whole file; the key is OFFSETNET_PREDICT_KEY or else
    OFFSETNET_ADMIN_KEY.
    """
    person = {
        name: value
        for name, value in context.params.items()
        if value is not None and name in set().union(*PAIRS)
    }
    if bool(person) == (file is not None):
        terminal.usage("give either a FILE or a weight and a height")
    if len(person) > 1 and person.keys() not in PAIRS:
        terminal.usage("give a weight and a height of one pair")
    if file is not None and as_json:
        terminal.usage("--json is for one person; a FILE is answered as CSV")
    if weights is not None and server is not None:
        terminal.usage("give either --weights or --server")
    source = predicting.Here(weights) if server is None else predicting.There(server)
    if file is None:
        predicting.predict_person(source, person, as_json=as_json)
    else:
        predicting.predict_file(source, file)


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
