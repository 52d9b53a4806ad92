"""Metrics against hand values and scikit-learn, explanations against brute force."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from model import Dataset, Params, evaluate, explain, predict_proba
from model.evaluation import calibration_error

WEIGHTS = st.floats(-3.0, 3.0)
OFFSETS = st.floats(-100.0, 100.0)


@st.composite
def networks(draw: st.DrawFn) -> Params:
    """Draw a network of at most 8 units."""
    H = draw(st.integers(1, 8))
    shapes = ((2, H), (H,), (H, 1), (1,))
    return Params(*(draw(arrays(np.float64, s, elements=WEIGHTS)) for s in shapes))


def constant(logit: float) -> Params:
    """Return a network that gives everybody the same logit."""
    return Params(np.zeros((2, 1)), np.zeros(1), np.zeros((1, 1)), np.array([logit]))


def shapley(params: Params, person: tuple[float, float]) -> list[float]:
    """Return the mean change each input makes, over every order of arrival."""
    shares = [0.0, 0.0]
    for order in permutations(range(2)):
        present = [0.0, 0.0]
        for player in order:
            before = predict_proba(params, np.array([present]))[0]
            present[player] = person[player]
            after = predict_proba(params, np.array([present]))[0]
            shares[player] += float(after - before) / 2
    return shares


@pytest.fixture
def network() -> Params:
    """A network that is neither good nor sure on the people."""
    return Params(
        W1=np.array([[-0.05, 0.02], [0.1, -0.3]]),
        b1=np.array([0.5, -0.2]),
        W2=np.array([[2.0], [1.5]]),
        b2=np.array([-1.2]),
    )


@pytest.fixture
def probabilities(network: Params, people: Dataset) -> list[float]:
    """Return what that network answers."""
    return [float(p) for p in predict_proba(network, people.X)]


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        # everybody gets 3/4; three are F and one is M:
        pytest.param("mse", 3 / 16, id="mse"),  # (3 * 1/16 + 9/16) / 4
        # -(3 ln 3/4 + ln 1/4) / 4 = (4 ln 4 - 3 ln 3) / 4
        pytest.param("log_loss", np.log(4) - 0.75 * np.log(3), id="log_loss"),
        pytest.param("accuracy", 0.75, id="accuracy"),
        pytest.param("calibration_error", 0.0, id="calibration_error"),
    ],
)
def test_metrics_are_those_worked_by_hand(metric: str, value: float) -> None:
    data = Dataset(X=np.zeros((4, 2)), y=np.array([[1.0], [1.0], [0.0], [1.0]]))

    metrics = evaluate(constant(np.log(3)), data)

    assert getattr(metrics, metric) == pytest.approx(value, rel=0, abs=1e-15)


def test_the_squared_error_equals_scikit_learn(
    network: Params, people: Dataset, probabilities: list[float]
) -> None:
    expected = brier_score_loss(people.y[:, 0], probabilities)

    assert evaluate(network, people).mse == pytest.approx(expected, rel=1e-12)


def test_the_log_loss_equals_scikit_learn(
    network: Params, people: Dataset, probabilities: list[float]
) -> None:
    expected = log_loss(people.y[:, 0], probabilities)

    assert evaluate(network, people).log_loss == pytest.approx(expected, rel=1e-12)


def test_accuracy_equals_scikit_learn(
    network: Params, people: Dataset, probabilities: list[float]
) -> None:
    expected = accuracy_score(people.y[:, 0], np.array(probabilities) >= 0.5)

    assert evaluate(network, people).accuracy == pytest.approx(expected, rel=1e-12)


def test_a_probability_of_one_half_means_f() -> None:
    data = Dataset(X=np.zeros((1, 2)), y=np.array([[1.0]]))

    assert evaluate(constant(0.0), data).accuracy == 1.0


@pytest.mark.parametrize(
    ("logit", "label"),
    [pytest.param(-1_000.0, 1.0, id="F"), pytest.param(1_000.0, 0.0, id="M")],
)
def test_a_certain_error_has_a_finite_log_loss(logit: float, label: float) -> None:
    data = Dataset(X=np.zeros((1, 2)), y=np.array([[label]]))

    assert evaluate(constant(logit), data).log_loss == pytest.approx(1_000.0)


@pytest.mark.parametrize(
    ("P", "y", "error"),
    [
        # two bins: |0.12 + 0.18 - 1| = 0.7 and |0.95 - 1| = 0.05, of three people
        pytest.param([0.12, 0.18, 0.95], [0.0, 1.0, 1.0], 0.25, id="two-bins"),
        # in one bin the errors make up for each other
        pytest.param([0.5, 0.5], [0.0, 1.0], 0.0, id="one-bin"),
        # 0.39 and 0.4 are in two bins: (0.39 + 0.6) / 2
        pytest.param([0.39, 0.4], [0.0, 1.0], 0.495, id="edge"),
        # a tenth wide: 0.25 and 0.35 are in two bins, (0.25 + 0.65) / 2
        pytest.param([0.25, 0.35], [0.0, 1.0], 0.45, id="width"),
        # 0.85 and 0.95 are in two bins: (0.85 + 0.05) / 2
        pytest.param([0.85, 0.95], [0.0, 1.0], 0.45, id="last-two-bins"),
        # the last bin holds 1 too: |0.95 - 1 + 1| / 2
        pytest.param([0.95, 1.0], [1.0, 0.0], 0.475, id="last-bin"),
        pytest.param([1.0], [0.0], 1.0, id="certain"),
        pytest.param([0.0], [1.0], 1.0, id="impossible"),
    ],
)
def test_the_calibration_error_is_the_one_worked_by_hand(
    P: list[float], y: list[float], error: float
) -> None:
    measured = calibration_error(np.array(P)[:, None], np.array(y)[:, None])

    assert measured == pytest.approx(error, rel=0, abs=1e-15)


@given(params=networks(), weight=OFFSETS, height=OFFSETS)
def test_an_explanation_sums_to_the_probability(
    params: Params, weight: float, height: float
) -> None:
    explanation = explain(params, weight, height)

    probability = predict_proba(params, np.array([[weight, height]]))[0]
    assert sum(explanation) == pytest.approx(probability, rel=0, abs=1e-12)


@given(params=networks(), weight=OFFSETS, height=OFFSETS)
def test_an_explanation_is_the_mean_over_all_orders(
    params: Params, weight: float, height: float
) -> None:
    _, *shares = explain(params, weight, height)

    expected = shapley(params, (weight, height))
    assert shares == pytest.approx(expected, rel=0, abs=1e-12)


@given(params=networks(), weight=OFFSETS, height=OFFSETS)
def test_the_baseline_is_the_answer_at_the_origin(
    params: Params, weight: float, height: float
) -> None:
    baseline, _, _ = explain(params, weight, height)

    origin = predict_proba(params, np.zeros((1, 2)))[0]
    assert baseline == pytest.approx(origin, rel=0, abs=1e-15)


@given(params=networks(), weight=OFFSETS, height=OFFSETS)
def test_explanations_are_symmetric_in_the_inputs(
    params: Params, weight: float, height: float
) -> None:
    swapped = params._replace(W1=params.W1[::-1])

    baseline, of_weight, of_height = explain(params, weight, height)

    expected = explain(swapped, height, weight)
    assert (baseline, of_height, of_weight) == pytest.approx(expected, abs=1e-12)


@given(params=networks(), weight=OFFSETS)
def test_an_input_at_the_origin_adds_nothing(params: Params, weight: float) -> None:
    explanation = explain(params, weight, 0.0)

    assert explanation.height == pytest.approx(0.0, rel=0, abs=1e-15)
