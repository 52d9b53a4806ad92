"""People from CSV, read slice by slice.

The header names one of the three pairs of columns of `data.ALL_UNITS` and, where
people are labelled, `label`, in any order.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn, Self

import numpy as np

from model.data import ALL_UNITS, Dataset, Units
from model.network import Floats

MAX_ERRORS: Final = 20
MAX_LINE_BYTES: Final = 4_096

_QUOTES: Final = "a quote is not closed in its line, or stands inside a cell"
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


@dataclass(frozen=True, kw_only=True)
class Table:
    """The people of a whole CSV.

    Attributes:
        header: The column names as they came.
        units: What the two number columns are written in.
        values: The numbers in those units, shape (N, 2).
        y: Targets, shape (N, 1); shape (N, 0) where people are not labelled.
    """

    header: tuple[str, ...]
    units: Units
    values: Floats
    y: Floats

    def to_offsets(self) -> Floats:
        """Return the people as offsets in lb and in, shape (N, 2)."""
        return self.units.to_offsets(self.values)

    def to_dataset(self) -> Dataset:
        """Return the labelled people."""
        return Dataset(X=self.to_offsets(), y=self.y)


class CsvReader:
    """Takes the bytes of a CSV as they come and gives the people at the end."""

    def __init__(self, *, labelled: bool, max_rows: int) -> None:
        """Expect a `label` column or none, and at most so many rows."""
        self._labelled = labelled
        self._max_rows = max_rows
        self._head: _Head | None = None
        self._carry = b""
        self._line = 0  # lines read so far
        self._rows = 0
        self._slices: list[Floats] = []
        self._errors: list[RowError] = []

    def feed(self, chunk: bytes) -> None:
        """Read the lines that this chunk completes.

        Raises:
            CsvError: The header is wrong, a bound is passed, or 20 faults were found.
        """
        lines, newline, self._carry = (self._carry + chunk).rpartition(b"\n")
        if newline:
            self._read(lines)
        if len(self._carry) > MAX_LINE_BYTES:
            self._decode(self._carry)

    def finish(self) -> Table:
        """Return the people.

        Raises:
            CsvError: A row has a fault, or there are no rows.
        """
        if self._carry or self._head is None:
            self._read(self._carry)
        if self._errors:
            raise CsvError(self._errors)
        if self._head is None or self._rows == 0:
            self._fail("too_short", "no rows below the header")
        values = np.concatenate(self._slices)
        return Table(
            header=self._head.header,
            units=self._head.units,
            values=values[:, :2],
            y=values[:, 2:],
        )

    def _read(self, content: bytes) -> None:
        lines = map(self._decode, content.split(b"\n"))
        if self._head is None:
            self._head = _Head.parse(next(lines), labelled=self._labelled)
            self._line = 1
        columns = self._head.columns
        values = [self._read_row(row, columns) for row in self._rows_of(lines) if row]
        self._slices.append(np.array(values).reshape(-1, len(columns)))

    def _decode(self, line: bytes) -> str:
        if len(line) > MAX_LINE_BYTES:
            self._fail("line_too_long", f"a line passes {MAX_LINE_BYTES} bytes")
        if self._line == 0 and line.startswith(b"\xef\xbb\xbf"):
            mark = RowError(1, None, "byte_order_mark", "starts with a byte order mark")
            raise CsvEncodingError([mark])
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            fault = RowError(self._line + 1, None, "not_utf8", "not UTF-8")
            raise CsvEncodingError([fault]) from error

    def _rows_of(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """Split each line into its cells, counting; a blank line has none."""
        rows = csv.reader(lines, strict=True)
        before = self._line
        try:
            for row in rows:
                if before + rows.line_num != self._line + 1:
                    self._fail("csv", _QUOTES)
                self._line += 1
                yield row
        except csv.Error:
            self._fail("csv", _QUOTES)

    def _read_row(self, row: list[str], columns: tuple["_Column", ...]) -> list[float]:
        """Return the row's numbers and note its faults; a faulty cell counts as 0."""
        self._rows += 1
        if self._rows > self._max_rows:
            self._line -= 1
            self._fail("too_long", f"more than {self._max_rows} rows")
        if len(row) != len(columns):
            self._note(None, "columns", f"expected {len(columns)} cells")
            return [0.0] * len(columns)
        values = []
        for name, position, parse in columns:
            try:
                values.append(parse(row[position]))
            except _CellError as error:
                self._note(name, *error.args)
                values.append(0.0)
        return values

    def _note(self, column: str | None, code: str, detail: str) -> None:
        """Note a fault of the row just read."""
        self._errors.append(RowError(self._line, column, code, detail))
        if len(self._errors) == MAX_ERRORS:
            raise CsvError(self._errors)

    def _fail(self, code: str, detail: str) -> NoReturn:
        """Give up at the row that comes next."""
        raise CsvError([*self._errors, RowError(self._line + 1, None, code, detail)])


class _CellError(ValueError):
    """A cell's fault: its code and detail."""


class _Column(NamedTuple):
    name: str
    position: int
    parse: Callable[[str], float]


class _Head(NamedTuple):
    """What the header says: the units, and how to read each column of a row."""

    header: tuple[str, ...]
    units: Units
    columns: tuple[_Column, ...]

    @classmethod
    def parse(cls, line: str, *, labelled: bool) -> Self:
        try:
            header = tuple(
                cell.strip() for cell in next(csv.reader([line], strict=True), [])
            )
        except csv.Error:  # an open quote, or line ends of old Macs
            header = ()
        label = ("label",) if labelled else ()
        for units in ALL_UNITS:
            names = (*units.columns, *label)
            if sorted(header) == sorted(names):
                parsers = (*(_number_parser(*limit) for limit in units.limits), _target)
                positions = map(header.index, names)
                return cls(
                    header, units, tuple(map(_Column, names, positions, parsers))
                )
        wanted = " or ".join(",".join((*units.columns, *label)) for units in ALL_UNITS)
        raise CsvError([RowError(1, None, "header", f"expected the columns {wanted}")])


def _number_parser(lowest: float, highest: float) -> Callable[[str], float]:
    low = "above 0" if lowest > 0 else f"from {lowest:g}"
    range_error = _CellError("out_of_range", f"expected a number {low} to {highest:g}")

    def parse(cell: str) -> float:
        try:
            value = float(cell)
        except ValueError:
            raise _CellError("float_parsing", "expected a number") from None
        if "_" in cell or not cell.isascii():  # float() takes 1_000 and other scripts
            raise _CellError("float_parsing", "expected a number")
        if not lowest <= value <= highest:
            raise range_error
        return value

    return parse


def _target(cell: str) -> float:
    target = _TARGETS.get(cell.strip().lower())
    if target is None:
        raise _CellError("label", "expected F, M, Female or Male")
    return target
