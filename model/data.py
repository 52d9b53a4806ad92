"""People as numbers: units, the dataset and its canonical bytes, the split.

Letters: X (N, 2) holds offsets (weight - 135 lb, height - 66 in), y (N, 1) holds
1 for label F and 0 for label M.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from model.network import Floats

LABELS: Final = ("M", "F")  # by target: 0, 1
ORIGINS: Final = (135.0, 66.0)  # lb, in
MAX_OFFSETS: Final = (10_000.0, 1_000.0)  # lb, in
KG_PER_LB: Final = 0.45359237  # the international pound of 1959
CM_PER_IN: Final = 2.54  # the international inch of 1959
SMALLEST: Final = float(np.nextafter(0.0, 1.0))  # the smallest number above 0
MIN_ROWS_TO_SPLIT: Final = 20

_ROW: Final = np.dtype(
    [("weight_offset", "<f8"), ("height_offset", "<f8"), ("label", "u1")]
)


class Units(NamedTuple):
    """One way to write a weight and a height; offset = value / size - origin."""

    columns: tuple[str, str]
    sizes: tuple[float, float]
    origins: tuple[float, float]

    def to_offsets(self, values: Floats) -> Floats:
        """Convert values of these units, shape (N, 2), to offsets in lb and in."""
        sizes, origins = np.array(self.sizes), np.array(self.origins)
        return np.asarray(values / sizes - origins + 0.0)  # + 0.0: no -0.0

    def offsets_of(self, person: Mapping[str, float]) -> tuple[float, float]:
        """Return one person's offsets in lb and in, from values by column."""
        (weight, height), (w_size, h_size), (w_origin, h_origin) = self
        return (
            person[weight] / w_size - w_origin + 0.0,
            person[height] / h_size - h_origin + 0.0,
        )

    def offsets_of_all(self, people: Collection[Mapping[str, Any]]) -> Floats:
        """Return the offsets of N people, shape (N, 2), from values by column."""
        numbers = chain.from_iterable(map(itemgetter(*self.columns), people))
        values = np.fromiter(numbers, np.float64, len(self.columns) * len(people))
        return self.to_offsets(values.reshape(-1, len(self.columns)))

    @property
    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The lowest and highest value of each column; whole ones are above 0."""
        (w, h), (w_size, h_size) = self.origins, self.sizes
        w_highest, h_highest = (
            (MAX_OFFSETS[0] + w) * w_size,
            (MAX_OFFSETS[1] + h) * h_size,
        )
        if self.origins == (0.0, 0.0):
            return (-w_highest, w_highest), (-h_highest, h_highest)
        return (SMALLEST, w_highest), (SMALLEST, h_highest)


OFFSETS: Final = Units(("weight_offset", "height_offset"), (1.0, 1.0), (0.0, 0.0))
IMPERIAL: Final = Units(("weight_lb", "height_in"), (1.0, 1.0), ORIGINS)
METRIC: Final = Units(("weight_kg", "height_cm"), (KG_PER_LB, CM_PER_IN), ORIGINS)
ALL_UNITS: Final = (OFFSETS, IMPERIAL, METRIC)


class Ranges(NamedTuple):
    """The lowest and highest offset of each input among the training people."""

    weight: tuple[float, float]
    height: tuple[float, float]

    def contain(self, weight_offset: float, height_offset: float) -> bool:
        """Tell whether both coordinates of one person are in range."""
        (w_lowest, w_highest), (h_lowest, h_highest) = self
        return (
            w_lowest <= weight_offset <= w_highest
            and h_lowest <= height_offset <= h_highest
        )

    def outside(self, X: Floats) -> NDArray[np.bool_]:
        """Tell which rows of X (N, 2) have a coordinate out of range, shape (N,)."""
        lowest, highest = np.array(self).T
        return np.asarray(((lowest > X) | (highest < X)).any(axis=1))


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Labelled people.

    Attributes:
        X: Offsets in lb and in, shape (N, 2).
        y: 1 for F, 0 for M, shape (N, 1).
    """

    X: Floats
    y: Floats

    def __len__(self) -> int:
        """Return the number of people."""
        return len(self.X)

    def __getitem__(self, rows: NDArray[np.bool_]) -> Self:
        """Return the people that the mask of shape (N,) selects."""
        return type(self)(X=self.X[rows], y=self.y[rows])

    @property
    def has_both_classes(self) -> bool:
        """Whether at least one F and one M are here."""
        return bool(0 < self.y.sum() < len(self))

    @property
    def ranges(self) -> Ranges:
        """What the offsets span."""
        lowest, highest = self.X.min(axis=0).tolist(), self.X.max(axis=0).tolist()
        return Ranges(*zip(lowest, highest, strict=True))

    def to_buffer(self) -> memoryview:
        """Return the canonical bytes: two little-endian float64 and a byte a row.

        They are not copied, which would take the GIL.
        """
        rows = np.empty(len(self), _ROW)
        rows["weight_offset"], rows["height_offset"] = self.X.T
        rows["label"] = self.y[:, 0]
        return rows.view(np.uint8).data

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what `to_buffer` wrote."""
        rows = np.frombuffer(content, _ROW)
        X = np.column_stack([rows["weight_offset"], rows["height_offset"]])
        return cls(X=X, y=rows["label"].astype(np.float64)[:, None])

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the canonical bytes, in hexadecimal."""
        return hashlib.sha256(self.to_buffer()).hexdigest()

    def split(self, holdout: float, seed: int) -> tuple[Self, Self | None]:
        """Return the training rows and, where one is possible, the holdout.

        A row's side follows from a hash of its offsets and the seed alone, so equal
        people stand on one side and nobody changes sides when rows are added.
        There is no holdout below 20 rows, nor where it would leave a side empty or
        the training rows with one class.

        Args:
            holdout: The expected share of held-out rows, 0 to 0.5.
            seed: Chooses among the splits.
        """
        held = _hash_unit(self.X, seed) < holdout
        if len(self) < MIN_ROWS_TO_SPLIT or not held.any():
            return self, None
        training = self[~held]
        return (training, self[held]) if training.has_both_classes else (self, None)

    def conflicting_rows(self) -> int:
        """Count the rows whose offsets stand under both labels."""
        # One value for each person:
        points = np.ascontiguousarray(self.X).view(np.complex128)[:, 0]
        order = np.argsort(points)
        points = points[order]
        first = np.flatnonzero(np.append(True, points[1:] != points[:-1]))
        people = np.diff(first, append=len(points))
        females = np.add.reduceat(self.y[order, 0], first)
        return int(people[(females > 0) & (females < people)].sum())


ARTICLE_PEOPLE: Final = Dataset(  # Alice, Bob, Charlie, Diana
    X=np.array([[-2.0, -1.0], [25.0, 6.0], [17.0, 4.0], [-15.0, -6.0]]),
    y=np.array([[1.0], [0.0], [0.0], [1.0]]),
)


def _hash_unit(X: Floats, seed: int) -> Floats:
    """Hash each row of X (N, 2) to a number in [0, 1), shape (N,)."""
    weight, height = np.ascontiguousarray(X + 0.0, "<f8").view("<u8").T
    mixed = _mix(weight ^ _mix(height ^ _mix(np.full(1, seed, np.uint64))))
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix as SplitMix64 does (Steele, Lea & Flood, 2014, figure 16)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
