"""How a request reaches its endpoint: the key first, then the shortest way in.

An endpoint whose one parameter is `request` gets the request untouched and returns a
response; it reads its own bytes. Every other endpoint gets FastAPI's parameters.
"""

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.auth import Guard, Scope
from app.bodies import Uploads
from app.drain import Drain
from app.jobs import Jobs
from app.registry import Registry
from app.streams import Streams
from app.supervisor import Supervisor
from app.versions import Versions


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """What the endpoints work with, made once by `main`."""

    guard: Guard
    registry: Registry
    versions: Versions
    jobs: Jobs
    streams: Streams
    supervisor: Supervisor
    uploads: Uploads
    drain: Drain


def service_of(request: Request) -> Service:
    """Return the service of the app that the request reached."""
    service: Service = request.app.state.service
    return service


class OpenRoute(APIRoute):
    """A route that needs no key."""

    scope: ClassVar = Scope.OPEN

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint, or FastAPI's way to it, behind the guard."""
        scope, handler = self.scope, super().get_route_handler()
        if [*inspect.signature(self.endpoint).parameters] == ["request"]:
            handler = self.endpoint

        async def guarded(request: Request) -> Response:
            guard = service_of(request).guard
            guard.check(scope, request.scope, request.scope["state"]["headers"])
            return await handler(request)

        return guarded


class DocsRoute(OpenRoute):
    """A route of the documentation."""

    scope = Scope.DOCS


class PredictRoute(OpenRoute):
    """A route for predicting, or for reading jobs and models."""

    scope = Scope.PREDICT


class AdminRoute(OpenRoute):
    """A route that changes state."""

    scope = Scope.ADMIN
