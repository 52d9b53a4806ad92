"""The composition root: everything is made here, opened and closed by the lifespan."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from fastapi import FastAPI

from app import __version__, api, inference, openapi, page
from app.auth import Guard
from app.bodies import Uploads
from app.claims import Claims
from app.drain import Drain
from app.errors import install
from app.inference_statistics import InferenceStatistics
from app.jobs import Jobs
from app.observe import ObservedApp
from app.registry import Registry
from app.routing import Service
from app.settings import Settings
from app.store import Store
from app.streams import Streams
from app.supervisor import Supervisor
from app.versions import Versions

# How long the event loop waits for a thread that computes; Python's default is 0.005.
SWITCH_SECONDS: Final = 0.001


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the service; nothing is opened before its lifespan starts.

    Args:
        settings: From the environment where none are given.
    """
    settings = settings or Settings()
    guard = Guard(settings)
    app = ObservedApp(
        guard,
        [*api.ROUTES, *inference.ROUTES, *page.ROUTES],
        title="offsetnet",
        version=__version__,
        license_info={"name": "MIT", "identifier": "MIT"},
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=partial(_lifespan, settings, guard),
    )
    app.openapi = partial(openapi.document, app)  # type: ignore[method-assign] # theirs
    install(app)
    return app


@asynccontextmanager
async def _lifespan(
    settings: Settings, guard: Guard, _app: FastAPI
) -> AsyncIterator[dict[str, Service]]:
    """Load the active version, then keep it fresh and the runner alive."""
    store = Store(settings)
    versions, jobs, drain = Versions(store, settings), Jobs(store, settings), Drain()
    registry = Registry(store, versions)
    await asyncio.to_thread(registry.open)
    drain.watch()
    drain.follow_parent()
    claims = Claims(store, settings)
    supervisor = Supervisor(settings, claims, registry.look)
    service = Service(
        guard=guard,
        registry=registry,
        statistics=InferenceStatistics(),
        versions=versions,
        jobs=jobs,
        streams=Streams(jobs, drain, settings),
        supervisor=supervisor,
        uploads=Uploads(),
        drain=drain,
    )
    gc.freeze()  # what is here now stays: no later collection walks through it
    gc.enable()
    sys.setswitchinterval(SWITCH_SECONDS)
    running = asyncio.create_task(supervisor.keep_running())
    try:
        async with registry.watching(settings.poll_seconds):
            yield {"service": service}
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await supervisor.stop()
        store.close()
