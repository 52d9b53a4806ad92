"""The path under which a proxy publishes the service: the server's `root_path`."""

from typing import Any

from starlette.types import Scope


def with_prefix_once(scope: Scope) -> Scope:
    """Return a request whose path has the prefix once, as the router expects it.

    The server puts it before every path, also where the proxy did not strip it.
    """
    prefix = scope.get("root_path", "")
    path = scope["path"].removeprefix(prefix)
    if not prefix or not f"{path}/".startswith(f"{prefix}/"):
        return scope
    return {**scope, "path": f"{prefix}/" if path == prefix else path}


def published(scope: Scope, path: str) -> str:
    """Return one of the service's paths as it is seen from outside."""
    return f"{scope.get('root_path', '')}{path}"


def described(scope: Scope, document: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI document with the server that its paths stand below."""
    prefix = scope.get("root_path", "")
    return {**document, "servers": [{"url": prefix}]} if prefix else document
