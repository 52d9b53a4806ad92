"""The one layer around every request: its id, host, HEAD, headers, and metrics."""

import logging
from collections.abc import Iterable, Mapping
from time import perf_counter
from typing import Any, Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Message, Receive, Scope, Send

from app.auth import Guard, settle_doubled
from app.bodies import Header, RawRequest
from app.eager import turn
from app.errors import is_bug
from app.metrics import Metrics
from app.prefix import with_prefix_once
from app.problems import answer
from app.routing import direct_endpoints
from app.wire import CLOSE, NOSNIFF, answered_at_once, is_left_unread, request_id

logger = logging.getLogger(__name__)

_ROUTED: Final = (None, 0)  # FastAPI's way
_UNTRACED: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}


class ObservedApp(FastAPI):
    """FastAPI that gives each request an id and each answer the headers all have.

    A request for a direct endpoint goes straight there; every other goes FastAPI's
    way, which finds its route. Where it traces, all go that way. Each is counted when
    its answer has been sent.
    """

    def __init__(
        self,
        guard: Guard,
        metrics: Metrics,
        routes: Iterable[BaseRoute],
        telemetry: TelemetryConfig | None,
        **described: Any,
    ) -> None:
        """Take the routes as they are."""
        super().__init__(telemetry=telemetry or _UNTRACED, **described)
        self.router.routes = [*routes]
        direct = {} if telemetry else direct_endpoints(self.routes, guard)
        self._guard, self._metrics = guard, metrics
        self._direct = {
            name: (endpoint, metrics.block(*name)) for name, endpoint in direct.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request; HEAD goes as GET, and the server leaves the body out."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        state, headers = scope["state"], dict(reversed(scope["headers"]))
        came = state.get("came") or perf_counter()
        number = request_id(headers.get(b"x-request-id"))
        state["request_id"], state["headers"], scope["app"] = number, headers, self
        if scope["method"] == "HEAD":
            scope, state["is_head"] = {**scope, "method": "GET"}, True
        extra = ((b"x-request-id", number), NOSNIFF)
        direct, block = self._direct.get((scope["method"], scope["path"]), _ROUTED)
        request = RawRequest(scope, receive)
        try:
            if len(headers) != len(scope["headers"]):
                settle_doubled(scope["headers"], headers)
            self._guard.check_host(scope["server"], headers.get(b"host", b""))
            response = None if direct is None else await direct(request)
        except Exception as error:  # noqa: BLE001 - as FastAPI does for its routes
            response = await _answer_to(error, request)
        if response is None:
            await self._route(scope, receive, _Sender(send, extra, state), came)
            return
        response.raw_headers += extra
        if not answered_at_once(state.get("cycle"), response):
            await response(scope, receive, _Sender(send, (), state))
        self._metrics.count_request(block, response.status_code, perf_counter() - came)

    async def _route(
        self, scope: Scope, receive: Receive, sender: "_Sender", came: float
    ) -> None:
        """Go FastAPI's way; where nothing is sent the status is 0."""
        await turn()  # FastAPI needs a task
        scope = with_prefix_once(scope)
        prefix = scope["root_path"]
        try:
            await super().__call__(scope, receive, sender)
        finally:
            mount = scope["root_path"].removeprefix(prefix)
            path = getattr(scope.get("route"), "path", mount)
            block = self._metrics.block(scope["method"], path)
            self._metrics.count_request(block, sender.status, perf_counter() - came)


async def _answer_to(error: Exception, request: RawRequest) -> Response:
    if is_bug(error):
        logger.error("this is a bug", exc_info=error)
    return await answer(request, error)


class _Sender:
    """Sends an answer on, with the headers that all have, and keeps its status."""

    def __init__(
        self, send: Send, extra: tuple[Header, ...], state: Mapping[str, Any]
    ) -> None:
        self._send, self._extra = send, extra
        self._cycle = state.get("cycle") or state.get("watched_cycle")
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            closing = (CLOSE,) if is_left_unread(self._cycle) else ()
            message["headers"] = [*message["headers"], *self._extra, *closing]
            self.status = message["status"]
        await self._send(message)
