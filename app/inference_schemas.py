"""The Open Inference Protocol as schemas: a request before its numbers are read.

References:
    KServe, Open Inference Protocol, REST, and Triton's binary tensor data extension.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, NotRequired

import numpy as np
from pydantic import ConfigDict, FailFast, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from app.schemas import MAX_INSTANCES
from model import OFFSETS

MODEL_NAME: Final = "offsetnet"
INPUT: Final = "features"
OUTPUTS: Final = ("probability", "label")

DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "FP64": np.dtype("<f8"),
    "FP32": np.dtype("<f4"),
    **{f"INT{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
}
WIDTH: Final = len(OFFSETS.columns)
STRICT: Final = ConfigDict(strict=True)  # in numbers; what is not known is passed over


@with_config(STRICT)
class InferenceInputParameters(TypedDict):
    """How a tensor is sent; what else stands here is passed over."""

    binary_data_size: NotRequired[Annotated[int, Field(ge=0)]]
    shared_memory_region: NotRequired[str]


@with_config(STRICT)
class InferenceInput(TypedDict):
    """A tensor of people: their weight less 135 lb, their height less 66 in."""

    name: Annotated[str, Field(json_schema_extra={"const": INPUT})]
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=8), FailFast()]
    datatype: Annotated[str, Field(json_schema_extra={"enum": [*DTYPES]})]
    parameters: NotRequired[InferenceInputParameters]
    data: NotRequired[
        Annotated[list[Any] | None, Field(max_length=WIDTH * MAX_INSTANCES)]
    ]  # KServe's client says null for no people as bytes


@with_config(STRICT)
class InferenceOutputParameters(TypedDict):
    """How a tensor is wanted."""

    binary_data: NotRequired[bool]
    classification: NotRequired[int]
    shared_memory_region: NotRequired[str]


@with_config(STRICT)
class InferenceOutput(TypedDict):
    """A tensor that is wanted; all are where none is named."""

    name: Annotated[str, Field(json_schema_extra={"enum": [*OUTPUTS]})]
    parameters: NotRequired[InferenceOutputParameters]


@with_config(STRICT)
class InferenceRequest(TypedDict):
    """What to predict, and what of it is wanted."""

    id: NotRequired[str | None]
    inputs: Annotated[list[InferenceInput], Field(min_length=1, max_length=1)]
    outputs: NotRequired[
        Annotated[list[InferenceOutput] | None, Field(max_length=len(OUTPUTS))]
    ]
    parameters: NotRequired[dict[str, Any] | None]


@with_config(STRICT)
class V1Request(TypedDict):
    """Rows of two offsets, or objects in one of the three shapes."""

    instances: Annotated[list[Any], Field(min_length=1, max_length=MAX_INSTANCES)]


REQUEST_V1: Final = TypeAdapter[V1Request](V1Request)
REQUEST: Final = TypeAdapter[InferenceRequest](InferenceRequest)
