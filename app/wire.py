"""Answers as bytes: those that are whole at once, and those to no request."""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from app.errors import Problem, respond

Header = tuple[bytes, bytes]

_OK: Final = STATUS_LINE[200]


def answered_at_once(cycle: RequestResponseCycle | None, response: Response) -> bool:
    """Send a whole answer of 200, and tell whether that could be done.

    It does what uvicorn's `send` does with two messages, without looking for what no
    answer of ours has in its headers. Where anything is unusual nothing is done.
    """
    if (
        cycle is None
        or cycle.flow.write_paused
        or cycle.disconnected
        or not cycle.keep_alive
        or cycle.scope["method"] == "HEAD"
    ):
        return False
    cycle.response_started = cycle.response_complete = True
    headers = (*cycle.default_headers, *response.raw_headers)
    lines = [b"%b: %b\r\n" % header for header in headers]
    cycle.transport.write(b"".join((_OK, *lines, b"\r\n", response.body)))
    cycle.message_event.set()
    cycle.on_response()
    return True


def refusal(
    problem: Problem, scope: Mapping[str, Any] | None, default_headers: Iterable[Header]
) -> bytes:
    """Return the answer to what does not come to be a request, before it is cut.

    Args:
        problem: What is wrong.
        scope: Of the last request, whose id it has if it got one.
        default_headers: What the server puts before its answers.
    """
    known = scope or {}
    request_id = known.get("state", {}).get("request_id")
    request_id = request_id or secrets.token_hex(8).encode()
    described = {"path": "", **known, "type": "http"}
    described["state"] = {"request_id": request_id}
    response = respond(HTTPConnection(described), problem, problem.title)
    headers = (
        *default_headers,
        *response.raw_headers,
        (b"x-request-id", request_id),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    )
    lines = [b"%b: %b\r\n" % header for header in headers]
    return b"".join((STATUS_LINE[problem.status], *lines, b"\r\n", response.body))
