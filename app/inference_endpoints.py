"""What the endpoints of the standard protocols share: paths, and how a model is named.

The protocols serve one model by its name, on the path of every other prediction.
Errors are `{"error": ...}` here, which these protocols' clients read.
"""

from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.routing import APIRoute
from pydantic_core import to_json

from app.bodies import Json, RawRequest
from app.inference_errors import UnknownModelError
from app.inference_schemas import MODEL_NAME
from app.registry import ServedModel
from app.routing import pinned, service_of
from app.schemas import plain_number

MODEL: Final = "/v2/models/{name}"
VERSION: Final = MODEL + "/versions/{version}"
ALIAS: Final[Any] = {"include_in_schema": False}  # of a route that stands there


def _name(route: APIRoute) -> str:
    """Return the operation's id: the protocol's version and the endpoint's name."""
    name = route.name.removesuffix("_v1")
    of_version = "_of_version" if "{version}" in route.path else ""
    return f"{route.path[1:3]}_{name}{of_version}"


router: Final = partial(APIRouter, generate_unique_id_function=_name)


def to_answer(content: Any) -> Response:
    """Return what is told as JSON."""
    return Json(to_json(content))


def check_names(request: RawRequest) -> int | None:
    """Return the version that the path names, if it names one.

    Raises:
        UnknownModelError: The path names another model.
    """
    names = request.path_params
    if names.get("name", MODEL_NAME) != MODEL_NAME:
        raise UnknownModelError(f"there is one model here, {MODEL_NAME}")
    return int(plain_number(names["version"])) if "version" in names else None


async def model_of(request: RawRequest) -> ServedModel:
    """Return the version that the path names, else the one that serves."""
    version = check_names(request)
    active = service_of(request).registry.active
    return active if version is None else await pinned(request, version, active)


async def tell_ready(request: RawRequest) -> Response:
    """Tell whether the model, or the version that the path names, answers."""
    await model_of(request)
    service_of(request).drain.refuse_if_begun()
    return to_answer({"name": MODEL_NAME, "ready": True})
