"""Request bodies as bytes: their type, their coding, their bound."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from functools import lru_cache
from typing import Final

from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Header = tuple[bytes, bytes]

MAX_JSON_BYTES: Final = 256 * 1024
MAX_CSV_BYTES: Final = 64 * 1024 * 1024
SMALL_BYTES: Final = 4 * 1024  # costs hardly more to answer than to refuse
LARGE_BYTES: Final = 1024 * 1024
CSV_TYPE: Final = "text/csv"
JSON_TYPE: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"
TEXT_TYPE: Final = "text/plain"

_TOO_LARGE: Final = "the body may have %s bytes"
_SLICE_BYTES: Final = 8 * 1024  # some milliseconds of reading CSV


class BodyTooLargeError(Exception):
    """The body passes its bound."""


class MediaTypeError(Exception):
    """The body is of a type that the route does not read."""


class ContentCodingError(Exception):
    """The body is compressed."""


class TransferCodingError(Exception):
    """The body is coded on its way otherwise than in chunks."""


class UploadBusyError(Exception):
    """Another large upload is under way in this process."""


class RawRequest(HTTPConnection):
    """A request whose body is read here, which Starlette's does not need to."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        """Take what the server gives; a connection is its scope."""
        self.scope = scope
        self.receive = receive


class Uploads:
    """Lets one large upload in at a time, which bounds what they hold in memory."""

    def __init__(self) -> None:
        """Start without any."""
        self._has_large = False

    @contextmanager
    def turn(self, request: RawRequest) -> Iterator[None]:
        """Take the turn of a large upload; a small one needs none.

        Raises:
            UploadBusyError: Another large one has the turn.
        """
        declared = request.scope["state"]["headers"].get(b"content-length")
        if declared is not None and int(declared) <= LARGE_BYTES:
            yield
            return
        if self._has_large:
            raise UploadBusyError("another large upload is under way")
        self._has_large = True
        try:
            yield
        finally:
            self._has_large = False


class Json(Response):
    """An answer of JSON bytes, without what Starlette looks at for all others."""

    def __init__(
        self,
        body: bytes,
        status_code: int = 200,
        headers: Iterable[Header] = (),
        media_type: bytes = b"application/json",
    ) -> None:
        """Take the body and, in lower case, further headers."""
        self.body, self.status_code, self.background = body, status_code, None
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", media_type),
            *headers,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; only the server needs to know more of the request."""
        del scope, receive
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await send({"type": "http.response.body", "body": self.body})


def media_type(request: RawRequest) -> str:
    """Return the body's media type, in lower case, "" where none is given.

    Raises:
        MediaTypeError: The charset is not UTF-8.
        ContentCodingError: The body has a content coding.
    """
    refuse_coding(request)
    headers = request.scope["state"]["headers"]
    return _parse_type(headers.get(b"content-type", b""))


def refuse_coding(request: RawRequest) -> None:
    """Let a body pass that is as it is.

    Raises:
        ContentCodingError: It has a content coding.
    """
    coding = request.scope["state"]["headers"].get(b"content-encoding")
    if coding is not None and coding.lower() != b"identity":
        raise ContentCodingError("send the body without a content coding")


@lru_cache(maxsize=64)
def _parse_type(header: bytes) -> str:
    given = header.decode("latin-1")
    message = Message()
    message["content-type"] = given
    charset = message.get_param("charset", "utf-8")
    if not isinstance(charset, str) or charset.lower() not in {"utf-8", "utf8"}:
        raise MediaTypeError("the charset must be utf-8")
    return message.get_content_type() if "/" in given else ""


async def read(request: RawRequest, max_bytes: int) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLargeError: It passes the bound; the rest is not read.
        ClientDisconnect: The client left before its end.
    """
    state = request.scope["state"]
    if _declared_bytes(state["headers"]) > max_bytes:
        raise BodyTooLargeError(_TOO_LARGE % max_bytes)
    body: bytes = b""
    while True:  # mostly once
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message["body"]
        if len(body) > max_bytes:
            raise BodyTooLargeError(_TOO_LARGE % max_bytes)
        if not message["more_body"]:
            if len(body) > SMALL_BYTES and "came" in state:
                state["service"].admission.note(state["came"])
            return body


async def slices(request: RawRequest, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body as it arrives, in slices of 8 KiB at most.

    Raises:
        BodyTooLargeError: It passes the bound; the rest is not read.
        ClientDisconnect: The client left before its end.
    """
    if _declared_bytes(request.scope["state"]["headers"]) > max_bytes:
        raise BodyTooLargeError(_TOO_LARGE % max_bytes)
    size, has_more = 0, True
    while has_more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body, has_more = message["body"], message["more_body"]
        size += len(body)
        if size > max_bytes:
            raise BodyTooLargeError(_TOO_LARGE % max_bytes)
        for start in range(0, len(body), _SLICE_BYTES):
            yield body[start : start + _SLICE_BYTES]


def _declared_bytes(headers: Mapping[bytes, bytes]) -> int:
    """Return the length that is declared, 0 for chunks.

    Raises:
        TransferCodingError: The chunks are of something that is coded.
    """
    length = headers.get(b"content-length")
    if length is not None:
        return int(length)
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise TransferCodingError("send the body as it is, or in chunks")
    return 0
