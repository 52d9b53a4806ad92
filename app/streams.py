"""The streams: a job followed by Server-Sent Events until it ends.

Every event carries the whole job, and its id is the job's revision, so nothing needs
to be replayed: whoever reconnects is sent what is newer than what was seen.

References:
    WHATWG, HTML, section 9.2, Server-sent events.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.bodies import EVENT_STREAM
from app.desk import Desk
from app.drain import Drain
from app.job_views import Job
from app.job_words import FINAL
from app.jobs import Jobs
from app.settings import Settings
from app.store import StoreError

LOOK_SECONDS: Final = 0.5
STREAM_SECONDS: Final = 1800.0  # then the client comes back

Row = Mapping[str, Any]

_PING: Final = b": ping\n\n"
_DRAINING: Final = b"event: draining\ndata: {}\n\n"


class StreamLimitError(Exception):
    """As many streams are open as may be."""


class CallerStreamLimitError(Exception):
    """As many streams of this caller are open as may be."""


class Streams:
    """The open streams of one process."""

    def __init__(self, jobs: Jobs, drain: Drain, settings: Settings) -> None:
        """Take the bounds from the settings."""
        self._jobs, self._drain = jobs, drain
        self._limit = settings.streams_limit
        self._caller_limit = settings.caller_streams_limit
        self._ping_seconds = settings.ping_seconds
        self._desk = Desk(waiting=None)  # each stream asks once at a time
        self._open: Counter[str] = Counter()

    async def follow(self, job_id: int, last_event_id: str, caller: str) -> Response:
        """Return a job's stream, from what the client has not seen.

        Args:
            job_id: Whose.
            last_event_id: Of the client; what is no number of ours is as none.
            caller: Whom the stream counts for.

        Raises:
            UnknownJobError: There is no such job.
        """
        row = await self._desk.ask(self._jobs.get, job_id)
        seen = int(last_event_id) if _is_number(last_event_id) else 0
        if row["state"] in FINAL and seen == row["revision"]:
            return Response(status_code=204)
        seen = seen if seen <= row["revision"] else 0  # a greater one is not ours
        return _Stream(self._events(job_id, seen), self, caller)

    @contextmanager
    def slot(self, caller: str) -> Iterator[None]:
        """Count a stream while it is open.

        Raises:
            StreamLimitError, CallerStreamLimitError: There are too many.
        """
        if self._open.total() >= self._limit:
            raise StreamLimitError(f"{self._limit} streams are open")
        if caller and self._open[caller] >= self._caller_limit:
            raise CallerStreamLimitError(f"{self._caller_limit} of this key are open")
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1

    async def _events(self, job_id: int, seen: int) -> AsyncIterator[bytes]:
        told = time.monotonic()
        end, news = told + STREAM_SECONDS, _News(partial(self._newer, job_id))
        while time.monotonic() < end:
            row = await news.since(seen)
            if row:
                seen, told = row["revision"], time.monotonic()
                yield _event(row)
                if row["state"] in FINAL:
                    return
            if self._drain.has_begun:
                yield _DRAINING
                return
            if time.monotonic() - told > self._ping_seconds:
                told = time.monotonic()
                yield _PING
            await self._drain.wait(LOOK_SECONDS)

    async def _newer(self, job_id: int, seen: int) -> Row | None:
        """Look for news; none come while the store does not answer."""
        with suppress(SQLAlchemyError, StoreError):
            return await self._desk.ask(self._jobs.newer, job_id, seen)
        return None


class _News:
    """Looks for a job's news, once at a time; neither pings nor the end wait for it."""

    def __init__(self, look: Callable[[int], Awaitable[Row | None]]) -> None:
        self._begin = look
        self._look: asyncio.Future[Row | None] | None = None

    async def since(self, seen: int) -> Row | None:
        """Return the job where it is newer and the store answers soon."""
        look = self._look = self._look or asyncio.ensure_future(self._begin(seen))
        await asyncio.wait({look}, timeout=LOOK_SECONDS)
        if not look.done():
            return None
        self._look = None
        return look.result()


class _Stream(StreamingResponse):
    """An answer that holds a slot while it lasts, however it ends."""

    def __init__(
        self, events: AsyncIterator[bytes], streams: Streams, caller: str
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, headers=headers, media_type=EVENT_STREAM)
        self._streams, self._caller = streams, caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._streams.slot(self._caller), suppress(TimeoutError):
            async with asyncio.timeout(2 * STREAM_SECONDS):  # it is not even read
                await super().__call__(scope, receive, send)


def _event(row: Row) -> bytes:
    name = row["state"] if row["state"] in FINAL else "progress"
    job = Job.of(row).model_dump_json()
    return f"id: {row['revision']}\nevent: {name}\ndata: {job}\n\n".encode()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10  # noqa: PLR2004
