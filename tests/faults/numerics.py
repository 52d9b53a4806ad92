"""Compare predictions with the same in decimals of sixty digits.

Hypothesis draws networks of 1 to 64 units and people within the bounds, from everyday
numbers to the largest that are taken. Each is computed alone, in plain numbers, and
in a batch, in arrays. The error is told in ulp, the distance of one float64 from the
next. What a float64 can hold of the parameters is itself only within half an ulp each;
the condition of a prediction says by how many times such a change may be larger in the
answer. The error may be 2 ulp and twice the condition, so 2 ulp where the condition is
small. Alone and in a batch may differ by their errors only, by no more than 1e-15 where
the condition is up to 1; the order of the rows may make no more difference; and where
every unit pulls to the same side, a heavier person's answer may not fall.

Usage: python -m tests.faults.numerics [--examples N] [--seed N]
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from rich.table import Table

from model import OFFSETS, Floats, Params, one_predictor, predict_proba
from tests.faults import exact
from tests.faults.report import report

PEOPLE: Final = 10  # of a network
CONDITIONS: Final = (0.1, 1.0, 10.0, 100.0, 1e4, math.inf)
SAME: Final = 1e-15


@dataclass(slots=True)
class Worst:
    """The largest errors of predictions whose condition is up to a bound."""

    predictions: int = 0
    alone: float = 0.0  # ulp
    batch: float = 0.0  # ulp
    share: float = 0.0  # of what the error may be
    apart: float = 0.0  # batch and alone
    moved: float = 0.0  # the batch in another order


def _values(limit: float) -> st.SearchStrategy[float]:
    return st.floats(-limit, limit) | st.floats(-1e100, 1e100)


@st.composite
def small_networks(draw: st.DrawFn) -> Params:
    """Draw every number of a network of one to three units."""
    H = draw(st.integers(1, 3))
    limit = draw(st.sampled_from([1.0, 10.0, 1000.0]))
    size = 4 * H + 1
    numbers = np.array(draw(st.lists(_values(limit), min_size=size, max_size=size)))
    return Params(
        numbers[: 2 * H].reshape(2, H),
        numbers[2 * H : 3 * H],
        numbers[3 * H : -1].reshape(H, 1),
        numbers[-1:],
    )


@st.composite
def networks(draw: st.DrawFn) -> Params:
    """Draw a network of any size, of normal numbers of some scale."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    H = draw(st.integers(1, 64))
    inner, outer = draw(st.tuples(*[st.sampled_from([1e-3, 0.1, 1.0, 10.0])] * 2))
    shapes = ((2, H), (H,), (H, 1), (1,))
    scales = (inner, inner, outer, outer)
    return Params(
        *(
            scale * rng.standard_normal(shape)
            for scale, shape in zip(scales, shapes, strict=True)
        )
    )


@st.composite
def crowds(draw: st.DrawFn) -> Floats:
    """Draw people, most of them of flesh and blood."""
    scale = draw(st.sampled_from([1.0, 0.01, 0.005]))
    columns = [st.floats(low * scale, high * scale) for low, high in OFFSETS.limits]
    rows = st.lists(st.tuples(*columns), min_size=PEOPLE, max_size=PEOPLE)
    return np.array(draw(rows))


def compare(params: Params, X: Floats, worst: dict[float, Worst]) -> Iterator[str]:
    """Note the errors, and yield what is wrong."""
    one = one_predictor(params)
    alone = [one(*row) for row in X.tolist()]
    batch = predict_proba(params, X).tolist()
    moved = predict_proba(params, X[::-1]).tolist()[::-1]
    for row, *found in zip(X.tolist(), alone, batch, moved, strict=True):
        right = exact.predict(params, *row)
        condition = exact.condition(params, *row)
        ulp = math.ulp(float(right))
        errors = [float(abs(Decimal(p) - right) / Decimal(ulp)) for p in found]
        allowed = 2 + 2 * condition
        seen = worst[next(bound for bound in CONDITIONS if condition <= bound)]
        seen.predictions += 1
        seen.alone, seen.batch = max(seen.alone, errors[0]), max(seen.batch, errors[1])
        seen.share = max(seen.share, max(errors) / allowed)
        seen.apart = max(seen.apart, abs(found[0] - found[1]))
        seen.moved = max(seen.moved, abs(found[1] - found[2]))
        if not max(errors) <= allowed or not 0 <= min(found) <= max(found) <= 1:
            yield f"{errors} ulp, {allowed:.3g} allowed: {params} {row}"
        if condition <= 1 and max(found) - min(found) > SAME:
            yield f"{found}: {params} {row}"


def falls(params: Params, X: Floats, column: int) -> Iterator[str]:
    """Yield where an answer falls though every unit pulls it up with this column."""
    signs = np.sign(params.W1[column])[:, None]
    one_sided = params._replace(W2=np.abs(params.W2) * signs)
    rows = np.repeat(X[:1], len(X), axis=0)
    rows[:, column] = np.sort(X[:, column])
    one, before, slack = one_predictor(one_sided), 0.0, 0.0
    for row in rows.tolist():
        now = one(*row)
        error = 2 + 2 * exact.condition(one_sided, *row)
        if before - now > slack + error * math.ulp(now):
            yield f"falls from {before} to {now}: {one_sided} {row}"
        before, slack = now, error * math.ulp(now)


def play(examples: int, number: int) -> dict[float, Worst]:
    """Compare that many networks with the exact ones; return the largest errors.

    Raises:
        AssertionError: Something is wrong.
    """
    worst = {bound: Worst() for bound in CONDITIONS}

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(small_networks() | networks(), crowds())
    def check(params: Params, X: Floats) -> None:
        wrong = [*compare(params, X, worst), *falls(params, X, 0), *falls(params, X, 1)]
        assert not wrong, wrong[0]

    check()
    return worst


def main() -> int:
    """Compare, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table, wrong, began = Table("condition"), [], time.monotonic()
    for column in ("predictions", "ulp, alone", "ulp, batch", "of what may be"):
        table.add_column(column)
    table.add_column("batch - alone")
    table.add_column("other order")
    try:
        worst = play(options.examples, options.seed)
    except AssertionError as error:
        worst, wrong = {}, [str(error)]
    for bound, seen in worst.items():
        table.add_row(
            f"up to {bound:g}" if math.isfinite(bound) else "beyond",
            str(seen.predictions),
            f"{seen.alone:.3g}",
            f"{seen.batch:.3g}",
            f"{seen.share:.0%}",
            f"{seen.apart:.2g}",
            f"{seen.moved:.2g}",
        )
    total = sum(seen.predictions for seen in worst.values())
    seconds = time.monotonic() - began
    table.caption = f"{total} predictions in {seconds:.0f} s, seed {options.seed}"
    return report(table, wrong)


if __name__ == "__main__":
    sys.exit(main())
