"""Errors as answers: the one table from exceptions to problems (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import to_json
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.routing import Match

from app.auth import (
    ForbiddenError,
    ForeignHostError,
    ForeignOriginError,
    UnauthenticatedError,
)
from app.bodies import (
    BodyTooLargeError,
    ContentCodingError,
    Json,
    MediaTypeError,
    TransferCodingError,
    UploadBusyError,
)
from app.conditions import IdempotencyKeyError, PreconditionRequiredError
from app.drain import DrainingError
from app.inference_protocol import (
    InferenceError,
    UnknownModelError,
    UnsupportedError,
)
from app.jobs import (
    CallerLimitError,
    FinishedJobError,
    KeyReusedError,
    QueueFullError,
    UnknownJobError,
)
from app.prefix import with_prefix_once
from app.registry import NotReadyError
from app.store import StoreError
from app.streams import CallerStreamLimitError, StreamLimitError
from app.submission import SingleClassError, WorkBudgetError
from app.versions import (
    NoVersionError,
    StaleGenerationError,
    UnknownVersionError,
    VersionInUseError,
)
from app.wrong_keys import MEMORY_SECONDS, WrongKeysError
from model import ArtifactError, CsvEncodingError, CsvError

MAX_ERRORS: Final = 20


class NoPageError(Exception):
    """There is no such page."""


class Problem(NamedTuple):
    """One kind of problem; its page is /problems/<slug>."""

    status: int
    slug: str
    title: str
    headers: Mapping[str, str] = {}


_PROTOCOLS: Final = ("/v1/", "/v2/")  # in which errors are one string
_PROBES: Final = ("/readyz", "/ready", "/v1/models/offsetnet")  # which nobody misses
_RETRY: Final = {"Retry-After": "1"}
_CLOSE: Final = {"Connection": "close"}

STORAGE: Final = Problem(503, "storage", "The database does not answer", _RETRY)
NOT_READY: Final = Problem(503, "not-ready", "No version is loaded", _RETRY)
NOT_FOUND: Final = Problem(404, "not-found", "Nothing is here")
INVALID: Final = Problem(422, "invalid", "The request breaks a rule")
MALFORMED: Final = Problem(400, "malformed", "The body cannot be read")
NOT_HTTP: Final = Problem(400, "not-http", "This is no request of HTTP/1.1")
TOO_SLOW: Final = Problem(408, "too-slow", "The request came too slowly")
HEAD_TOO_LARGE: Final = Problem(431, "head-too-large", "The head is too large")
TOO_MUCH_OVERHEAD: Final = Problem(400, "too-much-overhead", "Mostly chunks, no body")
OVERLOADED: Final = Problem(503, "overloaded", "Too much comes at once", _RETRY)
INTERNAL: Final = Problem(500, "internal", "This is a bug")

PROBLEMS: Final[dict[type[Exception], Problem]] = {
    ForeignHostError: Problem(
        400, "foreign-host", "The Host is not answered here", _CLOSE
    ),
    ClientDisconnect: Problem(400, "disconnected", "The client left"),
    TransferCodingError: Problem(
        400, "transfer-coding", "The body is coded on its way", _CLOSE
    ),
    CsvEncodingError: MALFORMED,
    InferenceError: Problem(400, "inference", "The request breaks the protocol"),
    IdempotencyKeyError: Problem(400, "idempotency-key", "This is no key"),
    UnauthenticatedError: Problem(
        401, "unauthenticated", "A key is needed", {"WWW-Authenticate": "Bearer"}
    ),
    ForbiddenError: Problem(403, "forbidden", "The key does not reach this far"),
    ForeignOriginError: Problem(403, "foreign-origin", "Another site sent this"),
    NoPageError: NOT_FOUND,
    UnknownModelError: NOT_FOUND,
    UnknownJobError: NOT_FOUND,
    UnknownVersionError: NOT_FOUND,
    FinishedJobError: Problem(409, "job-finished", "The job has ended"),
    VersionInUseError: Problem(409, "version-in-use", "The version must stay"),
    StaleGenerationError: Problem(
        412, "stale-generation", "The active version was set meanwhile"
    ),
    BodyTooLargeError: Problem(413, "too-large", "The body is too large", _CLOSE),
    MediaTypeError: Problem(
        415,
        "media-type",
        "The body's type is not read here",
        {"Accept-Post": "application/json, text/csv"},
    ),
    ContentCodingError: Problem(
        415,
        "content-coding",
        "The body may not be compressed",
        {"Accept-Encoding": "identity"},
    ),
    CsvError: INVALID,
    ValidationError: INVALID,
    RequestValidationError: INVALID,
    SingleClassError: Problem(422, "single-class", "Both labels are needed"),
    WorkBudgetError: Problem(422, "work-budget", "The training would take too long"),
    KeyReusedError: Problem(422, "key-reused", "The key belongs to another request"),
    PreconditionRequiredError: Problem(
        428, "precondition-required", "If-Match is needed"
    ),
    CallerLimitError: Problem(429, "caller-limit", "Too many jobs of this key", _RETRY),
    CallerStreamLimitError: Problem(
        429, "caller-stream-limit", "Too many streams of this key", _RETRY
    ),
    WrongKeysError: Problem(
        429, "wrong-keys", "Too many wrong keys", {"Retry-After": f"{MEMORY_SECONDS}"}
    ),
    QueueFullError: Problem(503, "queue-full", "Too many jobs wait", _RETRY),
    StreamLimitError: Problem(503, "stream-limit", "Too many streams", _RETRY),
    UploadBusyError: Problem(503, "upload-busy", "Another upload is read", _RETRY),
    NotReadyError: NOT_READY,
    NoVersionError: NOT_READY,
    DrainingError: Problem(503, "draining", "The process stops", _RETRY),
    ArtifactError: Problem(503, "damaged-version", "The version is damaged", _RETRY),
    DBAPIError: STORAGE,
    PoolTimeoutError: STORAGE,
    StoreError: STORAGE,
    UnsupportedError: Problem(501, "unsupported", "This is not served"),
    Exception: INTERNAL,
}
_SPEAKING: Final = tuple(  # whose messages are written for the client
    kind for kind in PROBLEMS if kind.__module__.startswith("app.")
)
METHOD: Final = Problem(405, "method-not-allowed", "The method is not allowed here")

BY_SLUG: Final = {
    problem.slug: problem
    for problem in (
        *PROBLEMS.values(),
        METHOD,
        NOT_HTTP,
        TOO_SLOW,
        HEAD_TOO_LARGE,
        TOO_MUCH_OVERHEAD,
        OVERLOADED,
    )
}
SHEDS: Final = sorted(
    slug for slug, p in BY_SLUG.items() if p.status in {429, STORAGE.status}
)


def install(app: FastAPI) -> None:
    """Make the app answer every exception of the table with its problem."""
    for error_type in PROBLEMS:
        app.add_exception_handler(error_type, answer)
    app.add_exception_handler(HTTPException, _answer_http)


def respond(
    request: HTTPConnection,
    problem: Problem,
    detail: str,
    errors: Sequence[Mapping[str, Any]] = (),
) -> Response:
    """Return the problem as a response; `detail` and `errors` never echo input."""
    request_id = request.scope["state"]["request_id"].decode()
    if problem.slug in SHEDS and not _path(request).endswith(_PROBES):
        request.scope["state"]["service"].metrics.count_shed(problem.slug)
    if problem is INTERNAL:
        request.scope["state"]["service"].metrics.count_bug()
    if _is_of_protocol(request):
        return _respond_in_protocol(problem, request_id, detail, errors)
    body = {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "instance": f"urn:offsetnet:request:{request_id}",
        "code": problem.slug,
        "request_id": request_id,
    }
    return Response(
        to_json(body | ({"errors": errors} if errors else {})),
        problem.status,
        problem.headers,
        "application/problem+json",
    )


def _respond_in_protocol(
    problem: Problem,
    request_id: str,
    detail: str,
    errors: Sequence[Mapping[str, Any]],
) -> Response:
    """Say it in one string, as the protocols do; they know no 422."""
    if errors:
        detail = f"{errors[0].get('pointer', '')}: {errors[0]['detail']}".lstrip(": ")
    body = {"error": detail, "code": problem.slug, "request_id": request_id}
    status = MALFORMED.status if problem.status == INVALID.status else problem.status
    headers = [(k.lower().encode(), v.encode()) for k, v in problem.headers.items()]
    return Json(to_json(body), status, headers)


async def answer(request: HTTPConnection, error: Exception) -> Response:
    """Answer an exception with its problem."""
    problem, errors = _find(type(error)), _errors(error)
    if problem is INVALID and errors[0]["code"] == "json_invalid":
        problem, detail, errors = MALFORMED, errors[0]["detail"], []
    elif problem is INVALID and errors[0].get("parameter") in request.path_params:
        problem, detail, errors = NOT_FOUND, "there is no such number", []
    elif errors or not isinstance(error, _SPEAKING):
        detail = problem.title
    else:
        detail = str(error)
    return respond(request, problem, detail, errors)


def is_bug(error: Exception) -> bool:
    """Tell whether nothing of the table but the last line fits."""
    return _find(type(error)) is INTERNAL


async def _answer_http(request: HTTPConnection, error: Exception) -> Response:
    """Answer what the router refuses: an unknown path or method."""
    problem = NOT_FOUND
    if getattr(error, "status_code", None) == HTTPStatus.METHOD_NOT_ALLOWED:
        problem = METHOD._replace(headers={"Allow": ", ".join(_methods(request))})
    phrase = HTTPStatus(problem.status).phrase
    return respond(
        request, problem, phrase if _is_of_protocol(request) else problem.title
    )


def _is_of_protocol(request: HTTPConnection) -> bool:
    return f"{_path(request)}/".startswith(_PROTOCOLS)


def _path(request: HTTPConnection) -> str:
    """Return the path below the prefix."""
    path: str = with_prefix_once(request.scope)["path"]
    return path.removeprefix(request.scope.get("root_path", ""))


def _methods(request: HTTPConnection) -> list[str]:
    """Return every method of the path, where the router tells one route's only."""
    routes = [
        route
        for route in request.app.routes
        if route.matches(request.scope)[0] is not Match.NONE
    ]
    each = (getattr(route, "methods", None) or set() for route in routes)
    methods = set().union(*each) or {"GET"}  # a file below /static matches none
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _find(error_type: type[Exception]) -> Problem:
    """Return the problem of the nearest class in the table."""
    return next(PROBLEMS[base] for base in error_type.__mro__ if base in PROBLEMS)


def _errors(error: Exception) -> list[dict[str, Any]]:
    """Return the first faults, each with where it is, its code, and a sentence."""
    if isinstance(error, CsvError):
        return [fault._asdict() for fault in error.errors]
    if isinstance(error, ValidationError):
        faults = error.errors(
            include_url=False, include_context=False, include_input=False
        )
        return [_fault(fault, _pointer(fault)) for fault in faults[:MAX_ERRORS]]
    if isinstance(error, RequestValidationError):
        return [
            _fault(fault, _parameter(fault)) for fault in error.errors()[:MAX_ERRORS]
        ]
    return []


def _fault(fault: Mapping[str, Any], where: Mapping[str, str]) -> dict[str, Any]:
    return {**where, "code": fault["type"], "detail": fault["msg"]}


def _known(fault: Mapping[str, Any]) -> tuple[int | str, ...]:
    """Return the fault's place, without the name of a key that is not ours."""
    place = tuple(fault["loc"])
    return place[:-1] if fault["type"] == "extra_forbidden" else place


def _pointer(fault: Mapping[str, Any]) -> dict[str, str]:
    return {"pointer": "".join(f"/{part}" for part in _known(fault))}


def _parameter(fault: Mapping[str, Any]) -> dict[str, str]:
    _, *name = _known(fault)
    return {"parameter": str(name[0])} if name else {}
