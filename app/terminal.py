"""What a person sees in the terminal: progress bars, tables, the loss curve."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from model import LABEL_THRESHOLD, LABELS, Artifact, Epoch, predict_proba

STRANGERS: Final = {"Emily": (-7.0, -3.0), "Frank": (20.0, 2.0)}  # offsets in lb, in
CURVE_WIDTH: Final = 64
CURVE_HEIGHT: Final = 14

output = Console(highlight=False, soft_wrap=True)
notices = Console(stderr=True, highlight=False, soft_wrap=True)


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
    )


def describe_losses(epoch: Epoch) -> str:
    """Say where the training stands, in a few words."""
    text = f"loss {epoch.train_loss:.4f}"
    if epoch.holdout_loss is not None:
        text += f", holdout {epoch.holdout_loss:.4f}"
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


def loss_curve(epochs: Sequence[Epoch]) -> str:
    """Draw the losses over the epochs: `.` for training, `o` for the holdout."""
    points = [(epoch.number, epoch.train_loss, ".") for epoch in epochs]
    points += [
        (epoch.number, epoch.holdout_loss, "o")
        for epoch in epochs
        if epoch.holdout_loss is not None
    ]
    losses = [loss for _, loss, _ in points]
    lowest, highest, last = min(losses), max(losses), epochs[-1].number
    grid = [[" "] * CURVE_WIDTH for _ in range(CURVE_HEIGHT)]
    for number, loss, mark in points:
        x = (number - 1) * (CURVE_WIDTH - 1) // max(last - 1, 1)
        y = round((highest - loss) / ((highest - lowest) or 1) * (CURVE_HEIGHT - 1))
        grid[y][x] = mark
    edges = {0: f"{highest:.4f}", CURVE_HEIGHT - 1: f"{lowest:.4f}"}
    lines = [f"{edges.get(y, ''):>8} |{''.join(row)}" for y, row in enumerate(grid)]
    return "\n".join([*lines, f"{'epoch':>8}  1{last:>{CURVE_WIDTH - 1}}"])


def as_json(artifact: Artifact, epoch: Epoch, **more: Any) -> dict[str, Any]:
    """Return what a training ended with, for machines."""
    return {
        "epochs": epoch.number,
        "train_loss": epoch.train_loss,
        "holdout_loss": epoch.holdout_loss,
        "rows": artifact.rows,
        "holdout_rows": artifact.holdout_rows,
        "metrics": artifact.metrics._asdict(),
        "config": artifact.config.to_dict(),
        "dataset_sha256": artifact.dataset_sha256,
        **more,
    }
