"""The one layer around every request: its id, its host, HEAD, and headers."""

import itertools
import logging
import re
import secrets
from collections.abc import Iterable
from typing import Any, Final

from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.types import Message, Receive, Scope, Send

from app.auth import Guard
from app.bodies import RawRequest
from app.errors import answer, is_bug
from app.routing import direct_endpoints

logger = logging.getLogger(__name__)

_IDS: Final = itertools.count(secrets.randbits(63))  # from where no other process is
_PLAIN_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")

Headers = tuple[tuple[bytes, bytes], ...]


class ObservedApp(FastAPI):
    """FastAPI that gives each request an id and each answer the headers all have.

    A request for a direct endpoint goes straight there; every other goes FastAPI's
    way, which finds its route.
    """

    def __init__(
        self, guard: Guard, routes: Iterable[BaseRoute], **described: Any
    ) -> None:
        """Take the routes as they are."""
        super().__init__(**described)
        self.router.routes = [*routes]
        self._guard = guard
        self._direct = direct_endpoints(self.routes, guard)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request; HEAD goes as GET, and the server leaves the body out."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        state, headers = scope["state"], dict(reversed(scope["headers"]))
        request_id = headers.get(b"x-request-id")
        if request_id is None or not _PLAIN_ID.fullmatch(request_id):
            request_id = b"%016x" % next(_IDS)
        state["request_id"], state["headers"], scope["app"] = request_id, headers, self
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
            state["is_head"] = True
        extra = ((b"x-request-id", request_id), _NOSNIFF)
        direct = self._direct.get((scope["method"], scope["path"]))
        request = RawRequest(scope, receive)
        try:
            self._guard.check_host(scope["server"], headers.get(b"host", b""))
            response = None if direct is None else await direct(request)
        except Exception as error:  # as FastAPI does for its routes
            if is_bug(error):
                logger.exception("this is a bug")
            response = await answer(request, error)
        if response is None:
            await super().__call__(scope, receive, _adding(extra, send))
            return
        response.raw_headers += extra
        await response(scope, receive, send)


def _adding(extra: Headers, send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *extra]
        await send(message)

    return send_with_headers
