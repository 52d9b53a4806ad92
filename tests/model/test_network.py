"""The network against central differences, hand-worked numbers and scikit-learn."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.neural_network import MLPClassifier

from model import Floats, Params, predict_proba
from model.network import (
    LOSSES,
    LossName,
    backward,
    forward,
    init_params,
    predict_logits,
    sigmoid,
    step,
)

LOSS_NAMES = [pytest.param("mse", id="mse"), pytest.param("bce", id="bce")]
FINITE = st.floats(allow_nan=False, allow_infinity=False)

# A 2-2-1 network and a person for which everything is a short fraction:
#   z1 = 0.5 * 2 + 1 * -1 + 0           = 0       h1 = sigmoid(0)      = 1/2
#   z2 = 1 * 2 + 3 * -1 + (1 + ln 3)    = ln 3    h2 = sigmoid(ln 3)   = 3/4
#   z  = 2 * 1/2 - 4 * 3/4 + (2 - ln 4) = -ln 4   p  = sigmoid(-ln 4)  = 1/5
# since sigmoid(ln k) = k / (k + 1). With y = 1 the loss is (1/5 - 1)^2 = 0.64.
HAND = Params(
    W1=np.array([[0.5, 1.0], [1.0, 3.0]]),
    b1=np.array([0.0, 1.0 + math.log(3)]),
    W2=np.array([[2.0], [-4.0]]),
    b2=np.array([2.0 - math.log(4)]),
)
HAND_X = np.array([[2.0, -1.0]])
HAND_Y = np.array([[1.0]])

# Back, with dL/dp = 2 (p - y) = -1.6 and p (1 - p) = 0.16:
#   dz  = -1.6 * 0.16 = -0.256 = db3      dw5 = dz * 1/2 = -0.128
#                                         dw6 = dz * 3/4 = -0.192
#   dz1 = dz *  2 * 1/2 * 1/2 = -0.128    dw1 = dz1 * 2  = -0.256
#                                         dw2 = dz1 * -1 =  0.128
#   dz2 = dz * -4 * 3/4 * 1/4 =  0.192    dw3 = dz2 * 2  =  0.384
#                                         dw4 = dz2 * -1 = -0.192
HAND_GRADIENT = Params(
    W1=np.array([[-0.256, 0.384], [0.128, -0.192]]),
    b1=np.array([-0.128, 0.192]),
    W2=np.array([[-0.128], [-0.192]]),
    b2=np.array([-0.256]),
)


class Problem(NamedTuple):
    """A network, rows and targets of fitting shapes."""

    params: Params
    X: Floats
    y: Floats


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Draw any network of at most 8 units with at most 8 rows."""
    B, H = draw(st.integers(1, 8)), draw(st.integers(1, 8))

    def matrix(*shape: int) -> Floats:
        return draw(arrays(np.float64, shape, elements=st.floats(-3.0, 3.0)))

    params = Params(matrix(2, H), matrix(H), matrix(H, 1), matrix(1))
    y = draw(arrays(np.float64, (B, 1), elements=st.sampled_from([0.0, 1.0])))
    return Problem(params, matrix(B, 2), y)


def random_params(seed: int, hidden_units: int) -> Params:
    """Draw a network without the code under test."""
    rng = np.random.default_rng(seed)
    shapes = ((2, hidden_units), (hidden_units,), (hidden_units, 1), (1,))
    return Params(*map(rng.standard_normal, shapes))


def gradient_of(problem: Problem, loss: LossName) -> Params:
    """Return the gradient as the code under test computes it."""
    params, X, y = problem
    A1, Z2 = forward(params, X)
    return backward(params, X, A1, LOSSES[loss].gradient(Z2, y))


def central_differences(problem: Problem, loss: LossName) -> Params:
    """Return the gradient from nothing but values of the loss."""
    params, X, y = problem
    slopes = []
    for position, tensor in enumerate(params):
        slope = np.empty(tensor.shape)
        for index in np.ndindex(tensor.shape):
            values = []
            for change in (1e-5, -1e-5):
                moved = tensor.copy()
                moved[index] += change
                tensors = [*params[:position], moved, *params[position + 1 :]]
                logits = forward(Params(*tensors), X)[1]
                values.append(LOSSES[loss].value(logits, y))
            slope[index] = (values[0] - values[1]) / 2e-5
        slopes.append(slope)
    return Params(*slopes)


def classifier(problem: Problem) -> MLPClassifier:
    """Return scikit-learn's network with these parameters, before any step."""
    params, X, _ = problem
    network = MLPClassifier(
        hidden_layer_sizes=(params.b1.size,),
        activation="logistic",
        solver="sgd",
        alpha=0.0,
        batch_size=len(X),
        learning_rate_init=1.0,
        momentum=0.0,
    )
    network.partial_fit(X, problem.y[:, 0], classes=[0.0, 1.0])
    for kept, tensor in zip(network.coefs_, (params.W1, params.W2), strict=True):
        kept[:] = tensor
    for kept, tensor in zip(network.intercepts_, (params.b1, params.b2), strict=True):
        kept[:] = tensor
    return network


@pytest.fixture(params=[1, 2, 7, 64], ids="H={}".format)
def random_problem(request: pytest.FixtureRequest) -> Problem:
    """Return 50 random rows for a random network of this many units."""
    rng = np.random.default_rng(request.param)
    y = (np.arange(50) % 2).astype(np.float64)[:, None]
    params = random_params(request.param, request.param)
    return Problem(params, rng.standard_normal((50, 2)), y)


@pytest.mark.parametrize("loss", LOSS_NAMES)
@given(problem=problems())
def test_the_gradient_equals_central_differences(
    loss: LossName, problem: Problem
) -> None:
    gradient = gradient_of(problem, loss)

    for ours, slope in zip(gradient, central_differences(problem, loss), strict=True):
        np.testing.assert_allclose(ours, slope, rtol=1e-6, atol=1e-8)


def test_forward_gives_the_activations_worked_by_hand() -> None:
    A1, _ = forward(HAND, HAND_X)

    np.testing.assert_allclose(A1, [[0.5, 0.75]], rtol=0, atol=1e-15)


def test_forward_gives_the_logit_worked_by_hand() -> None:
    _, Z2 = forward(HAND, HAND_X)

    np.testing.assert_allclose(Z2, [[-math.log(4)]], rtol=0, atol=1e-15)


def test_the_probability_is_the_one_worked_by_hand() -> None:
    probability = predict_proba(HAND, HAND_X)

    np.testing.assert_allclose(probability, [0.2], rtol=0, atol=1e-15)


def test_the_hand_worked_fractions_are_those_of_scalar_arithmetic() -> None:
    h1 = 1 / (1 + math.exp(-(0.5 * 2 + 1 * -1 + 0)))
    h2 = 1 / (1 + math.exp(-(1 * 2 + 3 * -1 + 1 + math.log(3))))
    p = 1 / (1 + math.exp(-(2 * h1 - 4 * h2 + 2 - math.log(4))))

    assert (h1, h2, p) == pytest.approx((0.5, 0.75, 0.2), rel=0, abs=1e-15)


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        pytest.param("mse", 0.64, id="mse"),  # (1/5 - 1)^2
        pytest.param("bce", math.log(5), id="bce"),  # -ln(1/5)
    ],
)
def test_the_loss_is_the_one_worked_by_hand(loss: LossName, value: float) -> None:
    logits = np.array([[-math.log(4)]])

    assert LOSSES[loss].value(logits, HAND_Y) == pytest.approx(value, rel=1e-15)


def test_backward_gives_the_gradient_worked_by_hand() -> None:
    gradient = gradient_of(Problem(HAND, HAND_X, HAND_Y), "mse")

    for ours, expected in zip(gradient, HAND_GRADIENT, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-15, strict=True)


def test_a_step_goes_against_the_gradient_worked_by_hand() -> None:
    rest = Params(*map(np.zeros_like, HAND))

    after, _ = step(HAND, rest, HAND_GRADIENT, learning_rate=0.1, momentum=0.0)

    # w5, w6: 2 + 0.1 * 0.128 and -4 + 0.1 * 0.192
    np.testing.assert_allclose(after.W2, [[2.0128], [-3.9808]], rtol=0, atol=1e-15)


def test_momentum_keeps_a_share_of_the_last_step() -> None:
    ones = Params(*map(np.ones_like, HAND))
    velocity = Params(*(0.5 * one for one in ones))
    gradient = Params(*(2.0 * one for one in ones))

    after = step(ones, velocity, gradient, learning_rate=0.1, momentum=0.9)

    # v = 0.9 * 0.5 - 0.1 * 2 = 0.25, and 1 + 0.25
    assert [float(kind.b2[0]) for kind in after] == pytest.approx([1.25, 0.25])


def test_a_step_changes_no_argument() -> None:
    kinds = [random_params(seed, hidden_units=2) for seed in range(3)]

    step(*kinds, learning_rate=0.1, momentum=0.9)

    for seed, kind in enumerate(kinds):
        same = random_params(seed, hidden_units=2)
        assert all(map(np.array_equal, kind, same))


def test_forward_equals_scikit_learn(random_problem: Problem) -> None:
    reference = classifier(random_problem).predict_proba(random_problem.X)[:, 1]

    ours = predict_proba(random_problem.params, random_problem.X)

    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-14)


def test_the_gradient_equals_a_step_of_scikit_learn(random_problem: Problem) -> None:
    network = classifier(random_problem)

    network.partial_fit(random_problem.X, random_problem.y[:, 0])  # a step of size 1

    (W1, W2), (b1, b2) = network.coefs_, network.intercepts_
    gradient = gradient_of(random_problem, "bce")
    for before, ours, after in zip(
        random_problem.params, gradient, (W1, b1, W2, b2), strict=True
    ):
        np.testing.assert_allclose(before - ours, after, rtol=0, atol=1e-13)


@given(problem=problems())
def test_a_row_does_not_depend_on_its_batch(problem: Problem) -> None:
    params, X, _ = problem

    alone = [predict_proba(params, row[None, :])[0] for row in X]

    np.testing.assert_allclose(predict_proba(params, X), alone, rtol=0, atol=1e-15)


@given(z=FINITE)
@example(z=1.7976931348623157e308)
@example(z=-1.7976931348623157e308)
@example(z=-745.2)  # where exp becomes 0
def test_sigmoid_is_a_probability_without_a_warning(z: float) -> None:
    with np.errstate(all="raise", under="ignore"):
        value = sigmoid(np.array([z]))[0]

    assert 0.0 <= value <= 1.0


@given(pair=st.tuples(FINITE, FINITE))
@example(pair=(-0.7973900411260075, math.nextafter(-0.7973900411260075, 0.0)))
def test_sigmoid_never_falls_by_more_than_the_last_bit(
    pair: tuple[float, float],
) -> None:
    low, high = sigmoid(np.array(sorted(pair)))

    assert low <= np.nextafter(high, 1.0)


@given(z=FINITE)
def test_sigmoid_is_symmetric(z: float) -> None:
    there, back = sigmoid(np.array([z, -z]))

    assert back == pytest.approx(1.0 - there, rel=0, abs=1e-15)


def test_more_rows_than_a_slice_give_the_logits_of_smaller_slices() -> None:
    params = random_params(0, hidden_units=3)
    X = np.random.default_rng(1).standard_normal((2 * 65_536 + 1, 2))

    logits = predict_logits(params, X)

    parts = [forward(params, part)[1] for part in np.array_split(X, 17)]
    np.testing.assert_allclose(logits, np.concatenate(parts), rtol=0, atol=1e-14)


def test_parameters_are_drawn_in_the_order_of_the_article() -> None:
    params = init_params(np.random.default_rng(5), hidden_units=2)

    w1, w2, w3, w4, w5, w6, b1, b2, b3 = np.random.default_rng(5).standard_normal(9)
    expected = ([[w1, w3], [w2, w4]], [b1, b2], [[w5], [w6]], [b3])
    assert [tensor.tolist() for tensor in params] == list(expected)


def test_the_text_shows_every_weight() -> None:
    params = Params(
        W1=np.array([[1.5, -3.25], [2.5, 4.75]]),
        b1=np.array([-7.125, 8.0]),
        W2=np.array([[5.5], [-6.25]]),
        b2=np.array([9.0]),
    )

    assert str(params) == (
        "h1 = sigmoid(+1.5000 * weight_offset +2.5000 * height_offset -7.1250)\n"
        "h2 = sigmoid(-3.2500 * weight_offset +4.7500 * height_offset +8.0000)\n"
        "P(F) = sigmoid(+5.5000 * h1 -6.2500 * h2 +9.0000)"
    )
