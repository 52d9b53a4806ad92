"""The documentation page: Swagger UI from the package's own files."""

import asyncio
from importlib.resources import files
from typing import Any, Final

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from app.bodies import RawRequest
from app.prefix import described
from app.routing import DocsRoute

STATIC: Final = files("app").joinpath("static")
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

docs = APIRouter(route_class=DocsRoute, include_in_schema=False)


@docs.get("/docs")
async def show_docs(request: RawRequest) -> Response:
    """Show Swagger UI."""
    del request
    return Response(
        STATIC.joinpath("docs.html").read_bytes(),
        headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY},
        media_type="text/html",
    )


@docs.get("/openapi.json")
async def show_openapi(request: RawRequest) -> Response:
    """Return the OpenAPI document."""
    document = await asyncio.to_thread(request.app.openapi)
    return JSONResponse(described(request.scope, document))


ROUTES: Final[list[Any]] = [
    *docs.routes,
    Mount("/static", StaticFiles(packages=[("app", "static")]), name="static"),
]
