"""The routes: each takes what was validated, calls one method, and answers."""

import asyncio
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ValidationError
from starlette.requests import HTTPConnection

from app import __version__, bodies, page, prediction, submission, views
from app.bodies import RawRequest
from app.conditions import expected_generations, idempotency_key
from app.errors import BY_SLUG, NoPageError
from app.jobs import Origin, Submission
from app.lazily import lazily
from app.prefix import published
from app.preview import preview
from app.routing import (
    AdminRoute,
    DocsRoute,
    OpenRoute,
    PredictRoute,
    Service,
    pinned,
    service_of,
)
from app.schemas import (
    MAX_INTEGER,
    MAX_ROWS,
    Activation,
    DryRunQuery,
    PinQuery,
    PredictQuery,
    TrainQuery,
    plain_number,
)
from model import CsvReader

if TYPE_CHECKING:
    from app import exposition
else:
    exposition = lazily("app.exposition")

QueryT = TypeVar("QueryT", bound=BaseModel)


def _name(route: APIRoute) -> str:
    """Return the operation's id: the endpoint's own name."""
    return route.name


_router = partial(APIRouter, generate_unique_id_function=_name)
public = _router(route_class=OpenRoute, tags=["operations"])
documented = _router(route_class=DocsRoute, tags=["operations"])
predicting = _router(route_class=PredictRoute, tags=["predict"])
reading = _router(route_class=PredictRoute)
admin = _router(route_class=AdminRoute)


async def _service(request: HTTPConnection) -> Service:
    """Return the service here: FastAPI would call what is not async in a thread."""
    return service_of(request)


TheService = Annotated[Service, Depends(_service)]
Number = Annotated[int, BeforeValidator(plain_number), Path(ge=1, examples=[1])]


@predicting.post("/predict", response_model=views.Prediction)
async def predict(request: RawRequest) -> Response:
    """Predict one person's label, written in any of the three shapes."""
    query = _query(request, PredictQuery)
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
    query = _query(request, PinQuery)
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


@admin.post(
    "/train",
    tags=["train"],
    status_code=202,
    response_model=views.Job,
    responses={200: {"model": views.DryRun}},
)
async def train(request: RawRequest) -> Response:
    """Train in the background; without a body, on the article's four people.

    Query parameters go with a CSV; JSON says the same in its body. With
    `?dry_run=true` everything is checked and measured, and no job is made.
    """
    service = service_of(request)
    key = idempotency_key(request)
    submitted, is_dry_run = await _submission(request)
    if is_dry_run:
        return await asyncio.to_thread(_preview, service, submitted)
    origin = Origin(_caller(request), key)
    row, is_known = await asyncio.to_thread(service.jobs.enqueue, submitted, origin)
    service.supervisor.wake()
    job = views.Job.of(row)
    location = published(request.scope, job.links.self)
    headers = [(b"location", location.encode()), (b"retry-after", b"1")]
    headers += [(b"idempotency-replayed", b"true")] if is_known else []
    return bodies.Json(job.model_dump_json().encode(), 202, headers)


@admin.delete("/train/{job_id}", tags=["train"], responses={202: {"model": views.Job}})
async def cancel_job(
    service: TheService, response: Response, job_id: Number
) -> views.Job:
    """Cancel a job: 200 where nobody works on it, 202 where its runner must stop."""
    row, was_running = await asyncio.to_thread(service.jobs.cancel, job_id)
    service.supervisor.wake()
    response.status_code = 202 if was_running else 200
    return views.Job.of(row)


@reading.get("/train", tags=["train"])
def list_jobs(
    service: TheService,
    state: views.State | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: Annotated[int | None, Query(ge=1, le=MAX_INTEGER)] = None,
) -> views.JobPage:
    """List the jobs, newest first."""
    rows, following = service.jobs.page(state=state, before=before, limit=limit)
    return views.JobPage(jobs=list(map(views.Job.of, rows)), next=following)


@reading.get("/train/{job_id}", tags=["train"])
def get_job(service: TheService, job_id: Number) -> views.Job:
    """Show one job."""
    return views.Job.of(service.jobs.get(job_id))


@reading.get(
    "/train/{job_id}/events",
    tags=["train"],
    response_class=Response,
    responses={
        200: {"content": {bodies.EVENT_STREAM: {"schema": {"type": "string"}}}},
        204: {"description": "The job has ended and the client has seen it"},
    },
)
async def follow_job(
    request: Request,
    service: TheService,
    job_id: Number,
    last_event_id: Annotated[str, Header()] = "",
) -> Response:
    """Follow a job as Server-Sent Events until it ends.

    Each `progress` event carries the whole job, and so does the last, `succeeded`,
    `failed` or `cancelled`. A process that stops sends `draining`: connect again.
    """
    response = await service.streams.follow(job_id, last_event_id, _caller(request))
    if "is_head" in request.scope["state"]:  # a stream that nobody reads would not end
        return Response(None, response.status_code, media_type=response.media_type)
    return response


@reading.get("/models", tags=["models"])
def list_models(service: TheService) -> views.ModelList:
    """List the versions, newest first."""
    rows, generation = service.versions.describe_all()
    return views.ModelList(
        models=list(map(views.Model.of, rows)), generation=generation
    )


@reading.get("/models/active", tags=["models"])
def get_active_model(service: TheService, response: Response) -> views.ActiveModel:
    """Show the version that serves; the ETag is the generation."""
    row, generation = service.versions.describe_active()
    response.headers["ETag"] = f'"{generation}"'
    return views.ActiveModel.of(row)


@admin.put(
    "/models/active",
    tags=["models"],
    response_model=views.ActiveModel,
)
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
    await asyncio.to_thread(service.versions.activate, number, expected)
    await asyncio.to_thread(service.registry.refresh_or_degrade)
    row, generation = await asyncio.to_thread(service.versions.describe_active)
    answer = views.ActiveModel.of(row).model_dump_json().encode()
    return bodies.Json(answer, headers=[(b"etag", f'"{generation}"'.encode())])


@admin.delete("/models/{version}", tags=["models"], status_code=204)
def delete_model(service: TheService, version: Number) -> None:
    """Remove a version for good; not the active one, nor the one shipped."""
    service.versions.delete(version)


@reading.get("/models/{version}", tags=["models"])
def get_model(service: TheService, version: Number) -> views.Model:
    """Show one version."""
    return views.Model.of(service.versions.describe(version))


@reading.get(
    "/models/{version}/weights",
    tags=["models"],
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def get_weights(service: TheService, version: Number) -> Response:
    """Download a version as safetensors; the ETag is its SHA-256."""
    content, sha256 = service.versions.weights(version)
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
    async with service.exposing:
        content, media_type = await asyncio.to_thread(
            exposition.expose,
            service.metrics,
            service.registry,
            service.job_statistics,
            accept,
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
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Tell what is here; a browser gets the page to try it on."""
    return page.home(accept, views.Index().model_dump_json().encode())


@public.get("/problems/{slug}")
async def problem(
    slug: Annotated[str, Path(examples=["invalid"])],
) -> views.ProblemKind:
    """Explain a kind of problem."""
    if slug not in BY_SLUG:
        raise NoPageError("there is no such problem")
    found = BY_SLUG[slug]
    return views.ProblemKind(code=slug, title=found.title, status=found.status)


_empty = cache(lambda schema: schema())

ROUTES: Final = [
    route
    for router in (predicting, admin, reading, public, documented)
    for route in router.routes
]


def _caller(request: HTTPConnection) -> str:
    guard = service_of(request).guard
    return guard.caller(request.scope["state"]["headers"])


def _preview(service: Service, submitted: Submission) -> Response:
    answer = preview(submitted, service.versions.champion())
    return bodies.Json(answer.model_dump_json().encode())


async def _submission(request: RawRequest) -> tuple[Submission, bool]:
    """Read a training request, from JSON at once or from CSV as it arrives.

    Returns:
        The request, and whether it asks for a preview only.
    """
    media_type = bodies.media_type(request)
    if media_type == bodies.CSV_TYPE:
        with service_of(request).uploads.turn(request):
            return await _csv_submission(request)
    query = _query(request, DryRunQuery)
    body = await bodies.read(request, bodies.MAX_JSON_BYTES)
    if body and media_type != bodies.JSON_TYPE:
        raise bodies.MediaTypeError("expected application/json or text/csv")
    return await asyncio.to_thread(submission.from_json, body), query.dry_run


async def _csv_submission(request: RawRequest) -> tuple[Submission, bool]:
    query = _query(request, TrainQuery)
    reader = CsvReader(labelled=True, max_rows=MAX_ROWS)
    async for chunk in bodies.slices(request, bodies.MAX_CSV_BYTES):
        reader.feed(chunk)
        await asyncio.sleep(0)  # others' turn
    table = await asyncio.to_thread(reader.finish)
    submitted = await asyncio.to_thread(submission.from_csv, table, query)
    return submitted, query.dry_run


def _query(request: RawRequest, schema: type[QueryT]) -> QueryT:
    """Read the query parameters; their errors are told as FastAPI tells them."""
    if not request.scope["query_string"]:
        return _empty(schema)  # type: ignore[no-any-return] # what the schema makes
    try:
        return schema.model_validate_strings(dict(request.query_params))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        located = [{**one, "loc": ("query", *one["loc"])} for one in details]
        raise RequestValidationError(located) from error
