"""Who may do what: scopes, keys, and the origins and hosts that browsers send.

Two scopes need a key where one is configured: `predict` (predicting, reading jobs and
models) and `admin` (everything that changes state). An admin key opens both.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping, MutableMapping
from enum import Enum
from functools import lru_cache
from typing import Final, NoReturn

from starlette.types import Scope as Connection

from app.settings import Settings
from app.wrong_keys import WrongKeys

LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
KEY_HEADERS: Final = (b"authorization", b"x-api-key")


class Scope(Enum):
    """What a route asks of its caller."""

    OPEN = "open"
    DOCS = "docs"
    PREDICT = "predict"
    ADMIN = "admin"


class UnauthenticatedError(Exception):
    """No key was sent, or a wrong one."""


class ForbiddenError(Exception):
    """The key does not reach this far."""


class ForeignOriginError(Exception):
    """Another site's page sent this request."""


class ForeignHostError(Exception):
    """The Host is not a name of this machine's loopback."""


def settle_doubled(
    sent: Iterable[tuple[bytes, bytes]], headers: MutableMapping[bytes, bytes]
) -> None:
    """Let a request pass that names one host; of two keys in one header take none.

    Args:
        sent: Its headers, as they came.
        headers: The same, each with one value.

    Raises:
        ForeignHostError: It names several, of which a proxy may have seen another.
    """
    names = [name for name, _ in sent]
    if names.count(b"host") > 1:
        raise ForeignHostError("there must be one Host")
    for name in KEY_HEADERS:
        if names.count(name) > 1:
            headers[name] = b""


class Guard:
    """Decides from the headers and the local address of a connection."""

    def __init__(self, settings: Settings) -> None:
        """Keep the digests of the configured keys."""
        self._wrong_keys = WrongKeys(settings.wrong_keys_limit)
        self._admin = frozenset(map(_digest, settings.all_admin_keys()))
        self._predict = frozenset(map(_digest, settings.all_predict_keys()))
        self._has_open_docs = settings.public_docs
        self._hosts = LOCAL_HOSTS | {host.lower() for host in settings.allowed_hosts}
        self.check_host = lru_cache(maxsize=64)(self._check_host)  # keeps no refusal

    def is_open(self, scope: Scope) -> bool:
        """Tell whether a route asks nothing of its caller, as things are set."""
        if scope is Scope.PREDICT:
            return not self._predict
        return scope is Scope.OPEN or (scope is Scope.DOCS and self._has_open_docs)

    def check(
        self, scope: Scope, connection: Connection, headers: Mapping[bytes, bytes]
    ) -> None:
        """Let the caller of a route pass, or say why not.

        Raises:
            UnauthenticatedError: A key is needed and none that fits was sent.
            WrongKeysError: Likewise, and many came from there before.
            ForbiddenError: The key is for predicting only.
            ForeignOriginError: A change of state is asked for by another site.
        """
        if scope is Scope.ADMIN:
            _check_origin(headers)
            self._check_admin(connection, headers)
        elif not self.is_open(scope):
            self._check_predict(connection, headers)

    def caller(self, headers: Mapping[bytes, bytes]) -> str:
        """Name the caller by the digest of its key; "" where none is configured."""
        digest = _digest(_sent_key(headers) or b"")
        return digest.hex()[:32] if digest in self._admin | self._predict else ""

    def _check_host(self, server: tuple[str, int] | None, host: bytes) -> None:
        """Refuse a foreign name on a loopback connection (DNS rebinding).

        Raises:
            ForeignHostError: The Host is not among the allowed ones.
        """
        name = _without_port(host.decode("latin-1").lower())
        if _is_loopback(server) and name not in self._hosts:
            raise ForeignHostError(
                "this Host is not answered on loopback; "
                "OFFSETNET_ALLOWED_HOSTS adds names"
            )

    def _check_admin(
        self, connection: Connection, headers: Mapping[bytes, bytes]
    ) -> None:
        if not self._admin:
            if _is_loopback(connection["server"]) and not _is_forwarded(headers):
                return
            raise UnauthenticatedError(
                "without OFFSETNET_ADMIN_KEY this works on loopback only"
            )
        key = _sent_key(headers)
        if _is_among(key, self._predict) and not _is_among(key, self._admin):
            raise ForbiddenError("this key may predict and read only")
        if not _is_among(key, self._admin):
            self._refuse(key, connection)

    def _check_predict(
        self, connection: Connection, headers: Mapping[bytes, bytes]
    ) -> None:
        key = _sent_key(headers)
        if not _is_among(key, self._predict | self._admin):
            self._refuse(key, connection)

    def _refuse(self, key: bytes | None, connection: Connection) -> NoReturn:
        if key is not None:
            self._wrong_keys.count(connection["client"])
        raise UnauthenticatedError("a valid key is needed")


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _is_among(key: bytes | None, digests: Iterable[bytes]) -> bool:
    """Compare in constant time, with every digest."""
    digest = _digest(key or b"")
    matches = [hmac.compare_digest(digest, known) for known in digests]
    return key is not None and any(matches)


def _sent_key(headers: Mapping[bytes, bytes]) -> bytes | None:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return token.strip()
    return headers.get(b"x-api-key")


def _check_origin(headers: Mapping[bytes, bytes]) -> None:
    if headers.get(b"sec-fetch-site") == b"cross-site":
        raise ForeignOriginError("a page of another site may not change anything here")
    origin = headers.get(b"origin")
    if origin is not None and origin.partition(b"://")[2] != headers.get(b"host"):
        raise ForeignOriginError("the Origin is not this server")


def _is_forwarded(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a proxy passes somebody else's request on."""
    return b"x-forwarded-for" in headers or b"forwarded" in headers


def _is_loopback(server: tuple[str, int] | None) -> bool:
    return server is not None and _is_loopback_address(server[0])


@lru_cache(maxsize=64)
def _is_loopback_address(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
