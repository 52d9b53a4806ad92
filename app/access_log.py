"""The access log: the service with a line in the log for each request.

`offsetnet serve` takes this in place of `app.main` when it shall log requests, so that
requests which nobody logs cost nothing.
"""

import logging
import time
from typing import Any, Final
from urllib.parse import quote

from opentelemetry.trace import format_trace_id, get_current_span
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import FACTS
from app.main import create_app as create_service
from app.prefix import with_prefix_once

LEFT: Final = 499  # the client did so before any answer began
MAX_PATH: Final = 2000  # so that a line is written to a pipe as one piece
MAX_CLIENT: Final = 100  # which a proxy may have been told by anybody

logger = logging.getLogger(__name__)


def create_app() -> ASGIApp:
    """Make the service, with its settings from the environment, and log requests."""
    logging.raiseExceptions = False  # a log that cannot be written disturbs nobody
    service = create_service()
    return AccessLog(service, service.routes)


class AccessLog:
    """Logs each request once it is over, without its query, headers and body."""

    def __init__(self, app: ASGIApp, routes: list[BaseRoute]) -> None:
        """Take what answers, and the routes whose templates are named."""
        self._app = app
        self._routes = [route for route in routes if isinstance(route, Route | Mount)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on and watch."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watch = _Watch(receive, send)
        state = scope["state"]
        state["watched_cycle"] = state.pop("cycle", None)  # every answer passes by here
        try:
            await self._app(scope, watch.receive, watch.send)
        finally:
            facts = {**self._describe(scope), **watch.describe()}
            logger.info("request", extra={FACTS: facts})

    def _describe(self, scope: Scope) -> dict[str, Any]:
        path, client = scope["path"], scope["client"]
        below = with_prefix_once(scope)["path"].removeprefix(scope.get("root_path", ""))
        templates = (r.path for r in self._routes if r.path_regex.match(below))
        return {
            "request_id": scope["state"]["request_id"].decode(),
            "method": scope["method"],
            "path": quote(path)[:MAX_PATH],
            "route": next(templates, None),
            "client": quote(client[0], safe=":")[:MAX_CLIENT] if client else None,
        }


class _Watch:
    """Stands between a request and its server, and notes what passes."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._started = time.perf_counter()
        self._status: int | None = None
        self._trace_id = 0

    async def receive(self) -> Message:
        self._note_trace()
        message = await self._receive()
        if message["type"] == "http.disconnect" and self._status is None:
            self._status = LEFT
        return message

    async def send(self, message: Message) -> None:
        self._note_trace()
        if message["type"] == "http.response.start" and self._status is None:
            self._status = message["status"]
        await self._send(message)

    def describe(self) -> dict[str, Any]:
        """Return what was seen by now; no trace where none is made."""
        seen = {
            "status": self._status,
            "duration_seconds": round(time.perf_counter() - self._started, 6),
        }
        if not self._trace_id:
            return seen
        return {**seen, "trace_id": format_trace_id(self._trace_id)}

    def _note_trace(self) -> None:
        """Note the span's trace; inside of the service alone there is one."""
        if not self._trace_id:
            self._trace_id = get_current_span().get_span_context().trace_id
