"""How a request reaches its endpoint: the key first, then the shortest way in.

An endpoint whose one parameter is `request` is direct: it gets the request untouched,
reads its own bytes and returns a response, so that nothing of FastAPI is needed between
`observe` and it. Every other endpoint gets FastAPI's parameters. Both kinds are
declared alike and stand in the OpenAPI document alike.
"""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from fastapi import Response
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import Scope as RequestScope

from app.admission import Admission
from app.auth import Guard, Scope
from app.bodies import RawRequest, Uploads
from app.desk import Desk
from app.drain import Drain
from app.inference_statistics import InferenceStatistics
from app.job_statistics import JobStatistics
from app.jobs import Jobs
from app.metrics import Metrics
from app.registry import Registry, ServedModel
from app.streams import Streams
from app.supervisor import Supervisor
from app.versions import Versions

ACTIVE_PATH: Final = "/models/active"

Endpoint = Callable[[Any], Coroutine[Any, Any, Response]]  # of a request


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """What the endpoints work with, made once by `main`."""

    guard: Guard
    registry: Registry
    metrics: Metrics
    statistics: InferenceStatistics
    job_statistics: JobStatistics
    versions: Versions
    jobs: Jobs
    reads: Desk
    writes: Desk  # apart, so that whoever only reads waits for no writer
    streams: Streams
    supervisor: Supervisor
    uploads: Uploads
    admission: Admission
    exposing: asyncio.Lock  # one look at the metrics at a time
    drain: Drain


def service_of(request: HTTPConnection) -> Service:
    """Return the service that the lifespan made, which the server adds to requests."""
    service: Service = request.scope["state"]["service"]
    return service


async def pinned(
    request: HTTPConnection, version: int, active: ServedModel
) -> ServedModel:
    """Return the version that the caller pins.

    Raises:
        UnknownVersionError: There is no such version.
    """
    if version == active.version:
        return active
    service = service_of(request)
    return await service.reads.ask(service.registry.load, version)


class OpenRoute(APIRoute):
    """A route that needs no key."""

    scope: ClassVar = Scope.OPEN

    def get_route_handler(self) -> Endpoint:
        """Return the endpoint, or FastAPI's way to it, behind the guard."""
        if self.is_direct:
            return _guarded(self.scope, self.endpoint)
        return _guarded(self.scope, super().get_route_handler())

    @property
    def is_direct(self) -> bool:
        """Whether the endpoint takes the request untouched."""
        return [*inspect.signature(self.endpoint).parameters] == ["request"]


class DocsRoute(OpenRoute):
    """A route of the documentation."""

    scope = Scope.DOCS


class PredictRoute(OpenRoute):
    """A route for predicting, or for reading jobs and models."""

    scope = Scope.PREDICT


class AdminRoute(OpenRoute):
    """A route that changes state."""

    scope = Scope.ADMIN


class AdminModelsRoute(AdminRoute):
    """A route that changes versions, where `active` stands for no number."""

    def matches(self, scope: RequestScope) -> tuple[Match, RequestScope]:
        """Match what is not the path of the active version, or is for that."""
        match, child = super().matches(scope)
        is_for_it = self.path == ACTIVE_PATH
        path = self.path.format(**child.get("path_params", {})) if child else ""
        return (match, child) if is_for_it or path != ACTIVE_PATH else (Match.NONE, {})


def names(routes: Iterable[BaseRoute]) -> list[tuple[str, str]]:
    """Return the method and path of each route, in the order of the routes."""
    found = [
        (method, route.path)
        for route in routes
        if isinstance(route, Mount | OpenRoute)
        for method in sorted(getattr(route, "methods", None) or {"GET"})
    ]
    return list(dict.fromkeys(found))


def direct_endpoints(
    routes: Iterable[BaseRoute], guard: Guard
) -> Mapping[tuple[str, str], Endpoint]:
    """Return the direct endpoints by method and path, behind the guard."""
    return {
        (method, route.path): _guarded(route.scope, route.endpoint, guard)
        for route in routes
        if isinstance(route, OpenRoute)
        and route.is_direct
        and not route.param_convertors
        for method in route.methods or ()
    }


def _guarded(scope: Scope, endpoint: Endpoint, guard: Guard | None = None) -> Endpoint:
    """Return the endpoint behind the guard, or as it is where that lets all pass."""
    if guard is not None and guard.is_open(scope):
        return endpoint

    async def guarded(request: RawRequest) -> Response:
        state = request.scope["state"]
        state["service"].guard.check(scope, request.scope, state["headers"])
        return await endpoint(request)

    return guarded
