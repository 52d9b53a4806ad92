"""The article's network in NumPy alone, for environments without the package."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

WEIGHTS: Final = Path(__file__).parents[2] / "model/weights/article.safetensors"

Floats = NDArray[np.float64]


def load_network() -> Callable[[Floats], Floats]:
    """Return the function from offsets (B, 2) to P(F) of each row, shape (B, 1)."""
    tensors = load_file(WEIGHTS)
    W1, b1, W2, b2 = (tensors[name] for name in ("W1", "b1", "W2", "b2"))

    def predict_proba(X: Floats) -> Floats:
        A = _sigmoid(X @ W1 + b1)  # (B, H)
        return _sigmoid(A @ W2 + b2)  # (B, 1)

    return predict_proba


def _sigmoid(Z: Floats) -> Floats:
    P: Floats = 1.0 / (1.0 + np.exp(-Z))
    return P
