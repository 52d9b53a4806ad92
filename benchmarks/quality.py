"""Compare the default training with logistic regression on real people.

For each of 20 seeds the rows are split 80/20 at random. Both methods see the same 80 %
only (ours holds a fifth of them out once more, to stop early); both are judged on the
same 20 %.

Usage: python -m benchmarks.quality [heights_weights_genders.csv]
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from model import CsvReader, Dataset, TrainingConfig, evaluate, train
from model.evaluation import LABEL_THRESHOLD, Metrics, calibration_error

DATA = Path(__file__).parents[2] / "shared" / "data" / "heights_weights_genders.csv"
SEEDS = range(20)


class Comparison(NamedTuple):
    """One seed's result on the 20 %."""

    seed: int
    epochs: int
    ours: Metrics
    reference: Metrics

    @property
    def mse_ratio(self) -> float:
        """Our mean squared error over the reference's."""
        return self.ours.mse / self.reference.mse

    @property
    def accuracy_loss(self) -> float:
        """How much accuracy we lose to the reference."""
        return self.reference.accuracy - self.ours.accuracy


def read_people(path: Path) -> Dataset:
    """Read the file, whose header names other columns than ours."""
    _, rows = path.read_bytes().split(b"\n", 1)
    reader = CsvReader(labelled=True, max_rows=1_000_000)
    reader.feed(b"label,height_in,weight_lb\n" + rows)
    return reader.finish().to_dataset()


def compare(people: Dataset, seed: int) -> Comparison:
    """Train both on the same 80 % and judge both on the rest."""
    held = np.zeros(len(people), np.bool_)
    order = np.random.default_rng(seed).permutation(len(people))
    held[order[: len(people) // 5]] = True
    seen, judged = people[~held], people[held]
    *_, last = train(seen, TrainingConfig(seed=seed))
    regression = LogisticRegression(C=np.inf).fit(seen.X, seen.y[:, 0])
    P = regression.predict_proba(judged.X)[:, 1:]
    reference = Metrics(
        mse=float(np.mean((P - judged.y) ** 2)),
        log_loss=float(-np.mean(np.log(np.where(judged.y == 1, P, 1 - P)))),
        accuracy=float(np.mean((P >= LABEL_THRESHOLD) == (judged.y == 1))),
        calibration_error=calibration_error(P, judged.y),
    )
    return Comparison(seed, last.number, evaluate(last.params, judged), reference)


def main() -> None:
    """Print a line a seed, then the worst of each column."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    if not path.exists():
        sys.exit(f"{path} is not here; name the file as the argument")
    people = read_people(path)
    results = [compare(people, seed) for seed in SEEDS]
    table = Table(
        *("seed", "epochs", "mse", "ratio", "accuracy lost", "calibration error"),
        title="default training beside logistic regression, 20 % held out",
    )
    for result in results:
        table.add_row(
            str(result.seed),
            str(result.epochs),
            f"{result.ours.mse:.4f}",
            f"{result.mse_ratio:.4f}",
            f"{result.accuracy_loss:+.4f}",
            f"{result.ours.calibration_error:.4f}",
        )
    table.add_section()
    worst_ratio = max(result.mse_ratio for result in results)
    worst_loss = max(result.accuracy_loss for result in results)
    worst_error = max(result.ours.calibration_error for result in results)
    worst = (f"{worst_ratio:.4f}", f"{worst_loss:+.4f}", f"{worst_error:.4f}")
    table.add_row("worst", "", "", *worst)
    Console().print(table)


if __name__ == "__main__":
    main()
