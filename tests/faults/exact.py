"""The network in decimals of sixty digits, which `numerics` compares with.

Sums are kept to 800 digits, so that nothing of any float64 is lost in them.
"""

import math
from decimal import Context, Decimal
from typing import Final

from model import Params

_WIDE: Final = Context(prec=800, Emin=-(10**17), Emax=10**17, traps=[])
_FINE: Final = Context(prec=60, Emin=-(10**17), Emax=10**17, traps=[])
_ONE: Final = Decimal(1)


def predict(params: Params, weight: float, height: float) -> Decimal:
    """Return P(F) of one person's offsets."""
    logit = Decimal(params.b2.item())
    for w, h, b, v in _units(params):
        z = Decimal(b)
        for one, other in ((w, weight), (h, height)):
            z = _WIDE.add(z, _WIDE.multiply(Decimal(one), Decimal(other)))
        logit = _WIDE.add(logit, _WIDE.multiply(Decimal(v), _sigmoid(z)))
    return _sigmoid(logit)


def condition(params: Params, weight: float, height: float) -> float:
    """Return by how many times a change of the parameters may be larger in the answer.

    It is the sum of |dP/dq * q / P| over all parameters q. Its own rounding does not
    matter.
    """
    logit = params.b2.item()
    size = abs(logit)
    for w, h, b, v in _units(params):
        z = w * weight + h * height + b
        a, rest = _both(z)
        logit += v * a
        size += abs(v) * a * (1 + rest * (abs(w * weight) + abs(h * height) + abs(b)))
    return _both(logit)[1] * size


def _units(params: Params) -> list[tuple[float, float, float, float]]:
    columns = (*params.W1, params.b1, params.W2[:, 0])
    return [*zip(*(column.tolist() for column in columns), strict=True)]


def _sigmoid(z: Decimal) -> Decimal:
    e = _FINE.exp(-abs(z))
    return _FINE.divide(_ONE if z >= 0 else e, _FINE.add(_ONE, e))


def _both(z: float) -> tuple[float, float]:
    """Return sigmoid(z) and 1 - sigmoid(z)."""
    e = math.exp(-abs(z))
    larger, smaller = 1 / (1 + e), e / (1 + e)
    return (larger, smaller) if z >= 0 else (smaller, larger)
