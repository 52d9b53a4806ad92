"""Answers as bytes: those that are whole at once, and those to no request."""

import itertools
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from app.bodies import Header, Json
from app.errors import Problem
from app.problems import is_of_protocol, say_in_json, say_in_protocol

NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
CLOSE: Final = (b"connection", b"close")
MAX_IGNORED_BYTES: Final = 1024 * 1024  # so that the client gets to read its answer

_IDS: Final = itertools.count(secrets.randbits(63))  # from where no other process is
_PLAIN_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_PLACE: Final = b"%016x" % 0  # of such an id, in what is written before it is known
_WHOLE: Final = {Json, Response}


def request_id(given: bytes | None) -> bytes:
    """Return a request's id: the client's where that is plain."""
    if given is None or not _PLAIN_ID.fullmatch(given):
        return b"%016x" % next(_IDS)
    return given


def declared_bytes(headers: Iterable[Header]) -> int | None:
    """Return how long a body is said to be, None where that is not known before."""
    length: int | None = 0
    for name, value in headers:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            length = None
    return length


def is_left_unread(cycle: RequestResponseCycle | None) -> bool:
    """Tell whether too much of a body is to come that no answer waits for."""
    if cycle is None or not cycle.more_body:
        return False
    length = declared_bytes(cycle.scope["headers"])
    return length is None or length > MAX_IGNORED_BYTES


def answered_at_once(cycle: RequestResponseCycle | None, response: Response) -> bool:
    """Send a whole answer, and tell whether that could be done.

    It does what uvicorn's `send` does with two messages, without looking for what no
    answer of ours has in its headers. Where anything is unusual nothing is done.
    """
    if (
        cycle is None
        or type(response) not in _WHOLE
        or cycle.flow.write_paused
        or cycle.disconnected
        or not cycle.keep_alive
        or cycle.scope["method"] == "HEAD"
    ):
        return False
    cycle.response_started = cycle.response_complete = True
    headers = (*cycle.default_headers, *response.raw_headers)
    closes = response.status_code != HTTPStatus.OK and CLOSE in headers
    if cycle.more_body and not closes and is_left_unread(cycle):
        closes, headers = True, (*headers, CLOSE)
    lines = [b"%b: %b\r\n" % header for header in headers]
    head = STATUS_LINE[response.status_code]
    cycle.transport.write(b"".join((head, *lines, b"\r\n", response.body)))
    cycle.keep_alive = not closes
    if closes and not cycle.more_body:
        cycle.transport.close()
    cycle.message_event.set()
    cycle.on_response()
    return True


def refusal(
    problem: Problem,
    scope: Mapping[str, Any] | None,
    default_headers: Iterable[Header],
    *,
    closes: bool = True,
) -> bytes:
    """Return the answer to what does not come to be a request of the service.

    Args:
        problem: What is wrong.
        scope: Of the last request, whose id it has.
        default_headers: What the server puts before its answers.
        closes: Whether the connection is cut afterwards.
    """
    scope = {"path": "", **(scope or {})}
    number = scope.get("state", {}).get("request_id")
    number = number or request_id(dict(scope.get("headers", ())).get(b"x-request-id"))
    say = say_in_protocol if is_of_protocol(scope) else say_in_json
    headers = (*default_headers, *((CLOSE,) if closes else ()))
    facts = (problem, say, headers, scope.get("method") == "HEAD")
    if len(number) != len(_PLACE):
        return _written(number, *facts)
    return number.join(_parts(*facts))


@lru_cache(maxsize=64)
def _parts(*facts: Any) -> list[bytes]:
    """Return a refusal without its id: many are sent, and each should cost little."""
    return _written(_PLACE, *facts).split(_PLACE)


def _written(
    number: bytes,
    problem: Problem,
    say: Callable[[Problem, str, str], Json],
    headers: tuple[Header, ...],
    is_head: bool,  # noqa: FBT001 - only `refusal` calls
) -> bytes:
    response = say(problem, number.decode(), problem.title)
    own = (*response.raw_headers, (b"x-request-id", number), NOSNIFF)
    lines = [b"%b: %b\r\n" % header for header in (*headers, *own)]
    body = b"" if is_head else response.body
    return b"".join((STATUS_LINE[problem.status], *lines, b"\r\n", body))
