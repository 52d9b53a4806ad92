"""Training against the article's loop in plain Python, and its promises one by one."""

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from model import (
    ARTICLE_CONFIG,
    ARTICLE_PEOPLE,
    Dataset,
    DivergedError,
    Epoch,
    Params,
    TrainingConfig,
    predict_proba,
    train,
)
from model.network import LossName, init_params

EMILY, FRANK = [-7.0, -3.0], [20.0, 2.0]
REFERENCE_LOSSES = {"mse": brier_score_loss, "bce": log_loss}

CONFIGS = [
    pytest.param(replace(ARTICLE_CONFIG, epochs=3), id="article"),
    pytest.param(TrainingConfig(epochs=30), id="default"),
    pytest.param(
        TrainingConfig(epochs=10, hidden_units=64, loss="mse", batch_size=7, seed=3),
        id="wide",
    ),
    pytest.param(
        TrainingConfig(epochs=30, holdout=0.0, shuffle=False, standardize=False),
        id="plain",
    ),
]


def last_params(data: Dataset, config: TrainingConfig) -> Params:
    """Return what a training ends with."""
    *_, last = train(data, config)
    return last.params


def nine(params: Params) -> list[float]:
    """Return w1...w6, b1...b3 of a 2-2-1 network."""
    W1, b1, W2, b2 = params
    return [*W1[:, 0], *W1[:, 1], *W2[:, 0], *b1, *b2]


def reference_loss(params: Params, data: Dataset, loss: LossName) -> float:
    """Return scikit-learn's loss of the network's probabilities."""
    probability = predict_proba(params, data.X)
    return float(REFERENCE_LOSSES[loss](data.y[:, 0], probability))


def article_loop(config: TrainingConfig) -> list[float]:
    """Train on the article's people in plain floats; return w1...w6, b1...b3."""
    people = [
        (weight, height, label)
        for (weight, height), (label,) in zip(
            ARTICLE_PEOPLE.X.tolist(), ARTICLE_PEOPLE.y.tolist(), strict=True
        )
    ]
    numbers: list[float]
    numbers = np.random.default_rng(config.seed).standard_normal(9).tolist()
    speeds = [0.0] * 9
    for _ in range(config.epochs):
        for start in range(0, 4, config.batch_size):
            batch = people[start : start + config.batch_size]
            slopes = [person_slopes(numbers, *person, config.loss) for person in batch]
            means = [sum(column) / len(batch) for column in zip(*slopes, strict=True)]
            speeds = [
                config.momentum * speed - config.learning_rate * mean
                for speed, mean in zip(speeds, means, strict=True)
            ]
            numbers = [n + speed for n, speed in zip(numbers, speeds, strict=True)]
    return numbers


def person_slopes(
    numbers: list[float], weight: float, height: float, label: float, loss: LossName
) -> list[float]:
    """Return the nine derivatives of one person's loss, each by the chain rule."""
    w1, w2, w3, w4, w5, w6, b1, b2, b3 = numbers
    h1 = 1 / (1 + math.exp(-(w1 * weight + w2 * height + b1)))
    h2 = 1 / (1 + math.exp(-(w3 * weight + w4 * height + b2)))
    p = 1 / (1 + math.exp(-(w5 * h1 + w6 * h2 + b3)))
    d = p - label if loss == "bce" else 2 * (p - label) * p * (1 - p)
    d1 = d * w5 * h1 * (1 - h1)
    d2 = d * w6 * h2 * (1 - h2)
    return [
        *(d1 * weight, d1 * height, d2 * weight, d2 * height),
        *(d * h1, d * h2, d1, d2, d),
    ]


@pytest.fixture(scope="module")
def stopped(people: Dataset) -> list[Epoch]:
    """Run out of patience long before the last epoch."""
    return list(train(people, TrainingConfig(patience=5, batch_size=16, seed=1)))


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(ARTICLE_CONFIG, id="article"),
        pytest.param(replace(ARTICLE_CONFIG, loss="bce", epochs=200), id="bce"),
        pytest.param(replace(ARTICLE_CONFIG, momentum=0.5, epochs=200), id="momentum"),
        pytest.param(replace(ARTICLE_CONFIG, batch_size=4), id="one-batch"),
        pytest.param(replace(ARTICLE_CONFIG, batch_size=3), id="smaller-last-batch"),
    ],
)
def test_training_equals_the_article_in_plain_python(config: TrainingConfig) -> None:
    params = last_params(ARTICLE_PEOPLE, config)

    assert nine(params) == pytest.approx(article_loop(config), rel=0, abs=1e-9)


@pytest.mark.parametrize("seed", range(10), ids="seed={}".format)
def test_the_article_tells_emily_from_frank(seed: int) -> None:
    params = last_params(ARTICLE_PEOPLE, replace(ARTICLE_CONFIG, seed=seed))

    emily, frank = predict_proba(params, np.array([EMILY, FRANK]))
    assert emily > 0.5 > frank


@pytest.mark.parametrize("config", CONFIGS)
def test_the_same_seed_gives_the_same_bits(
    people: Dataset, config: TrainingConfig
) -> None:
    first, second = last_params(people, config), last_params(people, config)

    assert [a.tobytes() for a in first] == [a.tobytes() for a in second]


@pytest.mark.parametrize("config", CONFIGS)
def test_another_seed_gives_other_parameters(
    people: Dataset, config: TrainingConfig
) -> None:
    other = last_params(people, replace(config, seed=99))

    assert not np.array_equal(last_params(people, config).W1, other.W1)


def test_another_order_of_rows_gives_other_parameters(people: Dataset) -> None:
    config = TrainingConfig(epochs=2, batch_size=16)

    in_order = last_params(people, replace(config, shuffle=False))

    assert not np.array_equal(last_params(people, config).W1, in_order.W1)


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_parameters_take_plain_offsets(people: Dataset, loss: LossName) -> None:
    config = TrainingConfig(loss=loss, epochs=20, holdout=0.0)

    *_, last = train(people, config)

    expected = reference_loss(last.params, people, loss)
    assert last.train_loss == pytest.approx(expected, rel=1e-12)


def test_standardizing_equals_training_on_standard_scores(people: Dataset) -> None:
    config = TrainingConfig(epochs=20, holdout=0.0)
    scores = (people.X - people.X.mean(axis=0)) / people.X.std(axis=0)

    folded = last_params(people, config)

    plain = replace(config, standardize=False)
    on_scores = last_params(Dataset(X=scores, y=people.y), plain)
    np.testing.assert_allclose(
        predict_proba(folded, people.X), predict_proba(on_scores, scores), atol=1e-12
    )


@pytest.mark.parametrize(
    "constant",
    [
        pytest.param(0.0, id="zero"),
        pytest.param(3.0, id="whole"),
        pytest.param(0.1, id="mean-rounds"),  # the mean of 300 such is not 0.1
    ],
)
def test_a_constant_column_gets_no_huge_weight(
    people: Dataset, constant: float
) -> None:
    X = people.X * [1.0, 0.0] + [0.0, constant]

    params = last_params(Dataset(X=X, y=people.y), TrainingConfig(epochs=20))

    assert np.abs(params.W1).max() < 100


def test_a_constant_column_keeps_the_weights_that_it_began_with(
    people: Dataset,
) -> None:
    data = Dataset(X=people.X * [1.0, 0.0] + [0.0, 3.0], y=people.y)

    params = last_params(data, TrainingConfig(epochs=20, seed=5))

    began = init_params(np.random.default_rng(5), hidden_units=2)
    assert params.W1[1].tolist() == began.W1[1].tolist()


def test_a_spread_too_small_to_be_measured_counts_as_none(people: Dataset) -> None:
    data = Dataset(X=people.X * [1.0, 1e-200], y=people.y)

    params = last_params(data, TrainingConfig(epochs=20))

    assert np.abs(params.W1).max() < 100


def test_patience_ends_the_training(stopped: list[Epoch]) -> None:
    losses = [epoch.holdout_loss for epoch in stopped]

    best = losses.index(min(loss for loss in losses if loss is not None))
    assert len(losses) == best + 1 + 5


def test_an_epoch_that_is_only_as_good_uses_patience_up(people: Dataset) -> None:
    config = TrainingConfig(learning_rate=0.0, patience=3)

    assert [epoch.number for epoch in train(people, config)] == [1, 2, 3, 4]


def test_every_epoch_keeps_the_parameters_of_the_best_so_far(
    people: Dataset, stopped: list[Epoch]
) -> None:
    _, holdout = people.split(TrainingConfig().holdout, seed=1)
    assert holdout is not None

    kept = [reference_loss(epoch.params, holdout, "bce") for epoch in stopped]

    lowest = np.minimum.accumulate([epoch.holdout_loss or 0.0 for epoch in stopped])
    assert kept == pytest.approx(lowest.tolist(), rel=1e-12)


def test_the_training_loss_leaves_the_holdout_out(
    people: Dataset, stopped: list[Epoch]
) -> None:
    training, _ = people.split(TrainingConfig().holdout, seed=1)

    first = stopped[0]

    expected = reference_loss(first.params, training, "bce")
    assert first.train_loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_each_epoch_of_the_article_tells_its_number_and_loss(loss: LossName) -> None:
    epochs = list(train(ARTICLE_PEOPLE, replace(ARTICLE_CONFIG, loss=loss, epochs=3)))

    expected = [reference_loss(epoch.params, ARTICLE_PEOPLE, loss) for epoch in epochs]
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert [epoch.train_loss for epoch in epochs] == pytest.approx(expected, rel=1e-9)


def test_epochs_are_numbered_from_one(stopped: list[Epoch]) -> None:
    numbers = [epoch.number for epoch in stopped]

    assert numbers == list(range(1, len(stopped) + 1))


def test_no_step_sees_the_holdout(people: Dataset) -> None:
    config = TrainingConfig(epochs=10, patience=None)
    _, holdout = people.split(config.holdout, config.seed)
    assert holdout is not None
    held = (people.X[:, None, :] == holdout.X).all(axis=2).any(axis=1)
    mislabelled = Dataset(X=people.X, y=np.where(held[:, None], 1 - people.y, people.y))

    losses = [epoch.train_loss for epoch in train(mislabelled, config)]

    assert losses == [epoch.train_loss for epoch in train(people, config)]


def test_without_patience_every_epoch_runs(people: Dataset) -> None:
    config = TrainingConfig(epochs=60, patience=None, batch_size=16, seed=1)

    assert sum(1 for _ in train(people, config)) == 60


def test_patience_is_not_used_without_a_holdout(people: Dataset) -> None:
    config = TrainingConfig(epochs=60, patience=1, batch_size=16, holdout=0.0)

    assert sum(1 for _ in train(people, config)) == 60


def test_without_a_holdout_every_epoch_keeps_the_latest(people: Dataset) -> None:
    config = TrainingConfig(epochs=60, batch_size=4, learning_rate=1.0, holdout=0.0)

    epochs = list(train(people, config))

    expected = [reference_loss(epoch.params, people, "bce") for epoch in epochs]
    assert [epoch.train_loss for epoch in epochs] == pytest.approx(expected, rel=1e-9)


def test_one_person_at_a_time_is_measured_on_a_holdout_too(people: Dataset) -> None:
    config = replace(ARTICLE_CONFIG, holdout=0.2, epochs=2)

    assert None not in [epoch.holdout_loss for epoch in train(people, config)]


def test_there_is_no_holdout_loss_without_a_holdout() -> None:
    *_, last = train(ARTICLE_PEOPLE, TrainingConfig(epochs=1))

    assert last.holdout_loss is None


@pytest.mark.parametrize("hidden_units", [1, 64])
def test_networks_of_any_width_learn(people: Dataset, hidden_units: int) -> None:
    config = TrainingConfig(hidden_units=hidden_units, epochs=50)

    *_, last = train(people, config)

    assert last.train_loss < 0.3  # guessing gives ln 2


@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize(
    "row",
    [
        pytest.param([math.nan, 1.0], id="nan"),
        pytest.param([math.inf, 1.0], id="infinite"),
        pytest.param([1e308, 1e308], id="overflowing-mean"),
    ],
)
def test_numbers_that_are_not_finite_end_the_training(
    row: list[float], loss: LossName
) -> None:
    data = Dataset(X=np.array([row, row]), y=np.array([[1.0], [0.0]]))

    with np.errstate(all="ignore"), pytest.raises(DivergedError) as caught:
        last_params(data, TrainingConfig(loss=loss))

    assert str(caught.value) == f"the {loss} loss is nan, or a weight too large"


def test_a_holdout_that_is_not_finite_ends_the_training(people: Dataset) -> None:
    X = np.vstack([people.X, [[math.nan, 1.0]]])
    data = Dataset(X=X, y=np.vstack([people.y, [[1.0]]]))
    seed = next(n for n in range(99) if np.isfinite(data.split(0.2, n)[0].X).all())

    with np.errstate(all="ignore"), pytest.raises(DivergedError):
        last_params(data, TrainingConfig(epochs=1, seed=seed))


def test_weights_beyond_any_use_end_the_training() -> None:
    config = replace(ARTICLE_CONFIG, learning_rate=1e150)

    with pytest.raises(DivergedError, match=r"the mse loss is 0\.5, or a weight too"):
        last_params(ARTICLE_PEOPLE, config)


@pytest.mark.parametrize(
    ("rows", "holdout"), [(4, 0.0), (19, 0.0), (20, 0.2), (1_000_000, 0.2)]
)
def test_a_configuration_holds_nobody_out_of_few_rows(
    rows: int, holdout: float
) -> None:
    assert TrainingConfig().for_rows(rows) == TrainingConfig(holdout=holdout)


def test_settings_come_back_from_their_names() -> None:
    settings = ARTICLE_CONFIG.to_dict()

    assert TrainingConfig(**settings) == ARTICLE_CONFIG
