"""People from CSV, read slice by slice.

The header names one of the three pairs of columns of `data.ALL_UNITS` and, where
people are labelled, `label`, in any order.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

import numpy as np

from model.csv_columns import (
    MAX_LINE_BYTES,
    CellError,
    Column,
    CsvEncodingError,
    CsvError,
    Head,
    RowError,
)
from model.data import Dataset, Units
from model.network import Floats

MAX_ERRORS: Final = 20

_QUOTES: Final = "a quote is not closed in its line, or stands inside a cell"


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

    def to_dataset(self) -> Dataset:
        """Return the labelled people."""
        return Dataset(X=self.units.to_offsets(self.values), y=self.y)


class CsvReader:
    """Takes the bytes of a CSV as they come and gives the people at the end."""

    def __init__(self, *, labelled: bool, max_rows: int) -> None:
        """Expect a `label` column or none, and at most so many rows."""
        self._labelled = labelled
        self._max_rows = max_rows
        self._head: Head | None = None
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
        if self._head is None:
            first, newline, content = content.partition(b"\n")
            self._head = Head.parse(self._decode(first), labelled=self._labelled)
            self._line = 1
            if not newline:
                return
        plain = self._head.read_plain(content)
        if plain is None or self._rows + len(plain) > self._max_rows:
            self._slices.append(self._read_lines(content, self._head.columns))
            return
        self._slices.append(plain)
        self._rows += len(plain)
        self._line += len(plain)

    def _read_lines(self, content: bytes, columns: tuple[Column, ...]) -> Floats:
        """Read line by line, noting what is wrong where."""
        lines = map(self._decode, content.split(b"\n"))
        values = [self._read_row(row, columns) for row in self._rows_of(lines) if row]
        return np.array(values).reshape(-1, len(columns))

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

    def _read_row(self, row: list[str], columns: tuple[Column, ...]) -> list[float]:
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
            except CellError as error:
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
