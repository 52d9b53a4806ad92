"""The transport: uvicorn's HTTP protocol, with bounds on what a client may hold up.

uvicorn closes neither silent nor half-sent connections, and keeps what it is sent until
a head ends. Here two looks a second at each connection cut what stands still, and the
head of a request is bounded. All that a usual request costs more is the time at which
it came and a few comparisons.
"""

import re
from asyncio import TimerHandle, Transport
from time import perf_counter
from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.bodies import SMALL_BYTES
from app.errors import (
    HEAD_TOO_LARGE,
    NOT_HTTP,
    TOO_MUCH_OVERHEAD,
    TOO_SLOW,
    Problem,
)
from app.patience import Patience
from app.shedding import SheddingProtocol
from app.wire import declared_bytes, refusal

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_HEADERS: Final = 64
MAX_URL_BYTES: Final = 4 * 1024
LOOK_SECONDS: Final = 0.5
BYTES_A_SECOND: Final = 1024 * 1024  # which give a body more time
MAX_OVERHEAD_BYTES: Final = 64 * 1024  # of chunks, beyond a byte for each of the body

_UPGRADE: Final = re.compile(rb"(?<=\n)upgrade(?=:)", re.IGNORECASE)


class HeadTooLargeError(Exception):
    """The head of a request passes a bound."""


class BoundedProtocol(SheddingProtocol):
    """One connection of a client."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # uvicorn narrows it alike
        """Begin to look."""
        super().connection_made(transport)
        self._patience: Patience = self.app_state["patience"]
        self._began = self._flowed = self._heard
        self._size = self._head_bytes = self._body_bytes = self._overhead = 0
        self._unsent = 0
        self._refusal: Problem | None = None  # until it is sent
        self._looking: TimerHandle = self.loop.call_later(LOOK_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of one request, or of several."""
        if self._is_ended:
            self._ignore(data)
            return
        before, heard, cycle = self.scope, self._heard, self.cycle
        is_of_body = cycle is not None and cycle.more_body
        waiting_bytes = len(cycle.body) if is_of_body else 0
        self._heard, self._size = perf_counter(), len(data)
        problem = self._read(data, is_of_body=is_of_body)
        scope = self.scope
        if problem is not None:
            self._refuse(problem)
        elif scope is None or "method" not in scope:
            is_alone = self.cycle is cycle and not is_of_body
            self._count_head(is_new=scope is not before, is_alone=is_alone)
        elif self.cycle is not cycle:  # a head has ended
            self._began = self._heard
            self._head_bytes = self._body_bytes = self._overhead = 0
        elif is_of_body:
            self._count_body(len(cycle.body) - waiting_bytes)
        else:
            self._heard = heard  # empty lines between requests

    def _read(self, data: bytes, *, is_of_body: bool) -> Problem | None:
        """Let the parser call the methods `on_...`; return what is wrong."""
        end = MAX_HEAD_BYTES if len(data) <= SMALL_BYTES else data.find(b"\r\n\r\n")
        if not is_of_body and data.find(b"pgrade", 0, end) >= 0:
            data = _UPGRADE.sub(b"ignored", data)  # or the parser leaves out bodies
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            is_large = isinstance(error.__context__, HeadTooLargeError)
            return HEAD_TOO_LARGE if is_large else NOT_HTTP
        except httptools.HttpParserUpgrade:  # CONNECT, or a field in two parts
            self.cycle.keep_alive = False
            if declared_bytes(self.scope["headers"]) != 0:
                self.cycle.more_body = True  # the parser leaves it out
                return NOT_HTTP
        return None

    def on_headers_complete(self) -> None:
        """Start a request whose head is within its bounds.

        Raises:
            HeadTooLargeError: It is not; nothing is started.
        """
        if len(self.url) > MAX_URL_BYTES or len(self.headers) > MAX_HEADERS:
            raise HeadTooLargeError
        if self._head_bytes + self._size > MAX_HEAD_BYTES < self._known_head_bytes():
            raise HeadTooLargeError
        HttpToolsProtocol.on_headers_complete(self)  # `super()` is slower
        state = self.scope["state"]
        state["came"], state["cycle"] = self._heard, self.cycle

    def _known_head_bytes(self) -> int:
        fields = sum(len(name) + len(value) + 4 for name, value in self.headers)
        return len(self.url) + fields

    def _count_head(self, *, is_new: bool, is_alone: bool) -> None:
        """Count a head that has not ended, by what is known of it in a shared read."""
        if is_new:
            self._began, self._head_bytes = self._heard, 1
        self._head_bytes += self._size if is_alone else self._known_head_bytes()
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(HEAD_TOO_LARGE)

    def _count_body(self, size: int) -> None:
        """Count a body, and what came with it that is none: chunks and trailers."""
        if self.cycle.response_complete:
            return
        self.scope["state"]["came"] = self._heard
        self._body_bytes += size
        self._overhead += self._size - size
        most = self._body_bytes + MAX_OVERHEAD_BYTES
        if self._overhead > most or len(self.headers) > MAX_HEADERS:
            self._refuse(TOO_MUCH_OVERHEAD)

    def _look(self) -> None:
        """Cut the connection where its client keeps it waiting too long."""
        now, cycle = perf_counter(), self.cycle
        self._looking = self.loop.call_later(LOOK_SECONDS, self._look)
        if self._is_stalled(now):
            self.transport.abort()
        elif self.transport.is_closing():
            pass  # what is left to send is sent
        elif self._is_ended:
            self._finish_refusal()
        elif cycle is None or cycle.response_complete:
            self._look_at_next(now)
        elif cycle.more_body and not (self.flow.read_paused or self.pipeline):
            if self._is_late(now, self._heard) or self._is_over(now):
                self._refuse(TOO_SLOW)
        else:
            self._heard = now  # it is we who are at work

    def _look_at_next(self, now: float) -> None:
        """Look at a connection whose next request has not come whole."""
        if self._head_bytes:
            if self._is_late(now, self._began):
                self._refuse(TOO_SLOW)
        elif self._is_idle(now):
            self.transport.close()

    def _is_idle(self, now: float) -> bool:
        """Whether the next request does not begin for too long."""
        if now - self._left > LOOK_SECONDS:
            return True
        if self.cycle is None:
            return self._is_late(now, self._began)
        return now - self._heard > self._patience.keep_alive or self._is_over(now)

    def _is_late(self, now: float, since: float) -> bool:
        return now - since > self._patience.idle - LOOK_SECONDS

    def _is_over(self, now: float) -> bool:
        """Whether a body comes for too long, be it answered or not."""
        allowed = self._patience.request + self._body_bytes / BYTES_A_SECOND
        has_more: bool = self.cycle.more_body
        return has_more and now - self._began > allowed - LOOK_SECONDS

    def _is_stalled(self, now: float) -> bool:
        """Whether nothing of what waits to be sent was taken for too long."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._flowed = now
        self._unsent = unsent
        return now - self._flowed > self._patience.stall - LOOK_SECONDS

    def _refuse(self, problem: Problem) -> None:
        """Take nothing more; tell why when the requests before are answered."""
        if self._is_ended or self.transport.is_closing():
            return
        cycle = self.cycle
        is_answered = cycle is None or cycle.response_complete
        if is_answered and cycle is not None and self.scope is cycle.scope:
            self.scope = None  # what came is no part of that request
        self._tell(problem, self.scope, self._began)
        self._is_ended, self._refusal = True, problem
        if not is_answered and cycle.more_body:
            cycle.disconnected = True  # it is this one's body that does not come
            cycle.waiting_for_100_continue = False
            cycle.message_event.set()
        self._finish_refusal()

    def _finish_refusal(self) -> None:
        """Send the refusal once nothing is to be answered before it, then close."""
        cycle = self.cycle
        is_answered = cycle is None or cycle.response_complete
        if self._refusal is None:
            self.transport.close()
        elif not self.pipeline and (is_answered or cycle.disconnected):
            if is_answered or not cycle.response_started:
                defaults = self.server_state.default_headers
                self.transport.write(refusal(self._refusal, self.scope, defaults))
            self._refusal = None
            self._end()
