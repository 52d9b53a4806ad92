"""The routes of trainings: submitted, previewed, listed, followed, cancelled."""

import asyncio
from functools import partial
from typing import Annotated, Final

from fastapi import Header, Query, Request, Response

from app import bodies, job_views, submission
from app.bodies import RawRequest
from app.conditions import idempotency_key
from app.endpoints import Number, TheService, caller, read_query, router
from app.job_words import State
from app.jobs import Origin, Submission
from app.prefix import published
from app.preview import preview
from app.routing import AdminRoute, PredictRoute, service_of
from app.schemas import MAX_INTEGER, MAX_ROWS, DryRunQuery, TrainQuery
from model import CsvReader

reading = router(PredictRoute, "train")
admin = router(AdminRoute, "train")


@admin.post(
    "/train",
    status_code=202,
    response_model=job_views.Job,
    responses={200: {"model": job_views.DryRun}},
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
        champion = await service.reads.ask(service.versions.champion)
        answer = await asyncio.to_thread(preview, submitted, champion)
        return bodies.Json(answer.model_dump_json().encode())
    origin = Origin(caller(request), key)
    row, is_known = await service.writes.ask(service.jobs.enqueue, submitted, origin)
    service.supervisor.wake()
    job = job_views.Job.of(row)
    location = published(request.scope, job.links.self)
    headers = [(b"location", location.encode()), (b"retry-after", b"1")]
    headers += [(b"idempotency-replayed", b"true")] if is_known else []
    return bodies.Json(job.model_dump_json().encode(), 202, headers)


@admin.delete("/train/{job_id}", responses={202: {"model": job_views.Job}})
async def cancel_job(
    service: TheService, response: Response, job_id: Number
) -> job_views.Job:
    """Cancel a job: 200 where nobody works on it, 202 where its runner must stop."""
    row, was_running = await service.writes.ask(service.jobs.cancel, job_id)
    service.supervisor.wake()
    response.status_code = 202 if was_running else 200
    return job_views.Job.of(row)


@reading.get("/train")
async def list_jobs(
    service: TheService,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: Annotated[int | None, Query(ge=1, le=MAX_INTEGER)] = None,
) -> job_views.JobPage:
    """List the jobs, newest first."""
    look = partial(service.jobs.page, state=state, before=before, limit=limit)
    rows, following = await service.reads.ask(look)
    return job_views.JobPage(jobs=list(map(job_views.Job.of, rows)), next=following)


@reading.get("/train/{job_id}")
async def get_job(service: TheService, job_id: Number) -> job_views.Job:
    """Show one job."""
    return job_views.Job.of(await service.reads.ask(service.jobs.get, job_id))


@reading.get(
    "/train/{job_id}/events",
    response_class=Response,
    responses={
        200: {"content": {bodies.EVENT_STREAM: {}}},
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
    response = await service.streams.follow(job_id, last_event_id, caller(request))
    if "is_head" in request.scope["state"]:  # a stream that nobody reads would not end
        return Response(None, response.status_code, media_type=response.media_type)
    return response


ROUTES: Final = [*admin.routes, *reading.routes]


async def _submission(request: RawRequest) -> tuple[Submission, bool]:
    """Read a training request, from JSON at once or from CSV as it arrives.

    Returns:
        The request, and whether it asks for a preview only.
    """
    media_type = bodies.media_type(request)
    if media_type == bodies.CSV_TYPE:
        with service_of(request).uploads.turn(request):
            return await _csv_submission(request)
    query = read_query(request, DryRunQuery)
    body = await bodies.read(request, bodies.MAX_JSON_BYTES)
    if body and media_type != bodies.JSON_TYPE:
        raise bodies.MediaTypeError("expected application/json or text/csv")
    return await asyncio.to_thread(submission.from_json, body), query.dry_run


async def _csv_submission(request: RawRequest) -> tuple[Submission, bool]:
    query = read_query(request, TrainQuery)
    reader = CsvReader(labelled=True, max_rows=MAX_ROWS)
    async for chunk in bodies.slices(request, bodies.MAX_CSV_BYTES):
        reader.feed(chunk)
        await asyncio.sleep(0)  # others' turn
    table = await asyncio.to_thread(reader.finish)
    submitted = await asyncio.to_thread(submission.from_csv, table, query)
    return submitted, query.dry_run
