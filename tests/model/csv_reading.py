"""How the tests read a CSV: what comes out, or which faults."""

import pytest

from model import CsvError, CsvReader, Table

HEADER = b"weight_lb,height_in,label\n"


def read(*chunks: bytes, labelled: bool = True, max_rows: int = 1_000) -> Table:
    """Read a CSV that comes in these chunks."""
    reader = CsvReader(labelled=labelled, max_rows=max_rows)
    for chunk in chunks:
        reader.feed(chunk)
    return reader.finish()


def faults(*chunks: bytes, max_rows: int = 1_000) -> list[tuple[int, str | None, str]]:
    """Return row, column and code of each fault of a CSV."""
    with pytest.raises(CsvError) as caught:
        read(*chunks, max_rows=max_rows)
    return [(error.row, error.column, error.code) for error in caught.value.errors]


def outcome(*chunks: bytes) -> object:
    """Return the people or the faults, whichever comes out."""
    try:
        table = read(*chunks)
    except CsvError as error:
        return error.errors
    return table.header, table.values.tolist(), table.y.tolist()
