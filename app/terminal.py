"""What a person sees in the terminal: progress bars, tables, the loss curve, faults."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import numpy as np
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from model import LABEL_THRESHOLD, LABELS, Artifact, predict_proba

STRANGERS: Final = {"Emily": (-7.0, -3.0), "Frank": (20.0, 2.0)}  # offsets in lb, in
CURVE_WIDTH: Final = 64
CURVE_HEIGHT: Final = 14

output = Console(highlight=False, soft_wrap=True)
notices = Console(stderr=True, highlight=False, soft_wrap=True)


class Outputs(NamedTuple):
    """What is made of a training.

    Attributes:
        save_to: The file for its weights.
        draw_curve: Whether to show the losses.
        as_json: Whether a machine reads the rest.
    """

    save_to: Path | None
    draw_curve: bool
    as_json: bool


def progress_bar(unit: str) -> Progress:
    """Return a progress bar on standard error that leaves no trace."""
    return Progress(
        TextColumn(f"{unit} {{task.completed}}/{{task.total}}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=notices,
        transient=True,
        disable=not notices.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # else what is printed would go astray
    )


def write_rows(lines: Iterable[str], count: int) -> None:
    """Write a header and so many rows as they come, with a bar."""
    with progress_bar("row") as bar:
        task = bar.add_task("", total=count)
        for number, line in enumerate(lines):
            sys.stdout.write(line)
            bar.update(task, completed=number)


def show_person(answer: Mapping[str, Any], *, as_json: bool) -> None:
    """Show the answer for one person."""
    if as_json:
        print_json(answer)
        return
    note = " (nobody in training was out there)" if answer["extrapolating"] else ""
    output.print(f"{answer['label']}, P(F) = {answer['probability']:.3f}{note}")


def describe_losses(train_loss: float, holdout_loss: float | None) -> str:
    """Say where the training stands, in a few words."""
    text = f"loss {train_loss:.4f}"
    if holdout_loss is not None:
        text += f", holdout {holdout_loss:.4f}"
    return text


def metrics_table(artifact: Artifact) -> Table:
    """Show the quality of a network and what it was measured on."""
    rows = artifact.holdout_rows or artifact.rows
    what = "held-out" if artifact.holdout_rows else "training"
    table = Table(*artifact.metrics._fields, title=f"on {rows} {what} rows")
    table.add_row(*(f"{value:.4f}" for value in artifact.metrics))
    return table


def strangers(artifact: Artifact) -> list[str]:
    """Predict the article's two people whom the network has not seen."""
    P = predict_proba(artifact.params, np.array(list(STRANGERS.values()))).tolist()
    return [
        f"{name}: {p:.3f} {LABELS[p >= LABEL_THRESHOLD]}"
        for name, p in zip(STRANGERS, P, strict=True)
    ]


def loss_curve(history: Sequence[tuple[int, float, float | None]]) -> str:
    """Draw a training's losses: `.` for training, `o` for the holdout.

    Args:
        history: Of epochs in order: number, loss in training, loss on the holdout.
    """
    points = [(number, loss, ".") for number, loss, _ in history]
    points += [(number, loss, "o") for number, _, loss in history if loss is not None]
    losses = [loss for _, loss, _ in points]
    lowest, highest, last = min(losses), max(losses), history[-1][0]
    grid = [[" "] * CURVE_WIDTH for _ in range(CURVE_HEIGHT)]
    for number, loss, mark in points:
        x = (number - 1) * (CURVE_WIDTH - 1) // max(last - 1, 1)
        y = round((highest - loss) / ((highest - lowest) or 1) * (CURVE_HEIGHT - 1))
        grid[y][x] = mark
    edges = {0: f"{highest:.4f}", CURVE_HEIGHT - 1: f"{lowest:.4f}"}
    lines = [f"{edges.get(y, ''):>8} |{''.join(row)}" for y, row in enumerate(grid)]
    return "\n".join([*lines, f"{'epoch':>8}  1{last:>{CURVE_WIDTH - 1}}"])


def as_json(artifact: Artifact, **more: Any) -> dict[str, Any]:
    """Return what is known of a network, for machines."""
    return {
        **more,
        "rows": artifact.rows,
        "holdout_rows": artifact.holdout_rows,
        "metrics": artifact.metrics._asdict(),
        "config": artifact.config.to_dict(),
        "dataset_sha256": artifact.dataset_sha256,
    }


def print_json(value: object) -> None:
    """Print a result for machines."""
    output.print_json(json.dumps(value))


def usage(message: str) -> NoReturn:
    """Say that the command was called wrongly, and end with status 2."""
    raise typer.BadParameter(message)


def wrong_option(error: ValidationError) -> NoReturn:
    """Say which option breaks a rule, and end with status 2."""
    fault = error.errors(include_url=False, include_input=False)[0]
    name = "-".join(str(part) for part in fault["loc"]).replace("_", "-")
    usage(f"--{name}: {fault['msg']}")


def fail(*lines: str) -> NoReturn:
    """Say what went wrong, and end with status 1."""
    for line in lines:
        notices.print(line, style="red", markup=False)
    raise typer.Exit(1)
