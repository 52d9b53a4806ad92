"""The columns of a CSV of people: what its header says, and how each cell is read."""

import csv
import string
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Self

import numpy as np

from model.data import ALL_UNITS, Units
from model.network import Floats

MAX_LINE_BYTES: Final = 4_096

_PLAIN: Final = string.ascii_letters.encode() + b"0123456789+-., \n"
_TARGETS: Final = {"f": 1.0, "female": 1.0, "m": 0.0, "male": 0.0}


class RowError(NamedTuple):
    """One fault; row 1 is the header, column None means the row as a whole."""

    row: int
    column: str | None
    code: str
    detail: str

    def __str__(self) -> str:
        """Say where and what."""
        return (
            f"row {self.row}{f', {self.column}' if self.column else ''}: {self.detail}"
        )


class CsvError(ValueError):
    """The table breaks a rule; `errors` holds the first faults, at most 20."""

    def __init__(self, errors: Sequence[RowError]) -> None:
        """Keep the faults; the message is the first of them."""
        super().__init__(str(errors[0]))
        self.errors = tuple(errors)


class CsvEncodingError(CsvError):
    """The bytes are not UTF-8 without a byte order mark."""


class CellError(ValueError):
    """A cell's fault: its code and detail."""


class Column(NamedTuple):
    """Where a column stands, and how its cells are read."""

    name: str
    position: int
    parse: Callable[[str], float]


class Head(NamedTuple):
    """What the header says: the units, and how to read each column of a row."""

    header: tuple[str, ...]
    units: Units
    columns: tuple[Column, ...]

    @classmethod
    def parse(cls, line: str, *, labelled: bool) -> Self:
        """Read the header.

        Raises:
            CsvError: It names no pair of columns, or others besides.
        """
        try:
            header = tuple(
                cell.strip() for cell in next(csv.reader([line], strict=True))
            )
        except csv.Error:  # an open quote, or line ends of old Macs
            header = ()
        label = ("label",) if labelled else ()
        for units in ALL_UNITS:
            names = (*units.columns, *label)
            if sorted(header) == sorted(names):
                parsers = (*(_number_parser(*limit) for limit in units.limits), _target)
                positions = map(header.index, names)
                return cls(header, units, tuple(map(Column, names, positions, parsers)))
        wanted = " or ".join(",".join((*units.columns, *label)) for units in ALL_UNITS)
        raise CsvError([RowError(1, None, "header", f"expected the columns {wanted}")])

    def read_plain(self, content: bytes) -> Floats | None:
        """Read lines in which nothing is quoted, blank or wrong, all at once.

        Returns:
            The numbers and, where people are labelled, the targets, shape (N, 2 or 3);
            None where the lines are others: those are to be read one by one.
        """
        if max(map(len, content.split(b"\n"))) > MAX_LINE_BYTES:
            return None
        content = content.replace(b"\r\n", b"\n")
        if content.translate(None, _PLAIN):
            return None
        lines = content.decode("ascii").split("\n")
        try:
            cells = [*zip(*(line.split(",") for line in lines), strict=True)]
            weight, height, *label = (cells[column.position] for column in self.columns)
            numbers = np.array([[*map(float, weight)], [*map(float, height)]])
            y = [[_TARGETS[cell.strip().lower()] for cell in one] for one in label]
        except (ValueError, LookupError):
            return None
        lowest, highest = np.array(self.units.limits).T[:, :, None]
        if (
            len(cells) != len(self.columns)
            or not ((lowest <= numbers) & (numbers <= highest)).all()
        ):
            return None
        return np.vstack([numbers, *y]).T


def _number_parser(lowest: float, highest: float) -> Callable[[str], float]:
    low = "above 0" if lowest > 0 else f"from {lowest:g}"
    range_error = CellError("out_of_range", f"expected a number {low} to {highest:g}")

    def parse(cell: str) -> float:
        try:
            value = float(cell)
        except ValueError:
            raise CellError("float_parsing", "expected a number") from None
        if "_" in cell or not cell.isascii():  # float() takes 1_000 and other scripts
            raise CellError("float_parsing", "expected a number")
        if not lowest <= value <= highest:
            raise range_error
        return value

    return parse


def _target(cell: str) -> float:
    target = _TARGETS.get(cell.strip().lower())
    if target is None:
        raise CellError("label", "expected F, M, Female or Male")
    return target
