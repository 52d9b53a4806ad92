"""The routes of the Open Inference Protocol, version 2, and of version 1's predict.

They serve one model, by its name, on the path of every other prediction. Errors are
`{"error": ...}` here, which these protocols' clients read.
"""

import time
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json, to_json
from sqlalchemy.exc import SQLAlchemyError

from app import __version__, bodies, inference_protocol
from app.bodies import Json, RawRequest
from app.inference_protocol import (
    InferenceError,
    UnknownModelError,
    UnsupportedError,
)
from app.inference_schemas import INPUT, MODEL_NAME, OUTPUTS
from app.prediction import answers
from app.registry import ServedModel
from app.routing import AdminRoute, OpenRoute, PredictRoute, pinned, service_of
from app.schemas import plain_number
from app.store import StoreError
from model import OFFSETS, predict_proba

_LENGTH: Final = b"inference-header-content-length"
_MODEL: Final = "/v2/models/{name}"
_VERSION: Final = _MODEL + "/versions/{version}"

_ALIAS: Final[Any] = {"include_in_schema": False}  # of a route that stands there


def _name(route: APIRoute) -> str:
    """Return the operation's id: the protocol's version and the endpoint's name."""
    name = route.name.removesuffix("_v1")
    of_version = "_of_version" if "{version}" in route.path else ""
    return f"{route.path[1:3]}_{name}{of_version}"


_router = partial(APIRouter, generate_unique_id_function=_name)
public = _router(route_class=OpenRoute)
predicting = _router(route_class=PredictRoute)
admin = _router(route_class=AdminRoute)


@predicting.post(_MODEL + "/infer")
@predicting.post(_VERSION + "/infer")
@predicting.post(f"/v2/models/{MODEL_NAME}/infer", **_ALIAS)  # found sooner
async def infer(request: RawRequest) -> Response:
    """Predict people that are sent as a tensor."""
    bodies.refuse_coding(request)
    body = await bodies.read(request, bodies.MAX_JSON_BYTES)
    model, count = await _model(request), service_of(request).statistics
    json_length = request.scope["state"]["headers"].get(_LENGTH)
    started = time.perf_counter_ns()
    try:
        wanted = inference_protocol.read(body, json_length)
    except (InferenceError, UnsupportedError):
        count.fail(model.version, time.perf_counter_ns() - started)
        raise
    P = predict_proba(model.artifact.params, wanted.X)
    service_of(request).metrics.count_predictions(P)
    content, length = inference_protocol.write(wanted, model.version, P)
    count.succeed(model.version, len(P), time.perf_counter_ns() - started)
    if length is None:
        return Json(content)
    headers = {"Inference-Header-Content-Length": str(length)}
    return Response(content, headers=headers, media_type="application/octet-stream")


@public.get("/v2")
@public.get("/v2/", **_ALIAS)
async def describe_server(request: RawRequest) -> Response:
    """Describe the server."""
    del request
    return _json(
        {
            "name": MODEL_NAME,
            "version": __version__,
            "extensions": [
                "binary_tensor_data",
                "model_configuration",
                "model_repository",
                "statistics",
            ],
        }
    )


@public.get("/v2/health/live")
async def is_live(request: RawRequest) -> Response:
    """Tell that the event loop turns."""
    del request
    return _json({"live": True})


@public.get("/v2/health/ready")
async def is_ready(request: RawRequest) -> Response:
    """Tell whether a verified version is loaded and the process goes on."""
    if _is_ready(request):
        return _json({"ready": True, "live": True})
    request_id = request.scope["state"]["request_id"].decode()
    answer = {"ready": False, "live": True, "error": "not ready"}
    more = {"code": "not-ready", "request_id": request_id}
    return Json(to_json(answer | more), 503, [(b"retry-after", b"1")])


@public.get(_MODEL + "/ready")
@predicting.get(_VERSION + "/ready")
async def is_model_ready(request: RawRequest) -> Response:
    """Tell whether the model, or a version of it, answers."""
    await _model(request)
    service_of(request).drain.refuse_if_begun()
    return _json({"name": MODEL_NAME, "ready": True})


@predicting.get("/v2/models")
async def list_models(request: RawRequest) -> Response:
    """List the one model."""
    del request
    return _json({"models": [MODEL_NAME]})


@predicting.get("/v2/models/stats", **_ALIAS)
@predicting.get(_MODEL + "/stats")
@predicting.get(_VERSION + "/stats")
async def show_statistics(request: RawRequest) -> Response:
    """Count this process's inferences, by the version that answered."""
    model, statistics = await _model(request), service_of(request).statistics
    is_one = "version" in request.path_params
    versions = [model.version] if is_one else statistics.versions | {model.version}
    counts = [statistics.describe(version) for version in sorted(versions)]
    return _json({"model_stats": [{"name": MODEL_NAME, **one} for one in counts]})


@predicting.get(_MODEL)
@predicting.get(_VERSION)
async def describe_model(request: RawRequest) -> Response:
    """Describe the model's tensors and versions."""
    model = await _model(request)
    try:
        stored = await _stored(request)
    except (SQLAlchemyError, StoreError):  # predicting goes on without the database
        stored = [model.version]
    return _json(
        {
            "name": MODEL_NAME,
            "versions": [str(version) for version in reversed(stored)],
            "platform": "numpy_safetensors",
            "inputs": [{"name": INPUT, "datatype": "FP64", "shape": [-1, 2]}],
            "outputs": [
                {"name": "probability", "datatype": "FP64", "shape": [-1, 1]},
                {"name": "label", "datatype": "BYTES", "shape": [-1]},
            ],
            "properties": {
                "columns": ",".join(OFFSETS.columns),
                "weights_sha256": model.sha256,
            },
        }
    )


@predicting.get(_MODEL + "/config")
@predicting.get(_VERSION + "/config")
async def show_configuration(request: RawRequest) -> Response:
    """Show the model's configuration, in Triton's words."""
    await _model(request)
    probability, label = OUTPUTS
    return _json(
        {
            "name": MODEL_NAME,
            "platform": "numpy_safetensors",
            "max_batch_size": 0,
            "input": [{"name": INPUT, "data_type": "TYPE_FP64", "dims": [-1, 2]}],
            "output": [
                {"name": probability, "data_type": "TYPE_FP64", "dims": [-1, 1]},
                {"name": label, "data_type": "TYPE_STRING", "dims": [-1]},
            ],
        }
    )


@predicting.post("/v2/repository/index")
async def index_repository(request: RawRequest) -> Response:
    """List the versions; `{"ready": true}` leaves the one that serves."""
    asked = await _optional_object(request)
    served = service_of(request).registry.served
    index = [
        {
            "name": MODEL_NAME,
            "version": str(version),
            "state": "READY" if is_served else "UNAVAILABLE",
            "reason": "" if is_served else "not active",
        }
        for version in await _stored(request)
        if (is_served := served is not None and version == served.version)
        or asked.get("ready") is not True
    ]
    return _json(index)


@admin.post("/v2/repository/models/{name}/load")
async def load_model(request: RawRequest) -> Response:
    """Read the active version once more, and verify it."""
    _check_names(request)
    await _optional_object(request)
    service = service_of(request)
    await service.reads.ask(service.registry.reload)
    return _json({})


@admin.post("/v2/repository/models/{name}/unload")
async def unload_model(request: RawRequest) -> Response:
    """Refuse: something always serves."""
    _check_names(request)
    raise UnsupportedError("unload is not supported")


@predicting.get("/v1/models")
async def list_models_v1(request: RawRequest) -> Response:
    """List the one model."""
    del request
    return _json({"models": [MODEL_NAME]})


@public.get(f"/v1/models/{MODEL_NAME}")
async def is_model_ready_v1(request: RawRequest) -> Response:
    """Tell whether the model answers."""
    return await is_model_ready(request)


@predicting.post("/v1/models/{name}:predict")
@predicting.post(f"/v1/models/{MODEL_NAME}:predict", **_ALIAS)
async def predict_v1(request: RawRequest) -> Response:
    """Predict people that are rows of two numbers, or objects of any shape."""
    bodies.refuse_coding(request)
    body = await bodies.read(request, bodies.MAX_JSON_BYTES)
    model = await _model(request)
    X = inference_protocol.read_v1(body)
    metrics = service_of(request).metrics
    return _json({"predictions": answers(model.artifact, X, metrics)})


ROUTES: Final = [
    route for router in (public, predicting, admin) for route in router.routes
]


def _json(content: Any, status_code: int = 200) -> Response:
    return Json(to_json(content), status_code)


def _is_ready(request: RawRequest) -> bool:
    service = service_of(request)
    return service.registry.served is not None and not service.drain.has_begun


def _check_names(request: RawRequest) -> int | None:
    """Return the version that the path names, if it names one.

    Raises:
        UnknownModelError: The path names another model.
    """
    names = request.path_params
    if names.get("name", MODEL_NAME) != MODEL_NAME:
        raise UnknownModelError(f"there is one model here, {MODEL_NAME}")
    return int(plain_number(names["version"])) if "version" in names else None


async def _model(request: RawRequest) -> ServedModel:
    """Return the version that the path names, else the one that serves."""
    version = _check_names(request)
    active = service_of(request).registry.active
    return active if version is None else await pinned(request, version, active)


async def _stored(request: RawRequest) -> list[int]:
    """Return the number of each version, newest first."""
    service = service_of(request)
    known, _ = await service.reads.ask(service.versions.describe_all)
    return [row["version"] for row in known]


async def _optional_object(request: RawRequest) -> dict[str, Any]:
    """Read a body that may be empty or a JSON object."""
    bodies.refuse_coding(request)
    body = await bodies.read(request, bodies.MAX_JSON_BYTES)
    try:
        found = from_json(body or b"{}", allow_inf_nan=False)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InferenceError("expected a JSON object, or nothing")
    return found
