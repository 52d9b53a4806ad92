"""How good a network is on labelled people, and why it answers as it does."""

from typing import Final, NamedTuple

import numpy as np

from model.data import Dataset
from model.network import LOSSES, Floats, Params, predict_logits, sigmoid
from model.prediction import predict_proba

LABEL_THRESHOLD: Final = 0.5  # probability from which the label is F

_BINS: Final = 10


class Metrics(NamedTuple):
    """Quality on labelled people.

    Attributes:
        mse: Mean squared error of the probability (the Brier score).
        log_loss: Binary cross-entropy in nats.
        accuracy: Share of rows whose label is right, F from probability 0.5.
        calibration_error: Expected calibration error over ten equal bins.
    """

    mse: float
    log_loss: float
    accuracy: float
    calibration_error: float


class Explanation(NamedTuple):
    """What each input adds to the baseline; the three sum to the probability."""

    baseline: float
    weight: float
    height: float


def evaluate(params: Params, data: Dataset) -> Metrics:
    """Measure the network on labelled people."""
    logits = predict_logits(params, data.X)
    P = sigmoid(logits)
    return Metrics(
        mse=float(np.mean((P - data.y) ** 2)),
        log_loss=LOSSES["bce"].value(logits, data.y),
        accuracy=float(np.mean((P >= LABEL_THRESHOLD) == (data.y == 1.0))),
        calibration_error=calibration_error(P, data.y),
    )


def calibration_error(P: Floats, y: Floats) -> float:
    """Return the mean of |P - y| over ten bins of P, weighted by their rows.

    References:
        Naeini, Cooper & Hauskrecht (2015), Obtaining well calibrated probabilities
        using Bayesian binning, the definition of ECE.
    """
    bins = np.minimum((P[:, 0] * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=(P - y)[:, 0])
    return float(np.abs(gaps).sum() / len(y))


def explain(params: Params, weight_offset: float, height_offset: float) -> Explanation:
    """Return the exact Shapley values, with the origin as the absent value.

    References:
        Shapley (1953), A value for n-person games; with two inputs the average over
        orders has two terms.
    """
    corners = [[0, 0], [weight_offset, 0], [0, height_offset]]
    baseline, with_weight, with_height, both = predict_proba(
        params, np.array([*corners, [weight_offset, height_offset]])
    ).tolist()
    return Explanation(
        baseline,
        weight=((with_weight - baseline) + (both - with_height)) / 2,
        height=((with_height - baseline) + (both - with_weight)) / 2,
    )
