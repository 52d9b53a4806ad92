"""What schemathesis, which loads this, must know of CSV: people, well written."""

import schemathesis
from hypothesis import strategies as st

from model import OFFSETS

_HEADER = ",".join(OFFSETS.columns)
_ROWS = st.lists(
    st.tuples(*(st.floats(*limits) for limits in OFFSETS.limits)),
    min_size=1,
    max_size=20,
)


def _csv(rows: list[tuple[float, ...]]) -> bytes:
    lines = (",".join(map(repr, row)) for row in rows)
    return "\n".join([_HEADER, *lines]).encode()


schemathesis.openapi.media_type("text/csv", _ROWS.map(_csv))
