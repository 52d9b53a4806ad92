"""Compare what a batch of 1,000 people costs with the least that such an answer takes.

The least, for JSON: pydantic-core validates the bytes, NumPy runs the network forward,
pydantic-core writes the answer. For CSV: Python's csv module splits the text, float()
reads each cell, NumPy runs the network forward, repr() writes each number; no rule is
checked. Both are called directly, in this process, without any server. A ratio is the
median, over the rounds, of the server's processor time a request over the processor
time of the least in the same round.

Usage: python -m benchmarks.batch [ROUNDS]
"""

import csv
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from pydantic_core import to_json
from rich.console import Console
from rich.table import Table

from app.shapes import SHAPES
from benchmarks.load import Request, measure
from model import (
    LABEL_THRESHOLD,
    LABELS,
    OFFSETS,
    Floats,
    load,
    load_shipped,
    predict_proba,
)
from tests.server import Server

ROUNDS: Final = 20
REQUESTS: Final = 80
ROWS: Final = 1_000
ARTIFACT: Final = load(load_shipped())
PEOPLE: Final = np.random.default_rng(0).normal(0.0, [20.0, 4.0], (ROWS, 2)).round(3)


def least_json(body: bytes) -> bytes:
    """Answer a batch in three steps."""
    instances = SHAPES[0].batch.validator.validate_json(body)["instances"]
    answers = [
        {"probability": p, "label": LABELS[p >= LABEL_THRESHOLD], "extrapolating": out}
        for p, out in _forward(OFFSETS.offsets_of_all(instances))
    ]
    return to_json({"predictions": answers, "model_version": 1})


def least_csv(body: bytes) -> bytes:
    """Answer a CSV, as it is believed to be."""
    _, *rows = csv.reader(body.decode().splitlines())
    values = [(float(weight), float(height)) for weight, height in rows]
    lines = ["weight_offset,height_offset,probability,label,extrapolating"]
    lines += [
        f"{weight!r},{height!r},{p!r},{LABELS[p >= LABEL_THRESHOLD]},{out}"
        for (weight, height), (p, out) in zip(
            values, _forward(np.array(values)), strict=True
        )
    ]
    return "\n".join(lines).encode()


def _forward(X: Floats) -> list[tuple[float, bool]]:
    P = predict_proba(ARTIFACT.params, X).tolist()
    return [*zip(P, ARTIFACT.ranges.outside(X).tolist(), strict=True)]


def requests() -> dict[str, tuple[Request, Callable[[bytes], bytes]]]:
    """Return each kind of body, with what answers it at least."""
    columns = ("weight_offset", "height_offset")
    instances = [dict(zip(columns, person, strict=True)) for person in PEOPLE.tolist()]
    lines = [",".join(columns), *(f"{w},{h}" for w, h in PEOPLE.tolist())]
    as_json, as_csv = json.dumps({"instances": instances}), "\n".join(lines)
    return {
        "JSON": (Request("/predict/batch", as_json.encode()), least_json),
        "CSV": (Request("/predict/batch", as_csv.encode(), "text/csv"), least_csv),
    }


def cost_of(least: Callable[[bytes], bytes], body: bytes) -> float:
    """Return the processor time of an answer at least, in microseconds."""
    start = time.process_time()
    for _ in range(REQUESTS):
        least(body)
    return (time.process_time() - start) / REQUESTS * 1e6


def main() -> None:
    """Print a row for each kind of body."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    table = Table("1,000 rows of", "µs of CPU a request", "µs at least", "ratio")
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "data") as server,
    ):
        for kind, (request, least) in requests().items():
            costs, floors = [], []
            for _ in range(rounds):
                costs.append(measure(server, request, REQUESTS))
                floors.append(cost_of(least, request.body))
            ratios = [cost / floor for cost, floor in zip(costs, floors, strict=True)]
            medians = f"{median(costs):.0f}", f"{median(floors):.0f}"
            table.add_row(kind, *medians, f"{median(ratios):.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
