"""Compare training with the article's own loop and with scikit-learn, on one thread.

Three tables. The article's run: 1,000 epochs over its four people, against its own loop
of NumPy scalars, written anew here with the right gradient. To the target: from nothing
to a mean squared error on held-out people of 1.01 times that of logistic regression, on
the same splits of 10,000 people (the real ones of `benchmarks.quality` where their file
is, else made-up ones); looking at the held-out people is not counted. Each
method has the settings that were fastest of a grid of learning rates and batch sizes
(0.02 to 1, 32 to 512), ours the defaults besides. Many rows: epochs over a million
people, in rows a second, with the peak of memory that two epochs add to the data.

Usage: python -m benchmarks.training [SPLITS]
"""

import ctypes
import gc
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from benchmarks.quality import DATA, read_people
from model import (
    ARTICLE_CONFIG,
    ARTICLE_PEOPLE,
    CsvReader,
    Dataset,
    Floats,
    TrainingConfig,
    predict_proba,
    sample_csv,
    train,
)

SPLITS: Final = 10
ROWS: Final = 10_000
MANY: Final = 1_000_000
MAX_EPOCHS: Final = 300
TARGET: Final = 1.01
DEFAULT: Final = TrainingConfig(holdout=0.0, patience=None, epochs=MAX_EPOCHS)
FASTEST: Final = replace(DEFAULT, learning_rate=0.5, batch_size=128)
DEFAULTS: Final = "offsetnet, defaults"
SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {  # of scikit-learn
    "SGD": {"solver": "sgd", "learning_rate_init": 0.5, "batch_size": 512},
    "Adam": {"solver": "adam", "learning_rate_init": 0.1, "batch_size": 512},
    "L-BFGS": {"solver": "lbfgs", "max_iter": 500},
}

Predict = Callable[[Floats], Floats]
Epochs = Callable[["Split"], Iterator[Predict]]
Methods = Mapping[str, Epochs]


class ArticleNetwork:
    """The article's class: a number an attribute, a person at a time."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw the nine numbers."""
        self.w1, self.w2, self.w3, self.w4, self.w5, self.w6 = rng.standard_normal(6)
        self.b1, self.b2, self.b3 = rng.standard_normal(3)

    def feedforward(self, x: Floats) -> np.float64:
        """Return the output for one person."""
        h1 = sigmoid(self.w1 * x[0] + self.w2 * x[1] + self.b1)
        h2 = sigmoid(self.w3 * x[0] + self.w4 * x[1] + self.b2)
        return sigmoid(self.w5 * h1 + self.w6 * h2 + self.b3)

    def train(self, data: Floats, targets: Floats) -> float:
        """Train as the article does; return the last loss that it prints."""
        rate, loss = 0.1, 0.0
        for epoch in range(1_000):
            for x, y in zip(data, targets, strict=True):
                sum_h1 = self.w1 * x[0] + self.w2 * x[1] + self.b1
                sum_h2 = self.w3 * x[0] + self.w4 * x[1] + self.b2
                h1, h2 = sigmoid(sum_h1), sigmoid(sum_h2)
                sum_o1 = self.w5 * h1 + self.w6 * h2 + self.b3
                d_loss = -2 * (y - sigmoid(sum_o1))
                d_w5, d_w6 = h1 * slope(sum_o1), h2 * slope(sum_o1)
                d_b3 = slope(sum_o1)
                d_h1, d_h2 = self.w5 * slope(sum_o1), self.w6 * slope(sum_o1)
                d_w1, d_w2 = x[0] * slope(sum_h1), x[1] * slope(sum_h1)
                d_b1 = slope(sum_h1)
                d_w3, d_w4 = x[0] * slope(sum_h2), x[1] * slope(sum_h2)
                d_b2 = slope(sum_h2)
                self.w1 -= rate * d_loss * d_h1 * d_w1
                self.w2 -= rate * d_loss * d_h1 * d_w2
                self.b1 -= rate * d_loss * d_h1 * d_b1
                self.w3 -= rate * d_loss * d_h2 * d_w3
                self.w4 -= rate * d_loss * d_h2 * d_w4
                self.b2 -= rate * d_loss * d_h2 * d_b2
                self.w5 -= rate * d_loss * d_w5
                self.w6 -= rate * d_loss * d_w6
                self.b3 -= rate * d_loss * d_b3
            if epoch % 10 == 0:
                outputs = np.apply_along_axis(self.feedforward, 1, data)
                loss = float(((targets - outputs) ** 2).mean())
        return loss


def sigmoid(z: np.float64) -> np.float64:
    """Return the sigmoid as the article writes it."""
    return 1 / (1 + np.exp(-z))  # type: ignore[no-any-return] # a scalar


def slope(z: np.float64) -> np.float64:
    """Return the sigmoid's derivative as the article writes it."""
    fx = sigmoid(z)
    return fx * (1 - fx)


class Split(NamedTuple):
    """People to train on, people held out, and the error to reach there."""

    seed: int
    training: Dataset
    held: Dataset
    target: float

    @classmethod
    def of(cls, people: Dataset, seed: int) -> "Split":
        """Hold a random fifth out."""
        held = np.zeros(len(people), np.bool_)
        held[np.random.default_rng(seed).permutation(len(people))[: ROWS // 5]] = True
        split = cls(seed, people[~held], people[held], target=0.0)
        reference = LogisticRegression(C=np.inf)
        reference.fit(split.training.X, split.training.y[:, 0])
        return split._replace(
            target=TARGET * split.error(lambda X: reference.predict_proba(X)[:, 1])
        )

    def error(self, predict: Predict) -> float:
        """Return the mean squared error on the people held out."""
        return float(np.mean((predict(self.held.X) - self.held.y[:, 0]) ** 2))


def article_seconds(times: int = 9) -> tuple[float, float]:
    """Return the processor time of the article's run, ours and its own."""
    ours, own = [], []
    for seed in range(times):
        ours.append(seconds_of(partial(run_article, seed)))
        own.append(seconds_of(partial(run_own_loop, seed)))
    return median(ours), median(own)


def run_article(seed: int) -> float:
    """Run ours, and read the loss every ten epochs as the article does."""
    loss = 0.0
    for epoch in train(ARTICLE_PEOPLE, replace(ARTICLE_CONFIG, seed=seed)):
        loss = epoch.train_loss if epoch.number % 10 == 0 else loss
    return loss


def run_own_loop(seed: int) -> float:
    """Run the article's own loop."""
    network = ArticleNetwork(np.random.default_rng(seed))
    return network.train(ARTICLE_PEOPLE.X, ARTICLE_PEOPLE.y[:, 0])


def seconds_of(work: Callable[[], object]) -> float:
    """Return the processor time that some work takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ours(split: Split, config: TrainingConfig) -> Iterator[Predict]:
    """Yield what predicts after each epoch of ours."""
    for epoch in train(split.training, replace(config, seed=split.seed)):
        yield lambda X, params=epoch.params: predict_proba(params, X)  # type: ignore[misc] # bound now


def rival(split: Split, settings: Mapping[str, Any]) -> Iterator[Predict]:
    """Yield what predicts after each epoch of scikit-learn's, or at its end."""
    mean, std = split.training.X.mean(axis=0), split.training.X.std(axis=0)
    X, y = (split.training.X - mean) / std, split.training.y[:, 0]
    network = MLPClassifier(
        (2,), activation="logistic", alpha=0, random_state=split.seed, **settings
    )
    for _ in range(1 if settings["solver"] == "lbfgs" else MAX_EPOCHS):
        if settings["solver"] == "lbfgs":
            network.fit(X, y)
        else:
            network.partial_fit(X, y, classes=[0.0, 1.0])
        yield lambda held: network.predict_proba((held - mean) / std)[:, 1]


def to_target(split: Split, epochs: Iterator[Predict]) -> tuple[int, float] | None:
    """Return the epochs and the processor time until the target, None if missed."""
    seconds, number = 0.0, 0
    while True:
        start = time.process_time()
        predict = next(epochs, None)
        seconds += time.process_time() - start
        number += 1
        if predict is None:
            return None
        if split.error(predict) <= split.target:
            return number, seconds


def race(splits: list[Split], methods: Methods) -> Table:
    """Return how soon each method reaches the target, the first being ours."""
    table = Table("method", "reached", "epochs", "ms", "over ours")
    found: dict[str, list[tuple[int, float] | None]] = {name: [] for name in methods}
    for split in splits:
        for name, epochs_of in methods.items():
            found[name].append(to_target(split, epochs_of(split)))
    first: float | None = None
    for name, results in found.items():
        reached = [result for result in results if result is not None]
        milliseconds = 1e3 * median(seconds for _, seconds in reached)
        first = first or milliseconds
        table.add_row(
            name,
            f"{len(reached)}/{len(results)}",
            f"{median(number for number, _ in reached):.0f}",
            f"{milliseconds:.1f}",
            f"{milliseconds / first:.1f}",
        )
    return table


def many_rows(people: Dataset, methods: Methods) -> Table:
    """Return rows a second, and the memory of two epochs, over a million people."""
    table = Table("a million rows", "rows a second", "peak MB besides the data")
    split = Split(0, people, people, target=0.0)
    for name, epochs_of in methods.items():

        def two_epochs(epochs_of: Epochs = epochs_of) -> None:
            [*islice(epochs_of(split), 2)]

        seconds = seconds_of(two_epochs)
        peak = peak_bytes(two_epochs)
        table.add_row(name, f"{2 * len(people) / seconds:,.0f}", f"{peak / 1e6:.0f}")
    return table


def peak_bytes(work: Callable[[], object]) -> int:
    """Return by how much some work raises the resident memory at most."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is free goes back to the system
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    before = _status_bytes("VmRSS")
    work()
    return _status_bytes("VmHWM") - before


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


OURS: Final[Methods] = {
    "offsetnet, rate 0.5, batches of 128": partial(ours, config=FASTEST),
    DEFAULTS: partial(ours, config=DEFAULT),
}
RIVALS: Final[Methods] = {
    f"scikit-learn {name}": partial(rival, settings=settings)
    for name, settings in SETTINGS.items()
}


def all_splits(number: int) -> list[Split]:
    """Return splits of 10,000 people, by seed."""
    people = read_people(DATA) if DATA.exists() else made_up_people(ROWS)
    return [Split.of(people, seed) for seed in range(number)]


def made_up_people(rows: int) -> Dataset:
    """Return as many made-up people."""
    reader = CsvReader(labelled=True, max_rows=rows)
    for line in sample_csv(rows, 0):
        reader.feed(line.encode())
    return reader.finish().to_dataset()


def main() -> None:
    """Print the three tables."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    console = Console()
    mine, own = article_seconds()
    table = Table("the article's run", "ms", "ratio")
    table.add_row("its own loop", f"{1e3 * own:.1f}", f"{own / mine:.1f}")
    table.add_row("offsetnet", f"{1e3 * mine:.1f}", "1.0")
    console.print(table)
    splits = int(sys.argv[1]) if len(sys.argv) > 1 else SPLITS
    console.print(race(all_splits(splits), {**OURS, **RIVALS}))
    many = {"offsetnet": OURS[DEFAULTS], "scikit-learn SGD": RIVALS["scikit-learn SGD"]}
    console.print(many_rows(made_up_people(MANY), many))


if __name__ == "__main__":
    main()
