"""The routes of the Open Inference Protocol, version 2: predicting and readiness."""

import time
from typing import Final

from fastapi import Response
from pydantic_core import to_json

from app import __version__, bodies, inference_models, inference_protocol, inference_v1
from app.bodies import Json, RawRequest
from app.inference_endpoints import (
    ALIAS,
    MODEL,
    VERSION,
    model_of,
    router,
    tell_ready,
    to_answer,
)
from app.inference_errors import InferenceError, UnsupportedError
from app.inference_schemas import MODEL_NAME
from app.routing import OpenRoute, PredictRoute, service_of
from model import predict_proba

_LENGTH: Final = b"inference-header-content-length"

public = router(route_class=OpenRoute)
predicting = router(route_class=PredictRoute)


@predicting.post(MODEL + "/infer")
@predicting.post(VERSION + "/infer")
@predicting.post(f"/v2/models/{MODEL_NAME}/infer", **ALIAS)  # found sooner
async def infer(request: RawRequest) -> Response:
    """Predict people that are sent as a tensor."""
    bodies.refuse_coding(request)
    body = await bodies.read(request, bodies.MAX_JSON_BYTES)
    model, count = await model_of(request), service_of(request).statistics
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
@public.get("/v2/", **ALIAS)
async def describe_server(request: RawRequest) -> Response:
    """Describe the server."""
    del request
    return to_answer(
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
    return to_answer({"live": True})


@public.get("/v2/health/ready")
async def is_ready(request: RawRequest) -> Response:
    """Tell whether a verified version is loaded and the process goes on."""
    service = service_of(request)
    if service.registry.served is not None and not service.drain.has_begun:
        return to_answer({"ready": True, "live": True})
    request_id = request.scope["state"]["request_id"].decode()
    answer = {"ready": False, "live": True, "error": "not ready"}
    more = {"code": "not-ready", "request_id": request_id}
    return Json(to_json(answer | more), 503, [(b"retry-after", b"1")])


@public.get(MODEL + "/ready")
@predicting.get(VERSION + "/ready")
async def is_model_ready(request: RawRequest) -> Response:
    """Tell whether the model, or a version of it, answers."""
    return await tell_ready(request)


ROUTES: Final = [
    *public.routes,
    *inference_v1.public.routes,
    *predicting.routes,
    *inference_models.reading.routes,
    *inference_v1.predicting.routes,
    *inference_models.admin.routes,
]
