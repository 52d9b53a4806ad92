"""Compare training with PyTorch's, on one thread.

The last two tables of `benchmarks.training` with PyTorch in them, on the same splits.
Its network is of `torch.nn` modules and learns from `BCEWithLogitsLoss` by PyTorch's
own optimizers, on standardized people in single precision. Batches are slices of rows
that are shuffled anew for each epoch; a `DataLoader` would take longer. The settings
are the fastest of a grid: learning rates 0.5 to 4 for SGD and 0.05 to 0.4 for Adam,
batches of 256 to 8,000, with and without a momentum of 0.9, and each of the optimizers'
implementations.

PyTorch is installed from PyPI into an environment of its own under .venv-peers, once:
on Linux it takes 5.4 GB. This program then runs there.

Usage: python -m benchmarks.pytorch [SPLITS]
"""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from rich.console import Console
from sklearn.exceptions import ConvergenceWarning

from benchmarks.peers.environment import environment
from benchmarks.training import (
    DEFAULTS,
    MANY,
    MAX_EPOCHS,
    OURS,
    RIVALS,
    SPLITS,
    Methods,
    Predict,
    Split,
    all_splits,
    made_up_people,
    many_rows,
    race,
)
from model import Floats

ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SETTINGS: Final[Mapping[str, tuple[int, Mapping[str, Any]]]] = {  # batch size, others
    "SGD": (2_048, {"lr": 4.0, "momentum": 0.9}),
    "Adam": (1_024, {"lr": 0.2, "fused": True}),
}


def pytorch(split: Split, name: str) -> Iterator[Predict]:
    """Yield what predicts after each epoch of PyTorch's."""
    torch = import_module("torch")
    torch.manual_seed(split.seed)
    mean, std = split.training.X.mean(axis=0), split.training.X.std(axis=0)
    X = torch.from_numpy((split.training.X - mean) / std).float()
    y = torch.from_numpy(split.training.y).float()
    network = torch.nn.Sequential(
        torch.nn.Linear(2, 2), torch.nn.Sigmoid(), torch.nn.Linear(2, 1)
    )
    batch_size, settings = SETTINGS[name]
    optimizer = getattr(torch.optim, name)(network.parameters(), **settings)
    loss_of = torch.nn.BCEWithLogitsLoss()

    def predict(held: Floats) -> Floats:
        with torch.no_grad():
            logits = network(torch.from_numpy((held - mean) / std).float())
        found: Floats = torch.sigmoid(logits)[:, 0].double().numpy()
        return found

    for _ in range(MAX_EPOCHS):
        order = torch.randperm(len(y))
        batches = zip(
            X[order].split(batch_size), y[order].split(batch_size), strict=True
        )
        for X_batch, y_batch in batches:
            optimizer.zero_grad()
            loss_of(network(X_batch), y_batch).backward()
            optimizer.step()
        yield predict


def main() -> None:
    """Print the two tables, from the environment that has PyTorch."""
    if find_spec("torch") is None:
        command = ("python", "-m", "benchmarks.pytorch", *sys.argv[1:])
        variables = {**os.environ, **environment("pytorch"), **ONE_THREAD}
        subprocess.run(command, check=True, env=variables)
        return
    warnings.simplefilter("ignore", ConvergenceWarning)
    rivals: Methods = {
        f"PyTorch {name}": partial(pytorch, name=name) for name in SETTINGS
    }
    import_module("torch")  # takes its time, which is not training's
    splits = int(sys.argv[1]) if len(sys.argv) > 1 else SPLITS
    console = Console()
    console.print(race(all_splits(splits), {**OURS, **RIVALS, **rivals}))
    many = {"offsetnet": OURS[DEFAULTS], **rivals}
    console.print(many_rows(made_up_people(MANY), many))


if __name__ == "__main__":
    main()
