"""The one ASGI layer around every request: its id, its host, HEAD, and headers."""

import re
import secrets
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.auth import ForeignHostError, Guard
from app.errors import PROBLEMS, respond

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Observe:
    """Gives each request an id and each answer the headers that all have."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        """Wrap the app."""
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; HEAD goes as GET, and the server leaves the body out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = _request_id(headers.get(b"x-request-id", b""))
        scope.setdefault("state", {})["request_id"] = request_id
        scope["state"]["headers"] = headers
        scope["state"]["is_head"] = scope["method"] == "HEAD"
        extra = [
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
        ]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        app = self._app
        try:
            self._guard.check_host(scope, headers)
        except ForeignHostError as error:
            app = respond(PROBLEMS[ForeignHostError], request_id, str(error))
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await app(scope, receive, send_with_headers)


def _request_id(given: bytes) -> str:
    """Return the caller's id where it is a plain one, else a new one."""
    return given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
