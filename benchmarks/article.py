"""Count over random starts how often the article's network learns what it should.

Success is that Emily comes out as F and Frank as M after the article's run. Three
rows: this package's training; a loop of plain floats written anew here, as the
reference; and that loop with the article's gradient, which multiplies the hidden
layer's gradient by dL/dy a second time.

Usage: python -m benchmarks.article [STARTS]
"""

import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from statistics import median
from typing import Final, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from model import ARTICLE_CONFIG, ARTICLE_PEOPLE, LABEL_THRESHOLD, predict_proba, train

STARTS: Final = 1_000
EMILY: Final = (-7.0, -3.0)
FRANK: Final = (20.0, 2.0)


class Run(NamedTuple):
    """How one start ended."""

    loss: float
    emily: float
    frank: float
    seconds: float

    @property
    def is_success(self) -> bool:
        """Whether both strangers are classified rightly."""
        return self.emily >= LABEL_THRESHOLD > self.frank


def run_package(seed: int) -> Run:
    """Run this package's training."""
    start = time.perf_counter()
    *_, last = train(ARTICLE_PEOPLE, replace(ARTICLE_CONFIG, seed=seed))
    seconds = time.perf_counter() - start
    emily, frank = predict_proba(last.params, np.array([EMILY, FRANK])).tolist()
    return Run(last.train_loss, emily, frank, seconds)


def run_reference(seed: int) -> Run:
    """Run the article's loop with the right gradient."""
    return _run_floats(seed, is_doubled=False)


def run_doubled(seed: int) -> Run:
    """Run the article's loop with its own gradient."""
    return _run_floats(seed, is_doubled=True)


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def _run_floats(seed: int, *, is_doubled: bool) -> Run:
    w = np.random.default_rng(seed).standard_normal(9).tolist()
    rate, epochs = ARTICLE_CONFIG.learning_rate, ARTICLE_CONFIG.epochs
    people = [
        *zip(ARTICLE_PEOPLE.X.tolist(), ARTICLE_PEOPLE.y[:, 0].tolist(), strict=True)
    ]

    def forward(x0: float, x1: float) -> tuple[float, float, float]:
        h1 = _sigmoid(w[0] * x0 + w[1] * x1 + w[6])
        h2 = _sigmoid(w[2] * x0 + w[3] * x1 + w[7])
        return h1, h2, _sigmoid(w[4] * h1 + w[5] * h2 + w[8])

    start = time.perf_counter()
    for _ in range(epochs):
        for (x0, x1), y in people:
            h1, h2, p = forward(x0, x1)
            dp = 2 * (p - y)
            dz = dp * p * (1 - p)
            hidden = dz * dp if is_doubled else dz
            dz1, dz2 = hidden * w[4] * h1 * (1 - h1), hidden * w[5] * h2 * (1 - h2)
            g = dz1 * x0, dz1 * x1, dz2 * x0, dz2 * x1, dz * h1, dz * h2, dz1, dz2, dz
            for index, slope in enumerate(g):
                w[index] -= rate * slope
    seconds = time.perf_counter() - start
    loss = sum((forward(*x)[2] - y) ** 2 for x, y in people) / len(people)
    return Run(loss, forward(*EMILY)[2], forward(*FRANK)[2], seconds)


def main() -> None:
    """Print a row for each way to train."""
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else STARTS
    ways: dict[str, Callable[[int], Run]] = {
        "this package": run_package,
        "plain floats, right gradient": run_reference,
        "plain floats, article's gradient": run_doubled,
    }
    table = Table(
        "training",
        "both right",
        "median loss",
        "worst loss",
        "Emily",
        "Frank",
        "ms a run",
        title=f"the article's run from {starts} random starts",
    )
    with ProcessPoolExecutor() as pool:
        for name, way in ways.items():
            runs = list(pool.map(way, range(starts), chunksize=10))
            table.add_row(
                name,
                f"{sum(run.is_success for run in runs)}/{starts}",
                f"{median(run.loss for run in runs):.4f}",
                f"{max(run.loss for run in runs):.4f}",
                f"{median(run.emily for run in runs):.3f}",
                f"{median(run.frank for run in runs):.3f}",
                f"{1e3 * median(run.seconds for run in runs):.0f}",
            )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
