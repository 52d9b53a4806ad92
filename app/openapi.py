"""The OpenAPI document of what FastAPI does not see: bodies read as bytes.

Their schemas come from the same readers that validate them, their examples work as
pasted.
"""

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter

from app.bodies import CSV_TYPE, EVENT_STREAM, JSON_TYPE, TEXT_TYPE
from app.examples import ANSWERS, BATCH_CSV, EVENTS, METRICS, PROBLEM
from app.job_words import FINAL
from app.lazily import lazily
from app.schemas import Activation, PinQuery, PredictQuery, TrainQuery
from app.shapes import SHAPES
from app.views import ProblemBody

if TYPE_CHECKING:
    from app import inference_openapi
else:
    inference_openapi = lazily("app.inference_openapi")

DESCRIPTION: Final = """\
Two numbers go in: a person's weight as an offset from 135 lb and height as an offset
from 66 in. One comes out: the probability of label `F`. The network behind it retrains
in the background while it goes on answering.

Numbers are strict, unknown keys are refused, and of a key that stands twice the last
wins. Every error is `application/problem+json`, and in the standard
protocols below `/v1` and `/v2` what their clients read, `{"error": "..."}`.
"""

_PEOPLE: Final[dict[str, dict[str, Any]]] = {
    "offsets": {"weight_offset": -7, "height_offset": -3},
    "imperial": {"weight_lb": 128, "height_in": 63},
    "metric": {"weight_kg": 58.06, "height_cm": 160.02},
}
_FOUR: Final = [
    {"weight_offset": -2, "height_offset": -1, "label": "F"},
    {"weight_offset": 25, "height_offset": 6, "label": "M"},
    {"weight_offset": 17, "height_offset": 4, "label": "M"},
    {"weight_offset": -15, "height_offset": -6, "label": "F"},
]
_TRAIN_EXAMPLES: Final = {
    "article": {},
    "examples": {"examples": _FOUR, "config": {"epochs": 200}, "note": "four people"},
}
_BATCH_CSV: Final = "weight_lb,height_in\n128,63\n155,68\n"
_TRAIN_CSV: Final = (
    "weight_lb,height_in,label\n133,65,F\n160,72,M\n152,70,M\n120,60,F\n"
)
_PARAMETERS: Final = {"job_id": 1, "version": 1, "slug": "invalid", "If-Match": "*"}
_SCHEMA_KEYS: Final = {
    "type",
    "enum",
    "anyOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "maxLength",
}
_MAKING: Final = Lock()  # a lazy module is half a one to a second thread
_KINDS: Final = ("person", "batch", "train")
_REFERENCE: Final = "#/components/schemas/{model}"
_KEY_PATTERN: Final = '^("[ -~]{1,255}"|[!#-~]([ -~]{0,253}[!#-~])?)$'
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "makes a repeated request the same job; kept as long as it, 24 h at "
    "least",
    "required": False,
    "schema": {"type": "string", "pattern": _KEY_PATTERN},
}
_IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "description": "ETag of the active version that was seen, or * for any",
    "required": True,
    "schema": {"type": "string"},
}
_EVENT: Final = {
    "type": "object",
    "properties": {
        "event": {"enum": [*FINAL, "progress", "draining"]},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": JSON_TYPE},
    },
    "required": ["event", "data"],
}
_SHOWN: Final[dict[str, dict[str, Any]]] = {
    CSV_TYPE: {"example": BATCH_CSV},
    EVENT_STREAM: {"itemSchema": _EVENT, "example": EVENTS},
    TEXT_TYPE: {"example": METRICS},
}
_PROBLEM: Final = {
    "description": "A problem",
    "content": {
        "application/problem+json": {
            "schema": {"$ref": "#/components/schemas/ProblemBody"},
            "example": PROBLEM,
        }
    },
}


def _schemas() -> tuple[dict[tuple[str, int], Any], dict[str, Any]]:
    """Return the schema of each reader, by kind and shape, and what they refer to."""
    references, definitions = TypeAdapter.json_schemas(
        [
            ((kind, index), "validation", getattr(shape, kind))
            for kind in _KINDS
            for index, shape in enumerate(SHAPES)
        ],
        ref_template=_REFERENCE,
    )
    _, problem = TypeAdapter.json_schemas(
        [("problem", "serialization", TypeAdapter(ProblemBody))],
        ref_template=_REFERENCE,
    )
    by_reader = {key: schema for (key, _), schema in references.items()}
    return by_reader, definitions["$defs"] | problem["$defs"]


def _json(schemas: Iterable[Any], examples: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "schema": {"anyOf": [*schemas]},
        "examples": {name: {"value": value} for name, value in examples.items()},
    }


def _csv(example: str) -> dict[str, Any]:
    return {"schema": {"type": "string"}, "example": example}


def _operation(
    query: type[BaseModel],
    content: Mapping[str, Any],
    *headers: Mapping[str, Any],
    needs_body: bool = True,
) -> dict[str, Any]:
    """Describe an endpoint that reads its own body, query and headers."""
    schema = query.model_json_schema()
    parameters = [
        {
            "name": name,
            "in": "query",
            "description": described["description"],
            # without the default, which the page would fill in and send
            "schema": {k: v for k, v in described.items() if k in _SCHEMA_KEYS},
        }
        for name, described in schema.get("properties", {}).items()
    ]
    body = {"required": needs_body, "content": content}
    return {"parameters": [*parameters, *headers], "requestBody": body}


def _requests(readers: Mapping[tuple[str, int], Any]) -> dict[str, dict[str, Any]]:
    """Describe what the direct endpoints read, by operation."""
    person, batch, train = (
        [readers[kind, index] for index in range(len(SHAPES))] for kind in _KINDS
    )
    two = {"offsets": {"instances": [_PEOPLE["offsets"]] * 2}}
    schema = Activation.model_json_schema()
    activation = {"schema": schema, "example": {"version": 1}}
    return {
        "predict": _operation(PredictQuery, {JSON_TYPE: _json(person, _PEOPLE)}),
        "predict_batch": _operation(
            PinQuery, {JSON_TYPE: _json(batch, two), CSV_TYPE: _csv(_BATCH_CSV)}
        ),
        "train": _operation(
            TrainQuery,
            {JSON_TYPE: _json(train, _TRAIN_EXAMPLES), CSV_TYPE: _csv(_TRAIN_CSV)},
            _IDEMPOTENCY_KEY,
            needs_body=False,
        ),
        "activate_model": {
            "parameters": [_IF_MATCH],
            "requestBody": {"required": True, "content": {JSON_TYPE: activation}},
        },
    }


def document(app: FastAPI) -> dict[str, Any]:
    """Return the app's OpenAPI document, made once, whoever asks meanwhile."""
    with _MAKING:
        if app.openapi_schema is None:
            app.openapi_schema = _made(app)
        return app.openapi_schema


def _made(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        routes=app.routes,
        license_info=app.license_info,
    )
    readers, definitions = _schemas()
    requests, schemas = _requests(readers), schema["components"]["schemas"]
    schemas |= definitions
    del schemas["HTTPValidationError"], schemas["ValidationError"]
    schema["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer"}
    }
    schema["security"] = [{}, {"key": []}]  # whether one is needed is a setting
    for methods in schema["paths"].values():
        for operation in methods.values():
            operation.update(requests.get(operation["operationId"], {}))
            _complete(operation)
    inference_openapi.complete(schema)
    return schema


def _complete(operation: dict[str, Any]) -> None:
    """Give an operation its examples, and problems for FastAPI's errors."""
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in _PARAMETERS:
            parameter["example"] = _PARAMETERS[parameter["name"]]
    responses = operation["responses"]
    responses.pop("422", None)
    responses["default"] = _PROBLEM
    for status in responses.keys() & {"200", "202"}:
        name = operation["operationId"]
        example = ANSWERS.get(f"{name} {status}", ANSWERS.get(name))
        content = responses[status]["content"]
        if example is not None:
            content[JSON_TYPE]["example"] = example
        for media_type in _SHOWN.keys() & content.keys():
            content[media_type] |= _SHOWN[media_type]
