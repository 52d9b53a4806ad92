"""The numbers of a tensor: read from bytes or JSON, and held within their bounds."""

from math import prod
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import FailFast, Field, TypeAdapter, ValidationError

from app.inference_errors import InferenceError
from app.inference_schemas import DTYPES, INPUT, STRICT, WIDTH
from model import OFFSETS, Floats

_Number = Annotated[float, Field(allow_inf_nan=False)]
_NUMBERS: Final = TypeAdapter(Annotated[list[_Number], FailFast()], config=STRICT)
_Row = Annotated[list[_Number], Field(max_length=WIDTH), FailFast()]
_ROWS: Final = TypeAdapter(Annotated[list[_Row], FailFast()], config=STRICT)


def from_bytes(content: bytes, shape: list[int], dtype: np.dtype[Any]) -> Floats:
    """Read numbers that are the whole content."""
    expected = prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise InferenceError(
            f"{INPUT}: expected {expected} bytes for shape {shape}, got {len(content)}"
        )
    with np.errstate(invalid="ignore"):  # a NaN that signals; refused as any other
        return np.frombuffer(content, dtype).astype(np.float64).reshape(shape)


def from_json(
    data: list[Any],
    shape: list[int],
    dtype: np.dtype[Any] = DTYPES["FP64"],
    name: str = INPUT,
) -> Floats:
    """Read numbers that are flat or in rows."""
    try:
        if data and isinstance(data[0], list):
            rows = _ROWS.validate_python(data)
            if [len(rows), *{len(row) for row in rows}] != shape:
                raise InferenceError(f"{name}: data is not of the shape {shape}")
            X = np.array(rows)
        else:
            numbers = _NUMBERS.validate_python(data)
            if len(numbers) != prod(shape):
                raise InferenceError(
                    f"{name}: expected {prod(shape)} numbers for shape {shape}, "
                    f"got {len(numbers)}"
                )
            X = np.array(numbers, np.float64).reshape(shape)
    except ValidationError as error:
        raise InferenceError(f"{name}: data, {first_fault(error)}") from None
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not ((limits.min <= X) & (limits.max >= X) & (np.floor(X) == X)).all():
            raise InferenceError(f"{name}: data is not of the datatype")
    return X


def bounded(X: Floats, name: str = INPUT) -> Floats:
    """Return the people, unless one is out of bounds or not finite."""
    lowest, highest = np.array(OFFSETS.limits).T
    is_inside: NDArray[np.bool_] = (lowest <= X) & (highest >= X)
    if not is_inside.all():
        row, column = np.argwhere(~is_inside)[0].tolist()
        low, high = OFFSETS.limits[column]
        raise InferenceError(
            f"{name}[{row}][{column}]: expected a number from {low:g} to {high:g}"
        )
    return X + 0.0  # no -0


def first_fault(error: ValidationError) -> str:
    """Say what the first fault is, and where."""
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, fault["loc"]))
    return f"{place}: {fault['msg']}" if place else fault["msg"]
