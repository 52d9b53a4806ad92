"""The OpenAPI document of the standard protocols' routes."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter

from app import inference_views as views
from app.bodies import JSON_TYPE
from app.inference_examples import ANSWERS, ERRORS, REQUESTS
from app.inference_schemas import MODEL_NAME, InferenceRequest
from app.schemas import MAX_INSTANCES
from app.shapes import SHAPES
from model import OFFSETS

V2: Final = "inference v2"
V1: Final = "inference v1"
BINARY: Final = """

With the header `Inference-Header-Content-Length` the body is JSON of that length, and
behind it the numbers of the input as bytes, little endian, row by row: the input has
the parameter `binary_data_size` in place of `data`. Length 0 and 16 bytes are one
person. Each output is answered as bytes where its parameter `binary_data` says so, or
the request's parameter `binary_data_output`; then the answer is
`application/octet-stream`, has the header, too, and the bytes of the outputs stand
behind its JSON in their order. The media type of the request means nothing."""

_PARAMETERS: Final = {"name": MODEL_NAME, "version": "1"}
_REFERENCE: Final = "#/components/schemas/{model}"
_ROW: Final = {
    "type": "array",
    "prefixItems": [
        {"type": "number", "minimum": lowest, "maximum": highest}
        for lowest, highest in OFFSETS.limits
    ],
    "minItems": 2,
    "maxItems": 2,
}


class _Told(NamedTuple):
    """What is told of an operation.

    Attributes:
        answer: What describes a good answer; None where there is none.
        statuses: Of the errors that can come beside 400.
        request: What describes the request; an object of anything by default.
    """

    answer: Any
    statuses: tuple[int, ...] = ()
    request: Any = None


_INFER: Final = _Told(
    views.InferenceResponse, (401, 404, 413, 415, 501, 503), InferenceRequest
)
_READY: Final = _Told(views.InferenceModelReady, (404, 503))
_MODEL: Final = _Told(views.InferenceModel, (401, 404, 503))
_CONFIGURATION: Final = _Told(views.InferenceConfiguration, (401, 404, 503))
_STATISTICS: Final = _Told(views.InferenceStatisticsList, (401, 404, 503))
_OPERATIONS: Final = {
    "v2_infer": _INFER,
    "v2_describe_server": _Told(views.InferenceServer),
    "v2_is_live": _Told(views.InferenceLive),
    "v2_is_ready": _Told(views.InferenceReady, (503,)),
    "v2_is_model_ready": _READY,
    "v2_is_model_ready_of_version": _READY._replace(statuses=(401, 404, 503)),
    "v2_list_models": _Told(views.InferenceModels, (401,)),
    "v2_show_statistics": _STATISTICS,
    "v2_describe_model": _MODEL,
    "v2_show_configuration": _CONFIGURATION,
    "v2_index_repository": _Told(
        list[views.IndexedVersion], (401, 413, 415, 503), dict[str, Any]
    ),
    "v2_load_model": _Told(
        views.NothingMore, (401, 403, 404, 413, 415, 503), dict[str, Any]
    ),
    "v2_unload_model": _Told(None, (401, 403, 404, 501)),
    "v1_list_models": _Told(views.InferenceModels, (401,)),
    "v1_is_model_ready": _Told(views.InferenceModelReady, (503,)),
    "v1_predict": _Told(views.V1Response, (401, 404, 413, 415, 503)),
}


def complete(document: dict[str, Any]) -> None:
    """Describe the protocols' operations, and add the schemas that they refer to."""
    schemas, definitions = _schemas()
    document["components"]["schemas"] |= definitions
    for path, methods in document["paths"].items():
        if path.startswith(("/v1", "/v2")):
            for operation in methods.values():
                _complete(path, operation, schemas)


def _schemas() -> tuple[dict[tuple[str, str], Any], dict[str, Any]]:
    """Return the schemas of requests and answers, and what they refer to."""
    wanted = [
        ((name, part), TypeAdapter(kind))
        for name, told in _OPERATIONS.items()
        for part, kind in (("answer", told.answer), ("request", told.request))
        if kind is not None
    ]
    wanted.append((("error", ""), TypeAdapter(views.InferenceErrorBody)))
    wanted += [
        (("person", str(index)), shape.person) for index, shape in enumerate(SHAPES)
    ]
    references, definitions = TypeAdapter.json_schemas(
        [(key, "validation", adapter) for key, adapter in wanted],
        ref_template=_REFERENCE,
    )
    schemas = {key: schema for (key, _), schema in references.items()}
    people = [schemas["person", str(index)] for index in range(len(SHAPES))]
    schemas["v1_predict", "request"] = _instances(_ROW, *people)
    return schemas, definitions["$defs"]


def _instances(*kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of up to 1,000 people of one kind, and whatever else."""
    lists = [
        {"type": "array", "items": kind, "minItems": 1, "maxItems": MAX_INSTANCES}
        for kind in kinds
    ]
    return {
        "type": "object",
        "properties": {"instances": {"anyOf": lists}},
        "required": ["instances"],
    }


def _complete(
    path: str, operation: dict[str, Any], schemas: Mapping[tuple[str, str], Any]
) -> None:
    name = operation["operationId"].removesuffix("_of_version")
    told = _OPERATIONS.get(operation["operationId"], _OPERATIONS[name])
    operation["tags"] = [V1 if path.startswith("/v1") else V2]
    operation["parameters"] = [_parameter(one) for one in re.findall("{(.+?)}", path)]
    if name == "v2_infer":
        operation["description"] += BINARY
    if name in REQUESTS:
        examples = {key: {"value": value} for key, value in REQUESTS[name].items()}
        content = {"schema": schemas[name, "request"], "examples": examples}
        is_needed = name in {"v2_infer", "v1_predict"}
        body = {"required": is_needed, "content": {JSON_TYPE: content}}
        operation["requestBody"] = body
    operation["responses"] = {
        str(status): _error(name, status, schemas["error", ""])
        for status in _statuses(told)
    }
    if told.answer is not None:
        content = {"schema": schemas[name, "answer"], "example": ANSWERS[name]}
        good = {"description": "Done", "content": {JSON_TYPE: content}}
        operation["responses"] = {"200": good, **operation["responses"]}


def _statuses(told: _Told) -> list[int]:
    """Return the statuses of an operation's errors: who may send a key may err."""
    wrong_keys = {429} if HTTPStatus.UNAUTHORIZED in told.statuses else set()
    return sorted({400, *told.statuses} | wrong_keys)


def _parameter(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "example": _PARAMETERS[name],
    }


def _error(name: str, status: int, schema: Mapping[str, Any]) -> dict[str, Any]:
    title, example = ERRORS.get(f"{name} {status}", ERRORS[str(status)])
    content = {"schema": schema, "example": example}
    return {"description": title, "content": {JSON_TYPE: content}}
