"""The default training on real people: as good as logistic regression.

The file is the project's shared one beside the repository.
"""

import os

import pytest

from benchmarks.quality import DATA, SEEDS, Comparison, compare, read_people
from model import Dataset


@pytest.fixture(scope="module")
def real_people() -> Dataset:
    """Read the file, or say why not; CI has to have it."""
    if not DATA.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"there is no {DATA}")
    return read_people(DATA)


@pytest.fixture(scope="module", params=SEEDS, ids="seed={}".format)
def comparison(request: pytest.FixtureRequest, real_people: Dataset) -> Comparison:
    """Train both methods on one seed's split."""
    return compare(real_people, request.param)


def test_the_file_holds_ten_thousand_people(real_people: Dataset) -> None:
    assert len(real_people) == 10_000


def test_the_squared_error_is_that_of_logistic_regression(
    comparison: Comparison,
) -> None:
    assert comparison.mse_ratio <= 1.01


def test_accuracy_is_that_of_logistic_regression(comparison: Comparison) -> None:
    assert comparison.accuracy_loss <= 0.005


def test_probabilities_are_calibrated(comparison: Comparison) -> None:
    assert comparison.ours.calibration_error <= 0.03
