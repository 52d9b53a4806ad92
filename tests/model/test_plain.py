"""The network in plain numbers against the network in arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import Floats, Params, one_predictor
from model.network import LOSSES, LossName, backward, forward, predict_logits, sigmoid
from model.plain import Person, PlainParams
from tests.model.test_network import (
    HAND,
    HAND_GRADIENT,
    HAND_X,
    HAND_Y,
    Problem,
    problems,
)

LOSS_NAMES = [pytest.param("mse", id="mse"), pytest.param("bce", id="bce")]


def people_of(X: Floats, y: Floats) -> list[Person]:
    """Return rows as people."""
    return [(*x, target) for x, (target,) in zip(X.tolist(), y.tolist(), strict=True)]


def stepped(params: Params, gradient: Params, learning_rate: float) -> Params:
    """Return the parameters after a step against the gradient."""
    pairs = zip(params, gradient, strict=True)
    return Params(*(p - learning_rate * slope for p, slope in pairs))


def assert_equal(found: Params, expected: Params) -> None:
    """Expect each array to be the other's, but for rounding."""
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_a_step_is_the_one_worked_by_hand() -> None:
    plain = PlainParams.of(HAND).descend(people_of(HAND_X, HAND_Y), "mse", 0.5)

    assert_equal(plain.to_params(), stepped(HAND, HAND_GRADIENT, 0.5))


@pytest.mark.parametrize("loss", LOSS_NAMES)
@given(problem=problems())
def test_a_step_is_that_of_the_arrays(problem: Problem, loss: LossName) -> None:
    params, X, y = problem.params, problem.X[:1], problem.y[:1]
    A1, Z2 = forward(params, X)
    gradient = backward(params, X, A1, LOSSES[loss].gradient(Z2, y))

    plain = PlainParams.of(params).descend(people_of(X, y), loss, 0.3)

    assert_equal(plain.to_params(), stepped(params, gradient, 0.3))


@pytest.mark.parametrize("loss", LOSS_NAMES)
@given(problem=problems())
def test_the_loss_is_that_of_the_arrays(problem: Problem, loss: LossName) -> None:
    params, X, y = problem
    expected = LOSSES[loss].value(predict_logits(params, X), y)

    found = PlainParams.of(params).mean_loss(people_of(X, y), loss)

    assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)


@given(problem=problems())
def test_one_prediction_is_that_of_the_arrays(problem: Problem) -> None:
    P = sigmoid(predict_logits(problem.params, problem.X))

    found = [one_predictor(problem.params)(*x) for x in problem.X.tolist()]

    assert found == pytest.approx(P[:, 0].tolist(), abs=1e-15, rel=0)


@given(
    offset=st.floats(-1e4, 1e4), weight=st.sampled_from([-1e100, -1e3, 0.0, 1e3, 1e100])
)
def test_one_prediction_never_overflows(offset: float, weight: float) -> None:
    params = Params(*(np.full_like(p, weight) for p in HAND))

    assert 0.0 <= one_predictor(params)(offset, -offset) <= 1.0


@given(problem=problems())
def test_the_parameters_come_back_as_they_went(problem: Problem) -> None:
    found = PlainParams.of(problem.params).to_params()

    assert [p.tobytes() for p in found] == [p.tobytes() for p in problem.params]
    assert all(p.flags.c_contiguous for p in found)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e101, -1e101])
@pytest.mark.parametrize("name", Params._fields)
def test_a_parameter_beyond_any_use_is_seen(name: str, value: float) -> None:
    array = getattr(HAND, name).copy()
    array.flat[-1] = value

    assert PlainParams.of(HAND).is_finite
    assert not PlainParams.of(HAND._replace(**{name: array})).is_finite
