"""The Open Inference Protocol, version 2: from bytes to people, and back.

Media types mean nothing here, since clients send whatever they like: a request whose
header gives the length of its JSON carries tensors as bytes behind it, every other is
JSON alone.

References:
    KServe, Open Inference Protocol, REST, and Triton's binary tensor data extension.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError
from pydantic_core import to_json

from app.inference_errors import InferenceError, UnsupportedError
from app.inference_numbers import bounded, first_fault, from_bytes, from_json
from app.inference_schemas import (
    DTYPES,
    INPUT,
    MODEL_NAME,
    OUTPUTS,
    REQUEST,
    REQUEST_V1,
    WIDTH,
    InferenceInput,
    InferenceOutput,
)
from app.schemas import MAX_INSTANCES
from app.shapes import shape_of
from model import LABEL_THRESHOLD, LABELS, Floats


class Inference(NamedTuple):
    """What a request asks for.

    Attributes:
        X: Offsets, shape (N, 2).
        outputs: Names of the outputs, each with whether it is wanted as bytes.
        id: Of the caller, None where none was given.
    """

    X: Floats
    outputs: Sequence[tuple[str, bool]]
    id: str | None


def read(body: bytes, json_length: bytes | None) -> Inference:
    """Read a request.

    Args:
        body: The whole of it.
        json_length: The header Inference-Header-Content-Length; None where there is
            none, and the body is JSON alone.

    Raises:
        InferenceError: It breaks the protocol, or the numbers their bounds.
        UnsupportedError: It asks for what is not served.
    """
    length = len(body) if json_length is None else _length(json_length, len(body))
    if length == 0 and json_length is not None:  # one person, and nothing else
        X = from_bytes(body, [1, WIDTH], np.dtype("<f8"))
        return Inference(bounded(X), [(name, True) for name in OUTPUTS], None)
    try:
        request = REQUEST.validate_json(body[:length])
    except ValidationError as error:
        raise InferenceError(first_fault(error)) from None
    parameters = request.get("parameters") or {}
    _refuse_unsupported(parameters)
    X = _read_input(request["inputs"], body[length:])
    outputs = [*_outputs(request.get("outputs"), parameters)]
    return Inference(bounded(X), outputs, request.get("id"))


def read_v1(body: bytes) -> Floats:
    """Return the people of a request of version 1 as offsets, shape (N, 2).

    Each is a row of two offsets, or all are objects in one of the three shapes.

    Raises:
        ValidationError, InferenceError: The body is not such a request.
    """
    instances = REQUEST_V1.validate_json(body)["instances"]
    if isinstance(instances[0], list):
        shape = [len(instances), WIDTH]
        return bounded(from_json(instances, shape, name="instances"), "instances")
    written = shape_of(to_json(instances[0]))
    people = written.batch.validate_python({"instances": instances})["instances"]
    return written.units.offsets_of_all(people)


def write(inference: Inference, version: int, P: Floats) -> tuple[bytes, int | None]:
    """Write the answer for probabilities P (N,).

    Returns:
        The body, and the length of its JSON where bytes follow, else None.
    """
    tensors, tail = [], b""
    for name, is_binary in inference.outputs:
        tensor, raw = _tensor(name, P)
        if is_binary:
            del tensor["data"]
            tensor["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        tensors.append(tensor)
    head = {"model_name": MODEL_NAME, "model_version": str(version)}
    named = {} if inference.id is None else {"id": inference.id}
    content = to_json({**head, **named, "outputs": tensors})
    has_tail = any(is_binary for _, is_binary in inference.outputs)
    return content + tail, len(content) if has_tail else None


def _tensor(name: str, P: Floats) -> tuple[dict[str, Any], bytes]:
    """Return an output as JSON, and as bytes."""
    if name == "probability":
        tensor = {"name": name, "shape": [len(P), 1], "datatype": "FP64"}
        return {**tensor, "data": P.tolist()}, P.astype("<f8").tobytes()
    labels = [LABELS[p >= LABEL_THRESHOLD] for p in P.tolist()]
    raw = b"".join(len(one).to_bytes(4, "little") + one.encode() for one in labels)
    tensor = {"name": name, "shape": [len(P)], "datatype": "BYTES"}
    return {**tensor, "data": labels}, raw


def _length(given: bytes, size: int) -> int:
    length = int(given.lstrip(b"0")[:20] or b"0") if given.isdigit() else -1
    if not 0 <= length <= size:
        shown = given[:20].decode("ascii", "replace")
        raise InferenceError(
            f"inference header size should be in range (0, {size}), got: {shown}"
        )
    return length


def _refuse_unsupported(parameters: Mapping[str, Any]) -> None:
    if parameters.get("sequence_id"):
        raise UnsupportedError("sequences are not supported")
    if any(name.startswith("triton_") for name in parameters):
        raise InferenceError("parameters that start with triton_ are reserved")


def _read_input(inputs: Sequence[InferenceInput], tail: bytes) -> Floats:
    """Return the one input's numbers, shape (N, 2), from its JSON or the tail."""
    (tensor,) = inputs
    shape, dtype = tensor["shape"], DTYPES.get(tensor["datatype"])
    if tensor["name"] != INPUT:
        raise InferenceError(f"expected the input {INPUT}")
    if "shared_memory_region" in tensor.get("parameters", {}):
        raise UnsupportedError("shared memory is not supported")
    if dtype is None:
        raise InferenceError(f"{INPUT}: expected a datatype of {', '.join(DTYPES)}")
    if shape[1:] != [WIDTH] or shape[0] > MAX_INSTANCES:
        raise InferenceError(
            f"{INPUT}: expected the shape [N, {WIDTH}] with N up to {MAX_INSTANCES}, "
            f"got {shape}"[:200]
        )
    data = _data_of(tensor, len(tail))
    if data is None:
        return from_bytes(tail, shape, dtype)
    return from_json(data, shape, dtype)


def _data_of(tensor: InferenceInput, tail_size: int) -> list[Any] | None:
    """Return an input's numbers in JSON, None where they are the tail, all of it."""
    data = tensor.get("data")
    size = tensor.get("parameters", {}).get("binary_data_size")
    if (data is None) == (size is None):
        raise InferenceError(f"{INPUT}: expected either data or binary_data_size")
    missing = (size or 0) - tail_size
    if missing > 0:
        raise InferenceError(f"{INPUT}: expecting {missing} additional bytes")
    if missing < 0:
        raise InferenceError(f"unexpected additional input data: {-missing} bytes")
    return data


def _outputs(
    wanted: Sequence[InferenceOutput] | None, parameters: Mapping[str, Any]
) -> Iterator[tuple[str, bool]]:
    """Yield each output that is asked for, all where none is named."""
    default, seen = parameters.get("binary_data_output") is True, set[str]()
    for output in wanted or [InferenceOutput(name=name) for name in OUTPUTS]:
        given = output.get("parameters", {})
        if output["name"] not in set(OUTPUTS) - seen:
            raise InferenceError(f"expected outputs among {', '.join(OUTPUTS)}, once")
        seen.add(output["name"])
        if given.get("classification") or "shared_memory_region" in given:
            raise UnsupportedError("classification and shared memory are not supported")
        yield output["name"], given.get("binary_data", default)
