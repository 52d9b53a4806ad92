"""What the command line does by itself, without a server: train, and verify."""

import hashlib
from pathlib import Path
from typing import Final

from app import terminal
from app.files import check_output, read_table, read_verified, write
from app.terminal import Outputs, fail, notices, output, print_json
from app.training_settings import ConfigChanges
from model import (
    ARTICLE_CONFIG,
    ARTICLE_PEOPLE,
    Artifact,
    Dataset,
    DivergedError,
    Epoch,
    TrainingConfig,
    save,
    train,
)

ARTICLE_STEP: Final = 10  # epochs between two of the article's lines


def train_file(path: Path | None, changes: ConfigChanges, outputs: Outputs) -> None:
    """Train on a CSV, or without one on the article's people, and show the result."""
    save_to, draw_curve, as_json = outputs
    check_output(save_to)
    is_article = path is None
    data = ARTICLE_PEOPLE if path is None else _read_people(path)
    defaults = ARTICLE_CONFIG if is_article else TrainingConfig()
    config = changes.apply_to(defaults).for_rows(len(data))
    history = _train(data, config, has_article_lines=is_article and not as_json)
    artifact = Artifact.of_training(history[-1].params, data, config)
    content = save(artifact)
    if save_to:
        write(save_to, content)
    if draw_curve:
        points = [(one.number, one.train_loss, one.holdout_loss) for one in history]
        (notices if as_json else output).print(terminal.loss_curve(points))
    if as_json:
        sha256 = hashlib.sha256(content).hexdigest()
        print_json(terminal.as_json(artifact, **_end(history[-1]), sha256=sha256))
        return
    output.print(str(artifact.params))
    for line in terminal.strangers(artifact) if is_article else []:
        output.print(line)
    output.print(terminal.metrics_table(artifact))


def verify_file(path: Path, *, as_json: bool) -> None:
    """Verify an artifact's file and show what it holds."""
    artifact, content = read_verified(path)
    sha256 = hashlib.sha256(content).hexdigest()
    if as_json:
        print_json(terminal.as_json(artifact, sha256=sha256))
        return
    output.print(f"sha256 {sha256}")
    output.print(f"{artifact.rows} rows, {artifact.config.hidden_units} hidden units")
    output.print(terminal.metrics_table(artifact))


def _train(
    data: Dataset, config: TrainingConfig, *, has_article_lines: bool
) -> list[Epoch]:
    """Train with a bar, or as the article does with a line every ten epochs."""
    history = []
    try:
        with terminal.progress_bar("epoch") as bar:
            task = bar.add_task("", total=config.epochs)
            for epoch in train(data, config):
                history.append(epoch)
                losses = terminal.describe_losses(epoch.train_loss, epoch.holdout_loss)
                bar.update(task, completed=epoch.number, description=losses)
                if has_article_lines and epoch.number % ARTICLE_STEP == 1:
                    number = epoch.number - 1  # the article counts from 0
                    output.print(f"Epoch {number} loss: {epoch.train_loss:.3f}")
    except DivergedError as error:
        fail(f"the training diverged: {error}")
    return history


def _end(epoch: Epoch) -> dict[str, float | None]:
    return {
        "epochs": epoch.number,
        "train_loss": epoch.train_loss,
        "holdout_loss": epoch.holdout_loss,
    }


def _read_people(path: Path) -> Dataset:
    data = read_table(path, labelled=True).to_dataset()
    if not data.has_both_classes:
        fail(f"{path}: at least one F and one M are needed")
    return data
