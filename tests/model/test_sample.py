"""Synthetic people: reproducible, readable, and spread as the survey was.

Shares, means and deviations are Kruschke's figures of Brainard & Burmaster's fit; women
are a mixture of two clusters, whose moments follow from the clusters'.
"""

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest

from model import IMPERIAL, CsvReader, Dataset, Floats, sample_csv

ROWS = 100_000


def mixture(
    shares: list[float], means: list[float], deviations: list[float]
) -> tuple[float, float]:
    """Return mean and deviation of a mixture of normal distributions."""
    p = np.array(shares) / sum(shares)
    mean = p @ np.array(means)
    variance = p @ (np.square(deviations) + np.square(means)) - mean**2
    return float(mean), float(np.sqrt(variance))


MEN_HEIGHT = (69.18, 2.87)
MEN_LOG_WEIGHT = (5.14, 0.17)
WOMEN_HEIGHT = mixture([0.23, 0.27], [63.11, 64.36], [2.76, 2.49])
WOMEN_LOG_WEIGHT = mixture([0.23, 0.27], [5.06, 4.86], [0.24, 0.14])

# of both clusters: the mean covariance, and the covariance of their means
WOMEN_COVARIANCE = (
    0.46 * (0.41 * 2.76 * 0.24)
    + 0.54 * (0.44 * 2.49 * 0.14)
    + 0.46 * 0.54 * (63.11 - 64.36) * (5.06 - 4.86)
)
WOMEN_CORRELATION = WOMEN_COVARIANCE / (WOMEN_HEIGHT[1] * WOMEN_LOG_WEIGHT[1])


@pytest.fixture(scope="module")
def crowd() -> Dataset:
    """100,000 people."""
    _, *lines = sample_csv(ROWS, seed=1)
    weights, heights, labels = zip(*(line.split(",") for line in lines), strict=True)
    values = np.array([weights, heights]).astype(np.float64).T
    y = np.array([label == "F\n" for label in labels]).astype(np.float64)
    return Dataset(X=IMPERIAL.to_offsets(values), y=y[:, None])


@pytest.fixture(scope="module")
def columns(crowd: Dataset) -> Callable[[str], tuple[Floats, Floats]]:
    """Give heights in inches and the logarithm of the weight of one label's people."""

    def of(label: str) -> tuple[Floats, Floats]:
        X = crowd.X[crowd.y[:, 0] == (label == "F")]
        return X[:, 1] + 66.0, np.log(X[:, 0] + 135.0)

    return of


def test_all_people_are_read_back(crowd: Dataset) -> None:
    reader = CsvReader(labelled=True, max_rows=1_000)
    for line in sample_csv(1_000, seed=1):
        reader.feed(line.encode())

    people = reader.finish().to_dataset()

    assert people.to_buffer() == crowd[np.arange(ROWS) < 1_000].to_buffer()


def test_half_of_the_people_are_women(crowd: Dataset) -> None:
    assert crowd.y.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("label", "mean", "deviation"),
    [
        pytest.param("M", *MEN_HEIGHT, id="men"),
        pytest.param("F", *WOMEN_HEIGHT, id="women"),
    ],
)
def test_heights_are_spread_as_surveyed(
    columns: Callable[[str], tuple[Floats, Floats]],
    label: str,
    mean: float,
    deviation: float,
) -> None:
    heights, _ = columns(label)

    measured = (float(heights.mean()), float(heights.std()))
    assert measured == pytest.approx((mean, deviation), abs=0.06)


@pytest.mark.parametrize(
    ("label", "mean", "deviation"),
    [
        pytest.param("M", *MEN_LOG_WEIGHT, id="men"),
        pytest.param("F", *WOMEN_LOG_WEIGHT, id="women"),
    ],
)
def test_weights_are_spread_as_surveyed(
    columns: Callable[[str], tuple[Floats, Floats]],
    label: str,
    mean: float,
    deviation: float,
) -> None:
    _, log_weights = columns(label)

    measured = (float(log_weights.mean()), float(log_weights.std()))
    assert measured == pytest.approx((mean, deviation), abs=0.004)


@pytest.mark.parametrize(
    ("label", "correlation"),
    [
        pytest.param("M", 0.42, id="men"),
        pytest.param("F", WOMEN_CORRELATION, id="women"),
    ],
)
def test_height_and_weight_go_together_as_surveyed(
    columns: Callable[[str], tuple[Floats, Floats]], label: str, correlation: float
) -> None:
    measured = np.corrcoef(*columns(label))[0, 1]

    assert measured == pytest.approx(correlation, abs=0.02)


def test_the_same_seed_gives_the_same_people() -> None:
    assert list(sample_csv(100, seed=3)) == list(sample_csv(100, seed=3))


def test_another_seed_gives_other_people() -> None:
    assert list(sample_csv(100, seed=3)) != list(sample_csv(100, seed=4))


@pytest.mark.parametrize("rows", [0, 1, 9_999, 10_000, 10_001])
def test_fewer_people_are_the_first_of_more(rows: int) -> None:
    fewer = list(sample_csv(rows, seed=3))

    assert fewer == list(islice(sample_csv(25_000, seed=3), rows + 1))


def test_people_come_one_a_line() -> None:
    lines = list(sample_csv(25_000, seed=3))

    assert [line.count("\n") for line in lines] == [1] * 25_001
