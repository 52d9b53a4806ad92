"""The pages for people, from the package's own files: the first one, and Swagger UI."""

import asyncio
import re
from functools import lru_cache
from html import escape
from importlib.resources import files
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Response
from starlette.responses import JSONResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from app.bodies import JSON_TYPE, Json, RawRequest
from app.prefix import described, published
from app.routing import DocsRoute

STATIC: Final = files("app").joinpath("static")
HTML_TYPE: Final = "text/html"

_REFUSED: Final = r"q\s*=\s*0(\.0*)?"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'%s; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OF_FILES: Final = {
    "Cache-Control": "no-cache",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Accept-Ranges": "none",
}
_OF_PAGES: Final = {
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def home(accept: str, index: bytes, scope: Scope) -> Response:
    """Answer a browser with the page, and everybody else with the index.

    Below a prefix the page says what its links are relative to: a proxy may publish it
    with and without the slash at the end.
    """
    vary = [(b"vary", b"Accept")]
    if not _names_html(accept):
        return Json(index, headers=vary)
    content, policy, base = _read("page.html"), _POLICY % "", published(scope, "/")
    if base != "/":
        element = f'<head><base href="{escape(base)}">'.encode()
        content = content.replace(b"<head>", element, 1)
        policy = policy.replace("base-uri 'none'", "base-uri 'self'")
    response = _page(content, policy)
    response.raw_headers += vary
    return response


docs = APIRouter(route_class=DocsRoute, include_in_schema=False)


@docs.get("/docs")
async def show_docs(request: RawRequest) -> Response:
    """Show Swagger UI."""
    del request
    return _page(_read("docs.html"), _POLICY % " 'unsafe-inline'")


@docs.get("/openapi.json")
async def show_openapi(request: RawRequest) -> Response:
    """Return the OpenAPI document."""
    prefix = request.scope.get("root_path", "")
    return _Shared(await asyncio.to_thread(_document, request.app, prefix))


class _Shared(Response):
    """JSON that all who wait for it share; what is sent whole is copied for each."""

    media_type = JSON_TYPE


@lru_cache(maxsize=4)
def _document(app: FastAPI, prefix: str) -> bytes:
    """Return the document as bytes, written once."""
    return bytes(JSONResponse(described({"root_path": prefix}, app.openapi())).body)


class _Files(StaticFiles):
    """Files that a browser keeps, and asks for again: an update may change them.

    They are small, so a part of one is not asked for in earnest: each is sent whole.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as if no range had been asked for."""
        headers = [pair for pair in scope["headers"] if pair[0] != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return the file, or that it is still the same."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(_OF_FILES)
        return response


ROUTES: Final[list[Any]] = [
    *docs.routes,
    Mount("/static", _Files(packages=[("app", "static")]), name="static"),
]


def _read(name: str) -> bytes:
    return STATIC.joinpath(name).read_bytes()


def _page(content: bytes, policy: str) -> Response:
    headers = {"Content-Security-Policy": policy, **_OF_PAGES}
    return Response(content, headers=headers, media_type=HTML_TYPE)


def _names_html(accept: str) -> bool:
    """Whether `Accept` has text/html by name, and not only to refuse it."""
    ranges = ([*map(str.strip, one.lower().split(";"))] for one in accept.split(","))
    return any(
        kind == HTML_TYPE and not any(re.fullmatch(_REFUSED, one) for one in rest)
        for kind, *rest in ranges
    )
