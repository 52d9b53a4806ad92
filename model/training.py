"""Training: a generator of epochs, the same for every caller.

Inputs are standardised for the descent where the configuration says so, and the
scale is folded into the first layer afterwards: with Xs = (X - mean) / std,

    Xs @ W1 + b1 = X @ (W1 / std) + (b1 - (mean / std) @ W1)

so that the parameters of every epoch take plain offsets.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any, Final, NamedTuple, Self

import numpy as np

from model.data import MIN_ROWS_TO_SPLIT, Dataset
from model.network import (
    LOSSES,
    Floats,
    LossName,
    Params,
    backward,
    forward,
    init_params,
    predict_logits,
    step,
)
from model.plain import PlainParams


class DivergedError(Exception):
    """The loss or a parameter is no longer a finite number of sensible size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How to train; the ranges stand in the HTTP schema.

    Attributes:
        hidden_units: H, the width of the hidden layer.
        loss: `mse` of the probability, or `bce` (binary cross-entropy).
        learning_rate: Step size.
        momentum: Share of the last step that the next one keeps.
        batch_size: Rows a step; the last batch of an epoch may be smaller.
        epochs: Passes over the training rows, at most.
        patience: Epochs without a better holdout loss before stopping; None runs all.
            Not used without a holdout.
        standardize: Whether to descend on inputs of mean 0 and deviation 1.
        shuffle: Whether each epoch takes the rows in a new order.
        holdout: Share of the rows that no step sees.
        seed: Start of all randomness: parameters, order, split.
    """

    hidden_units: int = 2
    loss: LossName = "bce"
    learning_rate: float = 0.2
    momentum: float = 0.9
    batch_size: int = 512
    epochs: int = 500
    patience: int | None = 20
    standardize: bool = True
    shuffle: bool = True
    holdout: float = 0.2
    seed: int = 0

    def for_rows(self, rows: int) -> Self:
        """Return this configuration without a holdout where rows are too few."""
        return replace(self, holdout=0.0) if rows < MIN_ROWS_TO_SPLIT else self

    @property
    def is_one_by_one(self) -> bool:
        """Whether each step is the article's: plain descent, a person at a time."""
        return (
            self.batch_size == 1
            and self.momentum == 0
            and not (self.standardize or self.shuffle)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name, ready for JSON."""
        return asdict(self)


ARTICLE_CONFIG: Final = TrainingConfig(
    loss="mse",
    learning_rate=0.1,
    momentum=0.0,
    batch_size=1,
    epochs=1000,
    patience=None,
    standardize=False,
    shuffle=False,
    holdout=0.0,
)


class Epoch(NamedTuple):
    """What is known after one pass over the training rows.

    Attributes:
        number: Passes so far, from 1.
        train_loss: The configured loss over all training rows.
        holdout_loss: The same over the holdout, None without one.
        kept: What to keep if training ended here: the parameters of the best epoch on
            the holdout, or without one the latest.
    """

    number: int
    train_loss: float
    holdout_loss: float | None
    kept: Params | PlainParams

    @property
    def params(self) -> Params:
        """What to keep, as arrays; they take plain offsets."""
        return (
            self.kept.to_params() if isinstance(self.kept, PlainParams) else self.kept
        )


class _Scale(NamedTuple):
    mean: Floats  # (2,)
    std: Floats  # (2,)

    @classmethod
    def of(cls, X: Floats, *, standardize: bool) -> Self:
        if not standardize:
            return cls(np.zeros(2), np.ones(2))
        std = X.std(axis=0)
        # A constant's deviation may round above 0, a tiny spread's to 0.
        is_flat = (np.ptp(X, axis=0) == 0) | (std == 0)
        return cls(X.mean(axis=0), np.where(is_flat, 1.0, std))

    def fold(self, params: Params) -> Params:
        W1 = params.W1 / self.std[:, None]
        return params._replace(W1=W1, b1=params.b1 - self.mean @ W1)


def train(data: Dataset, config: TrainingConfig) -> Iterator[Epoch]:
    """Train on the data, yielding after every epoch.

    Ends after `config.epochs` or when `config.patience` runs out. The same data,
    configuration and machine give the same bits.

    Raises:
        DivergedError: A loss or parameter is not finite.
    """
    training, holdout = data.split(config.holdout, config.seed)
    if holdout is None and config.is_one_by_one:
        yield from _train_one_by_one(training, config)
        return
    rng = np.random.default_rng(config.seed)
    params = init_params(rng, config.hidden_units)
    velocity = Params(*map(np.zeros_like, params))
    scale = _Scale.of(training.X, standardize=config.standardize)
    X, y = (training.X - scale.mean) / scale.std, training.y
    best, best_loss, best_number = params, np.inf, 0
    for number in range(1, config.epochs + 1):
        if config.shuffle:
            order = rng.permutation(len(y))
            X, y = X[order], y[order]
        params, velocity = _descend(params, velocity, X, y, config)
        folded = scale.fold(params)
        train_loss = _loss(folded, training, config)
        holdout_loss = None if holdout is None else _loss(folded, holdout, config)
        if holdout_loss is None or holdout_loss < best_loss:
            best, best_number = folded, number
            best_loss = np.inf if holdout_loss is None else holdout_loss
        yield Epoch(number, train_loss, holdout_loss, best)
        if config.patience is not None and number - best_number >= config.patience:
            return


def _train_one_by_one(data: Dataset, config: TrainingConfig) -> Iterator[Epoch]:
    """Train as the article does; the people keep their order."""
    rng = np.random.default_rng(config.seed)
    params = PlainParams.of(init_params(rng, config.hidden_units))
    people = [(*x, y) for x, (y,) in zip(data.X.tolist(), data.y.tolist(), strict=True)]
    for number in range(1, config.epochs + 1):
        params = params.descend(people, config.loss, config.learning_rate)
        loss = params.mean_loss(people, config.loss)
        if not (isfinite(loss) and params.is_finite):
            raise _diverged(config, loss)
        yield Epoch(number, loss, None, params)


def _descend(
    params: Params, velocity: Params, X: Floats, y: Floats, config: TrainingConfig
) -> tuple[Params, Params]:
    """Take one step per batch, in the order of the rows."""
    gradient_of = LOSSES[config.loss].gradient
    for start in range(0, len(y), config.batch_size):
        X_batch = X[start : start + config.batch_size]
        y_batch = y[start : start + config.batch_size]
        A1, Z2 = forward(params, X_batch)
        gradient = backward(params, X_batch, A1, gradient_of(Z2, y_batch))
        params, velocity = step(
            params,
            velocity,
            gradient,
            learning_rate=config.learning_rate,
            momentum=config.momentum,
        )
    return params, velocity


def _loss(params: Params, data: Dataset, config: TrainingConfig) -> float:
    loss = LOSSES[config.loss].value(predict_logits(params, data.X), data.y)
    if not (np.isfinite(loss) and params.is_finite):
        raise _diverged(config, loss)
    return loss


def _diverged(config: TrainingConfig, loss: float) -> DivergedError:
    return DivergedError(f"the {config.loss} loss is {loss}, or a weight too large")
