"""What the endpoints share: their routers, parameters, and how a query is read."""

from functools import cache
from operator import attrgetter
from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Depends, Path
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ValidationError
from starlette.requests import HTTPConnection

from app.bodies import RawRequest
from app.routing import OpenRoute, Service, service_of
from app.schemas import plain_number

QueryT = TypeVar("QueryT", bound=BaseModel)


def router(route_class: type[OpenRoute], *tags: str) -> APIRouter:
    """Return a router whose operations have their endpoints' names."""
    name = attrgetter("name")
    return APIRouter(
        route_class=route_class, tags=[*tags], generate_unique_id_function=name
    )


def read_query(request: RawRequest, schema: type[QueryT]) -> QueryT:
    """Read the query parameters; their errors are told as FastAPI tells them."""
    if not request.scope["query_string"]:
        return _empty(schema)  # type: ignore[no-any-return] # what the schema makes
    try:
        return schema.model_validate_strings(dict(request.query_params))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        located = [{**one, "loc": ("query", *one["loc"])} for one in details]
        raise RequestValidationError(located) from error


def caller(request: HTTPConnection) -> str:
    """Return who asks, by the key's digest; "" for everybody without one."""
    guard = service_of(request).guard
    return guard.caller(request.scope["state"]["headers"])


async def _service(request: HTTPConnection) -> Service:
    """Return the service here: FastAPI would call what is not async in a thread."""
    return service_of(request)


TheService = Annotated[Service, Depends(_service)]
Number = Annotated[int, BeforeValidator(plain_number), Path(ge=1)]

_empty: Final = cache(lambda schema: schema())
