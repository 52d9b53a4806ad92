"""The network in plain numbers, one person at a time.

The same mathematics as `network`, where NumPy's calls would cost many times the
calculation: a single prediction, and a step of descent for each person. A hidden unit
is one tuple (w, h, b, v): its weights of weight and height, its bias, and its weight
in the logit.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from math import exp, hypot, log1p, tanh
from typing import NamedTuple, Self

import numpy as np

from model.network import MAX_WEIGHT, LossName, Params

Unit = tuple[float, float, float, float]
Person = tuple[float, float, float]  # weight offset, height offset, target


class PlainParams(NamedTuple):
    """The parameters of one network as plain numbers."""

    units: Sequence[Unit]
    b2: float

    @classmethod
    def of(cls, params: Params) -> Self:
        """Take the parameters out of their arrays."""
        columns = (*params.W1, params.b1, params.W2[:, 0])
        units = zip(*(column.tolist() for column in columns), strict=True)
        return cls([*units], params.b2.item())

    def to_params(self) -> Params:
        """Return the parameters as arrays."""
        *W1, b1, W2 = np.array(self.units).T
        return Params(np.array(W1), b1.copy(), W2[:, None].copy(), np.array([self.b2]))

    @property
    def is_finite(self) -> bool:
        """Whether all parameters together are a vector no longer than `MAX_WEIGHT`.

        So none is NaN, infinite, or beyond that itself.
        """
        return hypot(*chain.from_iterable(self.units), self.b2) <= MAX_WEIGHT

    def descend(
        self, people: Iterable[Person], loss: LossName, learning_rate: float
    ) -> Self:
        """Take one step of plain gradient descent for each person, in their order.

        The gradient is that of `network.backward`, with sigmoid(z) written as
        (1 + tanh(z / 2)) / 2, which overflows nowhere.
        """
        units, b2 = self
        is_mse = loss == "mse"
        for weight, height, y in people:
            logit, active = b2, []
            for w, h, b, v in units:
                a = 0.5 + 0.5 * tanh(0.5 * (w * weight + h * height + b))
                active.append((w, h, b, v, a))
                logit += v * a
            p = 0.5 + 0.5 * tanh(0.5 * logit)
            dz2 = learning_rate * (p - y)
            if is_mse:
                dz2 *= 2.0 * p * (1.0 - p)
            units = []
            for w, h, b, v, a in active:
                dz1 = dz2 * v * a * (1.0 - a)
                units.append((w - dz1 * weight, h - dz1 * height, b - dz1, v - dz2 * a))
            b2 -= dz2
        return type(self)(units, b2)

    def mean_loss(self, people: Sequence[Person], loss: LossName) -> float:
        """Return the mean loss over the people, as `network.LOSSES` defines it."""
        (units, b2), total = self, 0.0
        is_mse = loss == "mse"
        for weight, height, y in people:
            z = b2
            for w, h, b, v in units:
                z += v * (0.5 + 0.5 * tanh(0.5 * (w * weight + h * height + b)))
            if is_mse:
                gap = 0.5 + 0.5 * tanh(0.5 * z) - y
                total += gap * gap
            else:
                total += max(z, 0.0) + log1p(exp(-abs(z))) - y * z
        return total / len(people)
