"""Checks of answers that several modules make."""

from typing import Any, Final

import httpx

from app.errors import BY_SLUG
from app.problems import MAX_ERRORS

JSON: Final = {"Content-Type": "application/json"}
CSV: Final = {"Content-Type": "text/csv"}
EMILY: Final = {"weight_offset": -7, "height_offset": -3}

_MEMBERS: Final = {
    "type": str,
    "title": str,
    "status": int,
    "detail": str,
    "instance": str,
    "code": str,
    "request_id": str,
}


def assert_problem(response: httpx.Response, status: int, code: str) -> None:
    """Check that an answer is this problem, whole and no larger than it may be."""
    assert (response.status_code, response.headers["Content-Type"]) == (
        status,
        "application/problem+json",
    )
    body = response.json()
    assert body.keys() - {"errors"} == _MEMBERS.keys()
    assert all(isinstance(body[name], kind) for name, kind in _MEMBERS.items())
    assert (body["code"], body["status"]) == (code, status)
    assert (body["type"], body["title"]) == (f"/problems/{code}", BY_SLUG[code].title)
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert len(body.get("errors", [])) <= MAX_ERRORS
    assert len(response.content) < 8_192


def faults(response: httpx.Response) -> list[tuple[Any, ...]]:
    """Return where each fault is and its code, as the answer tells them."""
    return [
        tuple(value for name, value in fault.items() if name != "detail")
        for fault in response.json()["errors"]
    ]
