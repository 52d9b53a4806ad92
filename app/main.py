"""The composition root: everything is made here, opened and closed by the lifespan."""

import asyncio
import gc
import logging
import multiprocessing
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI

from app import __version__, api, inference, openapi, page
from app.admission import Admission
from app.auth import Guard
from app.bodies import Uploads
from app.claims import Claims
from app.desk import Desk
from app.drain import Drain
from app.eager import NextTurn
from app.errors import SHEDS
from app.inference_statistics import InferenceStatistics
from app.job_statistics import JobStatistics
from app.jobs import Jobs
from app.lazily import lazily
from app.metrics import Metrics
from app.observe import ObservedApp
from app.patience import Patience
from app.problems import install
from app.registry import Registry
from app.routing import Service, names
from app.settings import Settings
from app.store import Store
from app.streams import Streams
from app.supervisor import Supervisor
from app.versions import Versions

if TYPE_CHECKING:
    from app import tracing
else:
    tracing = lazily("app.tracing")

logger = logging.getLogger(__name__)

# How long the event loop waits for a thread that computes; Python's default is 0.005.
SWITCH_SECONDS: Final = 0.001
GARBAGE: Final = 5_000  # objects until some is looked for; a batch makes thousands


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the service; nothing is opened before its lifespan starts.

    Args:
        settings: From the environment where none are given.
    """
    settings = settings or Settings()
    guard = Guard(settings)
    traced = tracing.Tracing() if settings.tracing else None
    routes = [*api.ROUTES, *inference.ROUTES, *page.ROUTES]
    metrics = Metrics(names(routes), SHEDS)
    app = ObservedApp(
        guard,
        metrics,
        routes,
        traced.telemetry if traced else None,
        title="offsetnet",
        version=__version__,
        license_info={"name": "MIT", "identifier": "MIT"},
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=partial(_lifespan, settings, guard, metrics, traced),
    )
    app.openapi = partial(openapi.document, app)  # type: ignore[method-assign] # theirs
    install(app)
    return app


async def end_all(ends: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Await all at once, since each takes seconds; then raise what one raised."""
    ended = await asyncio.gather(*(end() for end in ends), return_exceptions=True)
    for failure in filter(None, ended):
        raise failure


@asynccontextmanager
async def _lifespan(
    settings: Settings,
    guard: Guard,
    metrics: Metrics,
    traced: "tracing.Tracing | None",
    _app: FastAPI,
) -> AsyncIterator[dict[str, Any]]:
    """Load the active version, then keep it fresh and the runner alive."""
    with ExitStack() as last:
        last.callback(_leave, settings)
        store = last.enter_context(closing(Store(settings)))
        service = _service(settings, guard, metrics, store)
        _share(metrics, settings)
        await asyncio.to_thread(service.registry.open)
        service.drain.watch()
        service.drain.follow_parent()
        gc.freeze()  # what is here now stays: no later collection walks through it
        gc.set_threshold(GARBAGE)
        gc.enable()
        sys.setswitchinterval(SWITCH_SECONDS)
        tasks = [metrics.watch_loop()]
        if settings.runner:
            tasks.append(service.supervisor.keep_running())
        running = asyncio.gather(*tasks)
        service.registry.watch(settings.poll_seconds)
        ends = [service.supervisor.stop, service.registry.close]
        ends += [traced.close] if traced else []
        try:
            if traced:
                traced.send()
            yield {
                "service": service,
                "patience": Patience.of(settings),
                "next_turn": NextTurn(),
            }
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await end_all(ends)


def _share(metrics: Metrics, settings: Settings) -> None:
    """Add metrics up with the other processes; alone where that is not possible."""
    if settings.metrics_file is None:
        return
    try:
        metrics.share(settings.metrics_file)
    except OSError as error:
        logger.warning("the metrics are those of one process: %s", error)


def _leave(settings: Settings) -> None:
    """Remove the metrics' file where the first process cannot do so any more."""
    parent = multiprocessing.parent_process()
    if settings.metrics_file and parent is not None and not parent.is_alive():
        settings.metrics_file.unlink(missing_ok=True)


def _service(
    settings: Settings, guard: Guard, metrics: Metrics, store: Store
) -> Service:
    """Make what the endpoints work with; nothing of it runs yet."""
    versions, jobs, drain = Versions(store, settings), Jobs(store, settings), Drain()
    registry = Registry(store, versions, metrics)
    return Service(
        guard=guard,
        registry=registry,
        metrics=metrics,
        statistics=InferenceStatistics(),
        job_statistics=JobStatistics(store),
        versions=versions,
        jobs=jobs,
        reads=Desk(),
        writes=Desk(),
        streams=Streams(jobs, drain, settings),
        supervisor=Supervisor(settings, Claims(store, settings), registry.look),
        uploads=Uploads(),
        admission=Admission(),
        exposing=asyncio.Lock(),
        drain=drain,
    )
