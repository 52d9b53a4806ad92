"""The composition root: everything is made here, opened and closed by the lifespan."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from app import __version__, api, openapi, page
from app.auth import Guard
from app.bodies import Uploads
from app.claims import Claims
from app.drain import Drain
from app.errors import install
from app.jobs import Jobs
from app.observe import Observe
from app.registry import Registry
from app.routing import Service
from app.settings import Settings
from app.store import Store
from app.streams import Streams
from app.supervisor import Supervisor
from app.versions import Versions


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the service; nothing is opened before its lifespan starts.

    Args:
        settings: From the environment where none are given.
    """
    settings = settings or Settings()
    guard = Guard(settings)
    app = FastAPI(
        title="offsetnet",
        version=__version__,
        license_info={"name": "MIT", "identifier": "MIT"},
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=partial(_lifespan, settings, guard),
    )
    app.router.routes = [*api.ROUTES, *page.ROUTES]
    app.openapi = partial(openapi.document, app)  # type: ignore[method-assign] # theirs
    app.add_middleware(Observe, guard=guard)
    install(app)
    return app


@asynccontextmanager
async def _lifespan(
    settings: Settings, guard: Guard, app: FastAPI
) -> AsyncIterator[None]:
    """Load the active version, then keep it fresh and the runner alive."""
    store = Store(settings)
    versions, jobs, drain = Versions(store, settings), Jobs(store, settings), Drain()
    registry = Registry(store, versions)
    await asyncio.to_thread(registry.open)
    drain.watch()
    drain.follow_parent()
    claims = Claims(store, settings)
    supervisor = Supervisor(settings, claims, registry.refresh_in_thread)
    app.state.service = Service(
        guard=guard,
        registry=registry,
        versions=versions,
        jobs=jobs,
        streams=Streams(jobs, drain, settings),
        supervisor=supervisor,
        uploads=Uploads(),
        drain=drain,
    )
    tasks = [
        asyncio.create_task(registry.watch(settings.poll_seconds)),
        asyncio.create_task(supervisor.keep_running()),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await supervisor.stop()
        store.close()
