"""Request bodies as bytes: their type, their coding, their bound."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from email.message import Message
from typing import Final

from starlette.requests import Request

MAX_JSON_BYTES: Final = 256 * 1024
MAX_CSV_BYTES: Final = 64 * 1024 * 1024
LARGE_BYTES: Final = 1024 * 1024
CSV_TYPE: Final = "text/csv"
JSON_TYPE: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"

_SLICE_BYTES: Final = 16 * 1024  # some milliseconds of reading CSV


class BodyTooLargeError(Exception):
    """The body passes its bound."""


class MediaTypeError(Exception):
    """The body is of a type that the route does not read."""


class ContentCodingError(Exception):
    """The body is compressed."""


class UploadBusyError(Exception):
    """Another large upload is under way in this process."""


class Uploads:
    """Lets one large upload in at a time, which bounds what they hold in memory."""

    def __init__(self) -> None:
        """Start without any."""
        self._has_large = False

    @contextmanager
    def turn(self, request: Request) -> Iterator[None]:
        """Take the turn of a large upload; a small one needs none.

        Raises:
            UploadBusyError: Another large one has the turn.
        """
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) <= LARGE_BYTES:
            yield
            return
        if self._has_large:
            raise UploadBusyError("another large upload is under way")
        self._has_large = True
        try:
            yield
        finally:
            self._has_large = False


def media_type(request: Request) -> str:
    """Return the body's media type, in lower case, "" where none is given.

    Raises:
        MediaTypeError: The charset is not UTF-8.
        ContentCodingError: The body has a content coding.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ContentCodingError("send the body without a content coding")
    given = request.headers.get("content-type")
    if given is None:
        return ""
    message = Message()
    message["content-type"] = given
    charset = message.get_param("charset", "utf-8")
    if not isinstance(charset, str) or charset.lower() not in {"utf-8", "utf8"}:
        raise MediaTypeError("the charset must be utf-8")
    return message.get_content_type() if "/" in given else ""


async def read(request: Request, max_bytes: int) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLargeError: It passes the bound; the rest is not read.
    """
    return b"".join([chunk async for chunk in slices(request, max_bytes)])


async def slices(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body as it arrives, in slices of 16 KiB at most.

    Raises:
        BodyTooLargeError: It passes the bound; the rest is not read.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > max_bytes:
        raise BodyTooLargeError(f"the body may have {max_bytes} bytes")
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLargeError(f"the body may have {max_bytes} bytes")
        for start in range(0, len(chunk), _SLICE_BYTES):
            yield chunk[start : start + _SLICE_BYTES]
