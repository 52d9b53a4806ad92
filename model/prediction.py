"""From offsets to the probability of label F, for many people or one."""

from collections.abc import Callable
from math import exp

import numpy as np

from model.network import Floats, Params, predict_logits, sigmoid
from model.plain import PlainParams


def predict_proba(params: Params, X: Floats) -> Floats:
    """Return P(F) of each row of X (B, 2), shape (B,)."""
    if len(X) == 1:
        return np.array([one_predictor(params)(*X[0].tolist())])
    return sigmoid(predict_logits(params, X))[:, 0]


def one_predictor(params: Params) -> Callable[[float, float], float]:
    """Return the function from one person's offsets to P(F)."""
    units, b2 = PlainParams.of(params)

    def predict_one(weight_offset: float, height_offset: float) -> float:
        logit = b2
        for w, h, b, v in units:
            z = w * weight_offset + h * height_offset + b
            e = exp(-abs(z))
            logit += v * ((1.0 if z >= 0 else e) / (1.0 + e))  # as in `sigmoid`
        e = exp(-abs(logit))
        return (1.0 if logit >= 0 else e) / (1.0 + e)

    return predict_one
