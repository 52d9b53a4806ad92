"""The routes of the Open Inference Protocol about the model and its versions."""

from typing import Any

from fastapi import Response
from pydantic_core import from_json
from sqlalchemy.exc import SQLAlchemyError

from app import bodies
from app.bodies import RawRequest
from app.inference_endpoints import (
    ALIAS,
    MODEL,
    VERSION,
    check_names,
    model_of,
    router,
    to_answer,
)
from app.inference_errors import InferenceError, UnsupportedError
from app.inference_schemas import INPUT, MODEL_NAME, OUTPUTS
from app.routing import AdminRoute, PredictRoute, service_of
from app.store import StoreError
from model import OFFSETS

reading = router(route_class=PredictRoute)
admin = router(route_class=AdminRoute)


@reading.get("/v2/models")
async def list_models(request: RawRequest) -> Response:
    """List the one model."""
    del request
    return to_answer({"models": [MODEL_NAME]})


@reading.get("/v2/models/stats", **ALIAS)
@reading.get(MODEL + "/stats")
@reading.get(VERSION + "/stats")
async def show_statistics(request: RawRequest) -> Response:
    """Count this process's inferences, by the version that answered."""
    model, statistics = await model_of(request), service_of(request).statistics
    is_one = "version" in request.path_params
    versions = [model.version] if is_one else statistics.versions | {model.version}
    counts = [statistics.describe(version) for version in sorted(versions)]
    return to_answer({"model_stats": [{"name": MODEL_NAME, **one} for one in counts]})


@reading.get(MODEL)
@reading.get(VERSION)
async def describe_model(request: RawRequest) -> Response:
    """Describe the model's tensors and versions."""
    model = await model_of(request)
    try:
        stored = await _stored(request)
    except (SQLAlchemyError, StoreError):  # predicting goes on without the database
        stored = [model.version]
    return to_answer(
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


@reading.get(MODEL + "/config")
@reading.get(VERSION + "/config")
async def show_configuration(request: RawRequest) -> Response:
    """Show the model's configuration, in Triton's words."""
    await model_of(request)
    probability, label = OUTPUTS
    return to_answer(
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


@reading.post("/v2/repository/index")
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
    return to_answer(index)


@admin.post("/v2/repository/models/{name}/load")
async def load_model(request: RawRequest) -> Response:
    """Read the active version once more, and verify it."""
    check_names(request)
    await _optional_object(request)
    service = service_of(request)
    await service.reads.ask(service.registry.reload)
    return to_answer({})


@admin.post("/v2/repository/models/{name}/unload")
async def unload_model(request: RawRequest) -> Response:
    """Refuse: something always serves."""
    check_names(request)
    raise UnsupportedError("unload is not supported")


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
