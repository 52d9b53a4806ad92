"""The routes of the inference protocol's version 1."""

from fastapi import Response

from app import bodies, inference_protocol
from app.bodies import RawRequest
from app.inference_endpoints import ALIAS, model_of, router, tell_ready, to_answer
from app.inference_schemas import MODEL_NAME
from app.prediction import answers
from app.routing import OpenRoute, PredictRoute, service_of

public = router(route_class=OpenRoute)
predicting = router(route_class=PredictRoute)


@predicting.get("/v1/models")
async def list_models_v1(request: RawRequest) -> Response:
    """List the one model."""
    del request
    return to_answer({"models": [MODEL_NAME]})


@public.get(f"/v1/models/{MODEL_NAME}")
async def is_model_ready_v1(request: RawRequest) -> Response:
    """Tell whether the model answers."""
    return await tell_ready(request)


@predicting.post("/v1/models/{name}:predict")
@predicting.post(f"/v1/models/{MODEL_NAME}:predict", **ALIAS)
async def predict_v1(request: RawRequest) -> Response:
    """Predict people that are rows of two numbers, or objects of any shape."""
    bodies.refuse_coding(request)
    body = await bodies.read(request, bodies.MAX_JSON_BYTES)
    model = await model_of(request)
    X = inference_protocol.read_v1(body)
    metrics = service_of(request).metrics
    return to_answer({"predictions": answers(model.artifact, X, metrics)})
