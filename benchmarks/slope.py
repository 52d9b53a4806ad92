"""A straight line through measurements, and how sure its slope is."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike


class Slope(NamedTuple):
    """The slope of the line by least squares.

    Attributes:
        value: The slope.
        margin: Half of its 95 % interval.
    """

    value: float
    margin: float

    @classmethod
    def of(cls, times: ArrayLike, values: ArrayLike) -> Self:
        """Fit the line."""
        x, y = np.asarray(times), np.asarray(values)
        (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
        return cls(float(slope), 1.96 * float(np.sqrt(covariance[0, 0])))

    @property
    def least(self) -> float:
        """Return the lower end of the interval."""
        return self.value - self.margin

    def __str__(self) -> str:
        """Show both."""
        return f"{self.value:+.2f} ± {self.margin:.2f}"
