"""The network: two inputs, H sigmoid hidden units, one sigmoid output.

Letters, with their shapes (B rows, H hidden units):

    X   (B, 2)  offsets: weight - 135 lb, height - 66 in
    W1  (2, H)  b1 (H,)   first layer         Z1 = X @ W1 + b1
    A1  (B, H)            hidden activations  A1 = sigmoid(Z1)
    W2  (H, 1)  b2 (1,)   second layer        Z2 = A1 @ W2 + b2, the logits
    P   (B, 1)            probability of F    P  = sigmoid(Z2)
    y   (B, 1)            targets, 1 for F and 0 for M

The gradient is the chain rule, each layer's error taken once:

    dZ2 = dL/dZ2                          from the loss, see `LOSSES`
    dW2 = A1.T @ dZ2                      db2 = dZ2 summed over the rows
    dZ1 = (dZ2 @ W2.T) * A1 * (1 - A1)    since sigmoid' = A1 * (1 - A1)
    dW1 = X.T @ dZ1                       db1 = dZ1 summed over the rows
"""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LossName = Literal["mse", "bce"]

MAX_WEIGHT: Final = 1e100  # far beyond any use; no product of these overflows
_SLICE_ROWS: Final = 65_536  # bounds the hidden layer's memory, whatever B is


class Params(NamedTuple):
    """The parameters of one network, or values of the same shapes beside them."""

    W1: Floats
    b1: Floats
    W2: Floats
    b2: Floats

    def __str__(self) -> str:
        """Show the weights as the article numbers them, one unit a line."""
        hidden = (
            f"h{unit + 1} = sigmoid({self.W1[0, unit]:+.4f} * weight_offset "
            f"{self.W1[1, unit]:+.4f} * height_offset {self.b1[unit]:+.4f})"
            for unit in range(self.b1.size)
        )
        terms = " ".join(
            f"{weight:+.4f} * h{unit + 1}" for unit, weight in enumerate(self.W2[:, 0])
        )
        return "\n".join((*hidden, f"P(F) = sigmoid({terms} {self.b2[0]:+.4f})"))

    @property
    def is_finite(self) -> bool:
        """Whether no parameter is NaN, infinite, or beyond `MAX_WEIGHT`."""
        return all(bool((np.abs(p) <= MAX_WEIGHT).all()) for p in self)


class Loss(NamedTuple):
    """A loss as a function of the logits.

    Attributes:
        value: Mean loss of (logits, y), both of shape (B, 1).
        gradient: dL/dZ2 of (logits, y), shape (B, 1).
    """

    value: Callable[[Floats, Floats], float]
    gradient: Callable[[Floats, Floats], Floats]


def init_params(rng: np.random.Generator, hidden_units: int) -> Params:
    """Draw every parameter from N(0, 1), in the article's order w1...w6, b1...b3."""
    W1 = np.ascontiguousarray(rng.standard_normal((hidden_units, 2)).T)
    W2 = rng.standard_normal((hidden_units, 1))
    return Params(W1, rng.standard_normal(hidden_units), W2, b2=rng.standard_normal(1))


def sigmoid(Z: Floats) -> Floats:
    """Return 1 / (1 + exp(-Z)) without overflow for any finite Z.

    Only exp of a number that is not positive is taken:
    1 / (1 + exp(-Z)) where Z >= 0, and exp(Z) / (1 + exp(Z)) elsewhere.
    """
    E = np.exp(-np.abs(Z))
    return np.where(Z >= 0, 1.0, E) / (1.0 + E)


def forward(params: Params, X: Floats) -> tuple[Floats, Floats]:
    """Return the hidden activations A1 (B, H) and the logits Z2 (B, 1)."""
    A1 = sigmoid(X @ params.W1 + params.b1)
    return A1, A1 @ params.W2 + params.b2


def backward(params: Params, X: Floats, A1: Floats, dZ2: Floats) -> Params:
    """Return dL/dparams, given the activations and dL/dZ2 of the same rows.

    References:
        Rumelhart, Hinton & Williams (1986), Learning representations by
        back-propagating errors, equations 4 to 7.
    """
    dZ1 = (dZ2 @ params.W2.T) * A1 * (1.0 - A1)  # (B, H)
    return Params(X.T @ dZ1, dZ1.sum(axis=0), A1.T @ dZ2, dZ2.sum(axis=0))


def step(
    params: Params,
    velocity: Params,
    gradient: Params,
    *,
    learning_rate: float,
    momentum: float,
) -> tuple[Params, Params]:
    """Return the parameters and the velocity after one step of descent.

    The heavy-ball rule: v <- momentum * v - learning_rate * g, params <- params + v.
    With momentum 0 it is the article's plain gradient descent.

    References:
        Polyak (1964), Some methods of speeding up the convergence of iteration
        methods, equation 9.
    """
    velocity = Params(
        *(
            momentum * v - learning_rate * g
            for v, g in zip(velocity, gradient, strict=True)
        )
    )
    return Params(*(p + v for p, v in zip(params, velocity, strict=True))), velocity


def predict_logits(params: Params, X: Floats) -> Floats:
    """Return the logits of any number of rows, shape (B, 1), in bounded memory."""
    if len(X) <= _SLICE_ROWS:
        return forward(params, X)[1]
    starts = range(0, len(X), _SLICE_ROWS)
    return np.concatenate(
        [forward(params, X[start : start + _SLICE_ROWS])[1] for start in starts]
    )


def _mse_value(logits: Floats, y: Floats) -> float:
    """L = mean((P - y)^2), the article's loss."""
    return float(np.mean((sigmoid(logits) - y) ** 2))


def _mse_gradient(logits: Floats, y: Floats) -> Floats:
    P = sigmoid(logits)
    return 2.0 * (P - y) * P * (1.0 - P) / len(y)


def _bce_value(logits: Floats, y: Floats) -> float:
    """L = -mean(y ln P + (1 - y) ln(1 - P)) = mean(ln(1 + exp(Z2)) - y Z2)."""
    return float(np.mean(np.logaddexp(0.0, logits) - y * logits))


def _bce_gradient(logits: Floats, y: Floats) -> Floats:
    return (sigmoid(logits) - y) / len(y)


LOSSES: Final[dict[LossName, Loss]] = {
    "mse": Loss(_mse_value, _mse_gradient),
    "bce": Loss(_bce_value, _bce_gradient),
}
