"""The pages for people, from the package's own files: the first one, and Swagger UI."""

import asyncio
import re
from importlib.resources import files
from typing import Any, Final

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from app.bodies import Json, RawRequest
from app.prefix import described
from app.routing import DocsRoute

STATIC: Final = files("app").joinpath("static")
HTML_TYPE: Final = "text/html"

_REFUSED: Final = r"q\s*=\s*0(\.0*)?"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'%s; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def home(accept: str, index: bytes) -> Response:
    """Answer a browser with the page, and everybody else with the index."""
    vary = [(b"vary", b"Accept")]
    if not _names_html(accept):
        return Json(index, headers=vary)
    response = _page("page.html", _POLICY % "")
    response.raw_headers += vary
    return response


docs = APIRouter(route_class=DocsRoute, include_in_schema=False)


@docs.get("/docs")
async def show_docs(request: RawRequest) -> Response:
    """Show Swagger UI."""
    del request
    return _page("docs.html", _POLICY % " 'unsafe-inline'")


@docs.get("/openapi.json")
async def show_openapi(request: RawRequest) -> Response:
    """Return the OpenAPI document."""
    document = await asyncio.to_thread(request.app.openapi)
    return JSONResponse(described(request.scope, document))


ROUTES: Final[list[Any]] = [
    *docs.routes,
    Mount("/static", StaticFiles(packages=[("app", "static")]), name="static"),
]


def _page(name: str, policy: str) -> Response:
    content = STATIC.joinpath(name).read_bytes()
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    return Response(content, headers=headers, media_type=HTML_TYPE)


def _names_html(accept: str) -> bool:
    """Whether `Accept` has text/html by name, and not only to refuse it."""
    ranges = ([*map(str.strip, one.lower().split(";"))] for one in accept.split(","))
    return any(
        kind == HTML_TYPE and not any(re.fullmatch(_REFUSED, one) for one in rest)
        for kind, *rest in ranges
    )
