"""The routes: each takes what was validated, calls one method, and answers."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Header, Request, Response

from app import __version__, api_train, bodies, page, prediction, views
from app.bodies import RawRequest
from app.conditions import expected_generations
from app.endpoints import Number, TheService, read_query, router
from app.errors import BY_SLUG, NoPageError
from app.lazily import lazily
from app.routing import (
    ACTIVE_PATH,
    AdminModelsRoute,
    DocsRoute,
    OpenRoute,
    PredictRoute,
    pinned,
    service_of,
)
from app.schemas import Activation, PinQuery, PredictQuery

if TYPE_CHECKING:
    from app import exposition
else:
    exposition = lazily("app.exposition")

public = router(OpenRoute, "operations")
documented = router(DocsRoute, "operations")
predicting = router(PredictRoute, "predict")
reading = router(PredictRoute, "models")
admin = router(AdminModelsRoute, "models")


@predicting.post("/predict", response_model=views.Prediction)
async def predict(request: RawRequest) -> Response:
    """Predict one person's label, written in any of the three shapes."""
    query = read_query(request, PredictQuery)
    if bodies.media_type(request) == bodies.CSV_TYPE:
        raise bodies.MediaTypeError("one person is JSON; /predict/batch reads CSV")
    body = await bodies.read(request, bodies.MAX_JSON_BYTES)
    service = service_of(request)
    model = service.registry.active
    if query.model_version is not None:
        model = await pinned(request, query.model_version, model)
    answer = prediction.predict(
        model, body, service.metrics, with_explanation=query.explain
    )
    return bodies.Json(answer)


@predicting.post(
    "/predict/batch",
    response_model=views.Predictions,
    responses={200: {"content": {bodies.CSV_TYPE: {"schema": {"type": "string"}}}}},
)
async def predict_batch(request: RawRequest) -> Response:
    """Predict up to 1,000 people, from JSON or CSV, in order."""
    query = read_query(request, PinQuery)
    media_type = bodies.media_type(request)
    body = await bodies.read(request, bodies.MAX_JSON_BYTES)
    service = service_of(request)
    model = service.registry.active
    if query.model_version is not None:
        model = await pinned(request, query.model_version, model)
    if media_type == bodies.CSV_TYPE:
        answer = prediction.predict_csv(model, body, service.metrics)
        headers = {"X-Model-Version": str(model.version)}
        return Response(answer, headers=headers, media_type=bodies.CSV_TYPE)
    answer = prediction.predict_batch(model, body, service.metrics)
    return bodies.Json(answer)


@reading.get("/models")
async def list_models(service: TheService) -> views.ModelList:
    """List the versions, newest first."""
    rows, generation = await service.reads.ask(service.versions.describe_all)
    return views.ModelList(
        models=list(map(views.Model.of, rows)), generation=generation
    )


@reading.get(ACTIVE_PATH)
async def get_active_model(
    service: TheService, response: Response
) -> views.ActiveModel:
    """Show the version that serves; the ETag is the generation."""
    row, generation = await service.reads.ask(service.versions.describe_active)
    response.headers["ETag"] = f'"{generation}"'
    return views.ActiveModel.of(row)


@admin.put(ACTIVE_PATH, response_model=views.ActiveModel)
async def activate_model(request: RawRequest) -> Response:
    """Let a version serve, to roll back or forward.

    `If-Match` is the ETag of the active version that the caller has seen, or `*`.
    """
    service = service_of(request)
    expected = expected_generations(request)
    if bodies.media_type(request) != bodies.JSON_TYPE:
        raise bodies.MediaTypeError("expected application/json")
    body = await bodies.read(request, bodies.MAX_JSON_BYTES)
    number = Activation.model_validate_json(body).version
    await service.writes.ask(service.versions.activate, number, expected)
    await service.reads.ask(service.registry.refresh_or_degrade)
    row, generation = await service.reads.ask(service.versions.describe_active)
    answer = views.ActiveModel.of(row).model_dump_json().encode()
    return bodies.Json(answer, headers=[(b"etag", f'"{generation}"'.encode())])


@admin.delete("/models/{version}", status_code=204)
async def delete_model(service: TheService, version: Number) -> None:
    """Remove a version for good; not the active one, nor the one shipped."""
    await service.writes.ask(service.versions.delete, version)


@reading.get("/models/{version}")
async def get_model(service: TheService, version: Number) -> views.Model:
    """Show one version."""
    return views.Model.of(await service.reads.ask(service.versions.describe, version))


@reading.get(
    "/models/{version}/weights",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
async def get_weights(service: TheService, version: Number) -> Response:
    """Download a version as safetensors; the ETag is its SHA-256."""
    content, sha256 = await service.reads.ask(service.versions.weights, version)
    name = f"offsetnet-{version}.safetensors"
    headers = {
        "ETag": f'"{sha256}"',
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    return Response(content, headers=headers, media_type="application/octet-stream")


@public.get("/livez", response_model=views.Live)
async def livez(request: RawRequest) -> Response:
    """Tell that the event loop turns."""
    del request
    return bodies.Json(b'{"live":true}')


@public.get("/readyz", response_model=views.Ready)
async def readyz(request: RawRequest) -> Response:
    """Tell whether a verified version is loaded, and whether the store answers."""
    service = service_of(request)
    service.drain.refuse_if_begun()
    _ = service.registry.active
    answer = views.Ready(ready=True, degraded=service.registry.is_degraded)
    return bodies.Json(answer.model_dump_json().encode())


@documented.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {bodies.TEXT_TYPE: {"schema": {"type": "string"}}}}},
)
async def show_metrics(request: RawRequest) -> Response:
    """Show the metrics of all processes of this server, for Prometheus."""
    service = service_of(request)
    accept = request.scope["state"]["headers"].get(b"accept", b"").decode("latin-1")
    registry = service.registry
    async with service.exposing:
        stored = await exposition.look(registry, service.job_statistics, service.reads)
        content, media_type = await asyncio.to_thread(
            exposition.expose, service.metrics, registry, stored, accept
        )
    return Response(content, headers={"Content-Type": media_type, "Vary": "Accept"})


@public.get("/version")
async def version(service: TheService) -> views.Version:
    """Tell which program answers, with which version of the network."""
    served = service.registry.served
    return views.Version(
        version=__version__, model_version=served.version if served else None
    )


@public.get(
    "/",
    response_model=views.Index,
    responses={200: {"content": {page.HTML_TYPE: {"schema": {"type": "string"}}}}},
)
async def index(
    request: Request, accept: Annotated[str, Header(include_in_schema=False)] = ""
) -> Response:
    """Tell what is here; a browser gets the page to try it on."""
    content = views.Index().model_dump_json().encode()
    return page.home(accept, content, request.scope)


@public.get("/problems/{slug}")
async def problem(slug: str) -> views.ProblemKind:
    """Explain a kind of problem."""
    if slug not in BY_SLUG:
        raise NoPageError("there is no such problem")
    found = BY_SLUG[slug]
    return views.ProblemKind(code=slug, title=found.title, status=found.status)


ROUTES: Final = [
    *predicting.routes,
    *api_train.ROUTES,
    *admin.routes,
    *reading.routes,
    *public.routes,
    *documented.routes,
]
