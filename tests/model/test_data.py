"""Units against hand values, canonical bytes, and the split's promises."""

import hashlib
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model import ALL_UNITS, ARTICLE_PEOPLE, IMPERIAL, METRIC, OFFSETS, Dataset, Units
from model.data import SMALLEST, _mix

UNIT_IDS = ("offsets", "imperial", "metric")


@st.composite
def datasets(draw: st.DrawFn, offsets: st.SearchStrategy[float]) -> Dataset:
    """Draw up to 30 people with such offsets."""
    rows = draw(st.integers(1, 30))
    X = draw(arrays(np.float64, (rows, 2), elements=offsets))
    y = draw(arrays(np.float64, (rows, 1), elements=st.sampled_from([0.0, 1.0])))
    return Dataset(X=X, y=y)


def crowd(rows: int) -> Dataset:
    """Return so many people, no two alike, M and F by turns."""
    X = np.random.default_rng(rows).standard_normal((rows, 2))
    return Dataset(X=X, y=(np.arange(rows) % 2).astype(np.float64)[:, None])


def on_side(side: Dataset | None, people: Dataset) -> list[bool]:
    """Tell which people stand on a side, by their offsets."""
    points = set() if side is None else set(map(tuple, side.X.tolist()))
    return [tuple(point) in points for point in people.X.tolist()]


@pytest.mark.parametrize(
    ("units", "values", "offsets"),
    [
        pytest.param(OFFSETS, [-7.0, -3.0], [-7.0, -3.0], id="offsets"),
        pytest.param(IMPERIAL, [128.0, 63.0], [-7.0, -3.0], id="imperial"),
        # 200 lb are 90.718474 kg, 70 in are 177.8 cm
        pytest.param(METRIC, [90.718474, 177.8], [65.0, 4.0], id="metric"),
    ],
)
def test_values_become_offsets(
    units: Units, values: list[float], offsets: list[float]
) -> None:
    X = units.to_offsets(np.array([values]))
    person: dict[str, Any] = {
        "label": "F",
        **dict(zip(units.columns, values, strict=True)),
    }

    np.testing.assert_allclose(X, [offsets], rtol=0, atol=1e-12)
    assert units.offsets_of(person) == tuple(X[0])
    assert units.offsets_of_all([person, person]).tolist() == [*X.tolist()] * 2


@pytest.mark.parametrize(
    ("units", "lowest", "highest"),
    [
        pytest.param(OFFSETS, (-10_000.0, -1_000.0), (10_000.0, 1_000.0), id="offsets"),
        pytest.param(
            IMPERIAL, (SMALLEST, SMALLEST), (10_135.0, 1_066.0), id="imperial"
        ),
        # 10,135 lb * 0.45359237 kg and 1,066 in * 2.54 cm
        pytest.param(
            METRIC, (SMALLEST, SMALLEST), (4_597.15866995, 2_707.64), id="metric"
        ),
    ],
)
def test_limits_are_those_of_the_offsets(
    units: Units, lowest: tuple[float, float], highest: tuple[float, float]
) -> None:
    limits = np.array(units.limits)

    np.testing.assert_allclose(limits, np.transpose([lowest, highest]), rtol=1e-15)


@pytest.mark.parametrize("units", ALL_UNITS, ids=UNIT_IDS)
def test_no_value_within_the_limits_has_an_offset_beyond(units: Units) -> None:
    corners = np.transpose(units.limits)

    X = np.abs(units.to_offsets(corners))

    assert (X <= [10_000.0, 1_000.0]).all()


def test_zero_is_never_negative() -> None:
    X = OFFSETS.to_offsets(np.array([[-0.0, -0.0]]))
    one = OFFSETS.offsets_of({"weight_offset": -0.0, "height_offset": -0.0})

    assert not np.signbit([*X[0], *one]).any()


@given(data=datasets(st.floats(allow_nan=False)))
def test_a_dataset_comes_back_from_its_bytes(data: Dataset) -> None:
    again = Dataset.from_bytes(bytes(data.to_buffer()))

    assert (again.X.tolist(), again.y.tolist()) == (data.X.tolist(), data.y.tolist())


def test_the_bytes_are_two_doubles_and_a_label_for_each_person() -> None:
    content = ARTICLE_PEOPLE.to_buffer()

    people = [(-2, -1, 1), (25, 6, 0), (17, 4, 0), (-15, -6, 1)]
    assert content == b"".join(struct.pack("<ddB", *person) for person in people)


def test_the_hash_is_that_of_the_bytes() -> None:
    data = crowd(50)

    assert data.sha256 == hashlib.sha256(data.to_buffer()).hexdigest()


def test_the_hash_does_not_see_the_sign_of_zero() -> None:
    y = np.array([[1.0]])

    plus = Dataset(X=OFFSETS.to_offsets(np.array([[0.0, 1.0]])), y=y)
    minus = Dataset(X=OFFSETS.to_offsets(np.array([[-0.0, 1.0]])), y=y)

    assert minus.sha256 == plus.sha256


@pytest.mark.parametrize(
    ("labels", "has_both"),
    [
        pytest.param([0.0, 1.0], True, id="both"),
        pytest.param([1.0, 1.0], False, id="only-F"),
        pytest.param([0.0, 0.0], False, id="only-M"),
        pytest.param([], False, id="nobody"),
    ],
)
def test_both_classes_are_an_f_and_an_m(labels: list[float], *, has_both: bool) -> None:
    data = Dataset(X=np.zeros((len(labels), 2)), y=np.array(labels).reshape(-1, 1))

    assert data.has_both_classes is has_both


def test_a_mask_selects_people() -> None:
    selected = ARTICLE_PEOPLE[np.array([True, False, False, True])]

    assert (selected.X.tolist(), selected.y.tolist()) == (
        [[-2.0, -1.0], [-15.0, -6.0]],
        [[1.0], [1.0]],
    )


def test_ranges_span_the_offsets() -> None:
    assert ARTICLE_PEOPLE.ranges == ((-15.0, 25.0), (-6.0, 6.0))


@pytest.mark.parametrize(
    ("point", "is_outside"),
    [
        pytest.param([0.0, 0.0], False, id="inside"),
        pytest.param([-15.0, 6.0], False, id="on-an-edge"),
        pytest.param([25.0, -6.0], False, id="on-the-other-edge"),
        pytest.param([-15.1, 0.0], True, id="too-light"),
        pytest.param([25.1, 0.0], True, id="too-heavy"),
        pytest.param([0.0, -6.1], True, id="too-short"),
        pytest.param([0.0, 6.1], True, id="too-tall"),
    ],
)
def test_a_point_beyond_the_ranges_is_outside(
    point: list[float], *, is_outside: bool
) -> None:
    outside = ARTICLE_PEOPLE.ranges.outside(np.array([point]))

    assert outside.tolist() == [is_outside]
    assert ARTICLE_PEOPLE.ranges.contain(*point) is not is_outside


@pytest.mark.parametrize(
    ("state", "first", "second"),
    [(1_234_567, 6_457_827_717_110_365_317, 3_203_168_211_198_807_973)],
)
def test_bits_are_mixed_as_splitmix64_publishes(
    state: int, first: int, second: int
) -> None:
    following = (state + 0x9E3779B97F4A7C15) % 2**64

    mixed = _mix(np.array([state, following], np.uint64))

    assert mixed.tolist() == [first, second]


def test_the_side_follows_from_weight_height_and_seed_alone() -> None:
    data, seed = crowd(200), 4

    _, holdout = data.split(0.3, seed)

    sides = [hash_by_hand(w, h, seed) < 0.3 for w, h in data.X.tolist()]
    assert on_side(holdout, data) == sides


def hash_by_hand(weight: float, height: float, seed: int) -> float:
    """Hash a person to a number below 1, in whole numbers."""
    mixed = seed
    for offset in (height, weight):
        (bits,) = struct.unpack("<Q", struct.pack("<d", offset))
        mixed = bits ^ int(_mix(np.array([mixed], np.uint64))[0])
    return (int(_mix(np.array([mixed], np.uint64))[0]) >> 11) / 2**53


def test_the_same_seed_splits_the_same_way() -> None:
    first, second = crowd(200).split(0.2, seed=4), crowd(200).split(0.2, seed=4)

    assert [side and side.sha256 for side in first] == [
        side and side.sha256 for side in second
    ]


def test_another_seed_splits_another_way() -> None:
    data = crowd(200)

    sides = [on_side(data.split(0.2, seed)[1], data) for seed in range(3)]

    assert sides[0] != sides[1] != sides[2] != sides[0]


def test_the_sides_make_up_the_whole() -> None:
    data = crowd(200)

    training, holdout = data.split(0.2, seed=0)

    assert holdout is not None
    together = np.vstack([training.X, holdout.X])
    assert sorted(together.tolist()) == sorted(data.X.tolist())


def test_people_keep_their_labels_when_split() -> None:
    data = crowd(200)
    labels = dict(zip(map(tuple, data.X.tolist()), data.y[:, 0], strict=True))

    _, holdout = data.split(0.5, seed=0)

    assert holdout is not None
    expected = [labels[tuple(point)] for point in holdout.X.tolist()]
    assert holdout.y[:, 0].tolist() == expected


def test_nobody_changes_sides_when_people_join() -> None:
    fewer = crowd(200)
    more = Dataset(X=np.vstack([crowd(333).X, fewer.X]), y=np.ones((533, 1)))
    more.y[:300] = 0.0

    side = on_side(more.split(0.2, seed=0)[1], fewer)

    assert side == on_side(fewer.split(0.2, seed=0)[1], fewer)


def test_nobody_changes_sides_in_another_order() -> None:
    data = crowd(200)
    reverse = Dataset(X=data.X[::-1], y=data.y[::-1])

    side = on_side(reverse.split(0.2, seed=0)[1], data)

    assert side == on_side(data.split(0.2, seed=0)[1], data)


def test_equal_people_stand_on_one_side() -> None:
    once = crowd(100)
    thrice = Dataset(X=np.tile(once.X, (3, 1)), y=np.tile(once.y, (3, 1)))

    training, holdout = thrice.split(0.3, seed=0)

    assert holdout is not None
    assert not any(on_side(holdout, training))


def test_the_side_does_not_see_the_sign_of_zero() -> None:
    plus = crowd(200)
    plus.X[:, 0] = 0.0
    minus = Dataset(X=plus.X * [-1.0, 1.0], y=plus.y)

    _, holdout = minus.split(0.2, seed=0)

    assert on_side(holdout, plus) == on_side(plus.split(0.2, seed=0)[1], plus)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5], ids="holdout={}".format)
@pytest.mark.parametrize("seed", [0, 2**32 - 1], ids="seed={}".format)
def test_the_holdout_is_near_its_share(share: float, seed: int) -> None:
    _, holdout = crowd(20_000).split(share, seed)

    assert holdout is not None
    assert len(holdout) / 20_000 == pytest.approx(share, abs=0.015)  # 4 deviations


@pytest.mark.parametrize("column", [0, 1], ids=["weight", "height"])
def test_each_coordinate_moves_people_between_the_sides(column: int) -> None:
    data = crowd(2_000)
    data.X[:, 1 - column] = 1.0

    _, holdout = data.split(0.5, seed=0)

    assert holdout is not None
    assert len(holdout) == pytest.approx(1_000, abs=100)


@pytest.mark.parametrize(
    ("rows", "has_holdout"), [(19, False), (20, True)], ids=["19-rows", "20-rows"]
)
def test_there_is_no_holdout_below_twenty_rows(rows: int, *, has_holdout: bool) -> None:
    _, holdout = crowd(rows).split(0.5, seed=0)

    assert (holdout is not None) is has_holdout


def test_without_a_share_there_is_no_holdout() -> None:
    data = crowd(200)

    assert data.split(0.0, seed=0) == (data, None)


def test_equal_people_alone_cannot_be_split() -> None:
    data = Dataset(X=np.ones((100, 2)), y=crowd(100).y)

    assert {data.split(0.5, seed)[1] for seed in range(20)} == {None}


def test_there_is_no_holdout_when_one_class_would_be_all_held_out() -> None:
    data = crowd(100)
    _, held = data.split(0.2, seed=0)
    females = np.array(on_side(held, data)) & (np.arange(100) < 50)
    one_sided = Dataset(X=data.X, y=females.astype(np.float64)[:, None])

    training, holdout = one_sided.split(0.2, seed=0)

    assert (training, holdout) == (one_sided, None)


@given(data=datasets(st.sampled_from([0.0, -0.0, 1.0, 2.5])))
def test_conflicting_rows_are_those_of_a_count_by_hand(data: Dataset) -> None:
    labels: dict[tuple[float, ...], set[float]] = {}
    for point, (label,) in zip(data.X.tolist(), data.y.tolist(), strict=True):
        labels.setdefault(tuple(point), set()).add(label)

    conflicting = data.conflicting_rows()

    assert conflicting == sum(len(labels[tuple(p)]) == 2 for p in data.X.tolist())
