"""Problems as answers: a response for each exception, in the words of the protocol."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from app.bodies import Json
from app.errors import (
    INTERNAL,
    INVALID,
    MALFORMED,
    METHOD,
    NOT_FOUND,
    PROBLEMS,
    SHEDS,
    SPEAKING,
    Problem,
    problem_of,
)
from app.prefix import with_prefix_once
from model import CsvError

MAX_ERRORS: Final = 20

_PROBLEM_TYPE: Final = b"application/problem+json"
_PROTOCOLS: Final = ("/v1/", "/v2/")  # in which errors are one string
_PROBES: Final = ("/readyz", "/ready", "/v1/models/offsetnet")  # which nobody misses


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
    """Return the problem as a response, counted where somebody should look at it."""
    metrics, path = request.scope["state"]["service"].metrics, _path(request.scope)
    if problem.slug in SHEDS and not path.endswith(_PROBES):
        metrics.count_shed(problem.slug)
    if problem is INTERNAL:
        metrics.count_bug()
    request_id = request.scope["state"]["request_id"].decode()
    say = say_in_protocol if is_of_protocol(request.scope) else say_in_json
    return say(problem, request_id, detail, errors)


def say_in_json(
    problem: Problem,
    request_id: str,
    detail: str,
    errors: Sequence[Mapping[str, Any]] = (),
) -> Json:
    """Say it as RFC 9457 does; `detail` and `errors` never echo input."""
    body = {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "instance": f"urn:offsetnet:request:{request_id}",
        "code": problem.slug,
        "request_id": request_id,
    }
    content = to_json({**body, "errors": errors} if errors else body)
    return Json(content, problem.status, problem.headers, _PROBLEM_TYPE)


def say_in_protocol(
    problem: Problem,
    request_id: str,
    detail: str,
    errors: Sequence[Mapping[str, Any]] = (),
) -> Json:
    """Say it in one string, as the protocols do; they know no 422."""
    if errors:
        detail = f"{errors[0].get('pointer', '')}: {errors[0]['detail']}".lstrip(": ")
    body = {"error": detail, "code": problem.slug, "request_id": request_id}
    status = MALFORMED.status if problem.status == INVALID.status else problem.status
    return Json(to_json(body), status, problem.headers)


def is_of_protocol(scope: Scope) -> bool:
    """Tell whether a request is one of the standard protocols', by its path."""
    return f"{_path(scope)}/".startswith(_PROTOCOLS)


async def answer(request: HTTPConnection, error: Exception) -> Response:
    """Answer an exception with its problem."""
    problem, errors = problem_of(error), _errors(error)
    if problem is INVALID and errors[0]["code"] == "json_invalid":
        problem, detail, errors = MALFORMED, errors[0]["detail"], []
    elif problem is INVALID and errors[0].get("parameter") in request.path_params:
        problem, detail, errors = NOT_FOUND, "there is no such number", []
    elif errors or not isinstance(error, SPEAKING):
        detail = problem.title
    else:
        detail = str(error)
    return respond(request, problem, detail, errors)


async def _answer_http(request: HTTPConnection, error: Exception) -> Response:
    """Answer what the router refuses: an unknown path or method."""
    problem = NOT_FOUND
    if getattr(error, "status_code", None) == HTTPStatus.METHOD_NOT_ALLOWED:
        problem = METHOD._replace(
            headers=((b"allow", ", ".join(_methods(request)).encode()),)
        )
    phrase = HTTPStatus(problem.status).phrase
    return respond(
        request, problem, phrase if is_of_protocol(request.scope) else problem.title
    )


def _path(scope: Scope) -> str:
    """Return the path below the prefix."""
    path: str = with_prefix_once(scope)["path"]
    return path.removeprefix(scope.get("root_path", ""))


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
