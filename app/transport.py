"""The transport: uvicorn's HTTP protocol, with bounds on what a client may hold up.

uvicorn closes neither silent nor half-sent connections, and keeps what it is sent until
a head ends. Here two looks a second at each connection cut what stands still, and the
head of a request is bounded. All that a usual request costs more is the time at which
it came and a few comparisons.
"""

import logging
import secrets
from asyncio import TimerHandle
from asyncio import Transport as Connection
from time import perf_counter
from typing import Any, Final, NamedTuple, Self

import httptools
from starlette.requests import HTTPConnection
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.errors import HEAD_TOO_LARGE, NOT_HTTP, TOO_SLOW, Problem, respond
from app.settings import Settings

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_HEADERS: Final = 64
MAX_URL_BYTES: Final = 4 * 1024
LOOK_SECONDS: Final = 0.5
LOG_SECONDS: Final = 10.0
BYTES_A_SECOND: Final = 1024 * 1024  # which give a body more time
MAX_IGNORED_BYTES: Final = 1024 * 1024  # so that the client gets to read its answer

logger = logging.getLogger(__name__)


class Patience(NamedTuple):
    """How long a connection is waited for, in seconds.

    Attributes:
        idle: For a whole head, the next part of a body, or the next request.
        request: For a whole request, and a second more for each MiB of its body.
        stall: For a client that reads nothing of its answer.
    """

    idle: float
    request: float
    stall: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Take them from the settings."""
        return cls(
            settings.client_idle_seconds,
            settings.client_request_seconds,
            settings.client_stall_seconds,
        )


class HeadTooLargeError(Exception):
    """The head of a request passes a bound."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection of a client."""

    _quiet_until = 0.0  # no line about bad requests before, of any connection

    def connection_made(self, transport: Connection) -> None:  # type: ignore[override] # uvicorn narrows it alike
        """Begin to look."""
        super().connection_made(transport)
        self._patience: Patience = self.app_state["patience"]
        self._began = self._heard = self._flowed = perf_counter()
        self._is_refused = False
        self._size = self._head_bytes = self._body_bytes = self._unsent = 0
        self._looking: TimerHandle = self.loop.call_later(LOOK_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of one request, or of several."""
        if self._is_refused:
            self._ignore(data)
            return
        self._heard, self._size = perf_counter(), len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an offer that nobody needs to take
        except httptools.HttpParserError as error:
            is_large = isinstance(error.__context__, HeadTooLargeError)
            self._refuse(HEAD_TOO_LARGE if is_large else NOT_HTTP)
            return
        scope: Any = self.scope  # None before the first request
        if scope is not None and "method" in scope:  # its head has ended
            self._head_bytes = 0
            self._body_bytes += self._size
            scope["state"]["came"] = self._heard
            return
        if not self._head_bytes:
            self._began = self._heard
        self._head_bytes += self._size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Start a request whose head is within its bounds.

        Raises:
            HeadTooLargeError: It is not; nothing is started.
        """
        if len(self.url) > MAX_URL_BYTES or len(self.headers) > MAX_HEADERS:
            raise HeadTooLargeError
        if self._head_bytes + self._size > MAX_HEAD_BYTES:  # with more than the head?
            exact = sum(len(name) + len(value) + 4 for name, value in self.headers)
            if exact > MAX_HEAD_BYTES:
                raise HeadTooLargeError
        self._began, self._body_bytes = self._heard, 0
        super().on_headers_complete()

    def _look(self) -> None:
        """Cut the connection where its client keeps it waiting too long."""
        cycle: Any = self.cycle  # None before the first request
        now = perf_counter()
        self._looking = self.loop.call_later(LOOK_SECONDS, self._look)
        if self._is_stalled(now):
            self.transport.abort()
        elif self._is_refused:
            self.transport.close()
        elif self.transport.is_closing():
            pass  # what is left to send is sent
        elif cycle is None or cycle.response_complete:
            self._look_at_next(now)
        elif cycle.more_body and not self.flow.read_paused:
            if self._is_late(now, self._heard) or self._is_over(now):
                self._refuse(TOO_SLOW)
        else:
            self._heard = now  # it is we who are at work

    def _look_at_next(self, now: float) -> None:
        """Look at a connection whose next request has not come whole."""
        if self._head_bytes:
            if self._is_late(now, self._began):
                self._refuse(TOO_SLOW)
        elif self._is_late(now, self._heard) or self._is_over(now):
            self.transport.close()

    def _is_late(self, now: float, since: float) -> bool:
        return now - since > self._patience.idle - LOOK_SECONDS

    def _is_over(self, now: float) -> bool:
        """Whether a body comes for too long, be it answered or not."""
        allowed = self._patience.request + self._body_bytes / BYTES_A_SECOND
        cycle: Any = self.cycle
        has_more: bool = cycle is not None and cycle.more_body
        return has_more and now - self._began > allowed - LOOK_SECONDS

    def _is_stalled(self, now: float) -> bool:
        """Whether nothing of what waits to be sent was taken for too long."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._flowed = now
        self._unsent = unsent
        return now - self._flowed > self._patience.stall - LOOK_SECONDS

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem, where nothing was answered yet, and close soon."""
        self._tell(problem)
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(self._content(problem))
        self._is_refused, self._size = True, 0
        if self.transport.can_write_eof():
            self.transport.write_eof()  # closed by the next look

    def _ignore(self, data: bytes) -> None:
        """Read on: a connection that closes with bytes unread loses what was sent."""
        self._size += len(data)
        if self._size > MAX_IGNORED_BYTES:
            self.transport.abort()

    def _content(self, problem: Problem) -> bytes:
        request_id = secrets.token_hex(8).encode()
        known: Any = self.scope
        scope = {"path": "", **(known or {}), "type": "http"}
        scope["state"] = {"request_id": request_id}
        response = respond(HTTPConnection(scope), problem, problem.title)
        headers = (
            *self.server_state.default_headers,
            *response.raw_headers,
            (b"x-request-id", request_id),
            (b"x-content-type-options", b"nosniff"),
            (b"connection", b"close"),
        )
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        return b"%s%s\r\n%s" % (STATUS_LINE[problem.status], lines, response.body)

    def _tell(self, problem: Problem) -> None:
        """Write one line for all that are refused within some seconds."""
        if self._heard >= BoundedProtocol._quiet_until:
            BoundedProtocol._quiet_until = self._heard + LOG_SECONDS
            logger.warning("a request is refused: %s", problem.slug)
