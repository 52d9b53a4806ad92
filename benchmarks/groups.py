"""Measure networks on groups of real people: by label, by height, by weight.

The first is the one that comes with the package, made of four people; the second is
trained with the defaults on 80 % of the file. Both are judged on the other 20 %.

Usage: python -m benchmarks.groups [heights_weights_genders.csv]
"""

import itertools
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.quality import DATA, read_people
from model import (
    LABEL_THRESHOLD,
    LABELS,
    Dataset,
    Floats,
    Params,
    TrainingConfig,
    evaluate,
    load,
    load_shipped,
    predict_proba,
    train,
)

BANDS = 4  # of equally many people
BINS = 10


def groups(people: Dataset) -> dict[str, Dataset]:
    """Return everybody, then each group by its name."""
    found = {"all": people}
    for value, label in enumerate(LABELS):
        found[f"label {label}"] = people[people.y[:, 0] == value]
    for column, (name, origin, unit) in enumerate(
        [("weight", 135, "lb"), ("height", 66, "in")]
    ):
        values = people.X[:, column] + origin
        edges = np.quantile(values, np.linspace(0, 1, BANDS + 1))
        for low, high in itertools.pairwise(edges):
            is_in = (values >= low) & ((values < high) | (high == edges[-1]))
            found[f"{name} {low:.0f} to {high:.0f} {unit}"] = people[is_in]
    return found


def by_group(title: str, params: Params, people: Dataset) -> Table:
    """Return a table with the metrics of each group."""
    table = Table(
        "group", "people", "accuracy", "mse", "said F", "are F", "error", title=title
    )
    for name, group in groups(people).items():
        P, metrics = predict_proba(params, group.X), evaluate(params, group)
        table.add_row(
            name,
            str(len(group)),
            f"{metrics.accuracy:.3f}",
            f"{metrics.mse:.4f}",
            f"{np.mean(P >= LABEL_THRESHOLD):.3f}",
            f"{group.y.mean():.3f}",
            f"{metrics.calibration_error:.3f}",
            end_section=name in {"all", f"label {LABELS[-1]}"},
        )
    return table


def calibration(title: str, params: Params, people: Dataset) -> Table:
    """Return a table of what was said beside what was so."""
    table = Table("probability", "people", "mean said", "share F", title=title)
    P: Floats = predict_proba(params, people.X)
    edges = np.linspace(0, 1, BINS + 1)
    for low, high in itertools.pairwise(edges):
        is_in = (low <= P) & ((high > P) | (high == 1))
        if is_in.any():
            table.add_row(
                f"{low:.1f} to {high:.1f}",
                str(is_in.sum()),
                f"{P[is_in].mean():.3f}",
                f"{people.y[is_in].mean():.3f}",
            )
    return table


def main() -> None:
    """Print two tables for each network."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    if not path.exists():
        sys.exit(f"{path} is not here; name the file as the argument")
    people = read_people(path)
    held = np.zeros(len(people), np.bool_)
    order = np.random.default_rng(0).permutation(len(people))
    held[order[: len(people) // 5]] = True
    *_, last = train(people[~held], TrainingConfig(seed=0))
    for name, params in {
        "the shipped network, of four people": load(load_shipped()).params,
        "the default training, on the other 80 %": last.params,
    }.items():
        Console().print(by_group(name, params, people[held]))
        Console().print(calibration(name, params, people[held]))


if __name__ == "__main__":
    main()
