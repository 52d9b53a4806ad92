"""What the tests of the mathematics share."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from model import Dataset, load_shipped

settings.register_profile(  # a busy machine is no failure
    "model", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("model")


@pytest.fixture(scope="session")
def people() -> Dataset:
    """300 people of two overlapping clusters, in plain offsets."""
    rng = np.random.default_rng(7)
    y = (rng.random((300, 1)) < 0.5).astype(np.float64)
    centres = np.where(y == 1.0, [[-1.0, -2.0]], [[50.0, 3.0]])
    return Dataset(X=centres + rng.standard_normal((300, 2)) * [20.0, 3.0], y=y)


@pytest.fixture(scope="session")
def shipped() -> bytes:
    """Return the bytes of the artifact that comes with the package."""
    return load_shipped()
