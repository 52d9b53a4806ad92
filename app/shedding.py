"""Early ends: requests turned away, answers before a body's end, connections cut."""

import logging
from asyncio import Transport
from collections.abc import Mapping, Sized
from math import inf
from time import perf_counter
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from app.admission import Admission
from app.bodies import SMALL_BYTES
from app.eager import NextTurn, begin
from app.errors import OVERLOADED, SHEDS, Problem
from app.wire import MAX_IGNORED_BYTES, declared_bytes, is_left_unread, refusal

LOG_SECONDS: Final = 10.0

logger = logging.getLogger(__name__)


class SheddingProtocol(HttpToolsProtocol):
    """One connection of a client, whose requests may be answered before their end.

    A cycle is uvicorn's word for a request with its answer; `self.cycle` is the newest,
    and those before it may still be answered. Times are those of `perf_counter`.
    """

    cycle: Any  # None before the first request
    scope: Any  # likewise

    _quiet_until = 0.0  # no line about refusals before, of any connection

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # uvicorn narrows it alike
        """Begin with nothing heard."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._admission: Admission = self.app_state["service"].admission
        self._next_turn: NextTurn = self.app_state["next_turn"]
        self._heard = perf_counter()
        self._is_ended = self._is_silent = False  # nothing more is taken, or sent
        self._ignored_bytes = 0
        self._left = inf  # when the process was told to stop
        self._running: RequestResponseCycle | None = None  # the one that was started

    def connection_lost(self, exc: Exception | None) -> None:
        """Let nothing more be written for the request that is being answered.

        uvicorn tells the newest one alone, which may wait for this one's answer.
        """
        if self._running is not None:
            self._running.disconnected = not self._running.response_complete
            self._running.message_event.set()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn closes at once
        """Answer what came whole from a client that has said its last, then close.

        An answer without an end of its own, as a stream is, ends at once.
        """
        cycle = self.cycle
        if cycle is None or cycle.more_body:
            return False
        cycle.keep_alive = False
        return not (cycle.response_complete or cycle.chunked_encoding)

    def shutdown(self) -> None:
        """Answer what is under way, and the next request if it comes at once.

        A client may have sent it before it learns that the connection closes.
        """
        self._left = perf_counter()
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Note that a body has ended, be the request answered or not."""
        self.cycle.more_body = False
        self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Go on with what was sent ahead, and wait for more without a timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        cycle = self.cycle
        is_early = cycle.more_body and cycle.response_complete
        if is_early and (is_left_unread(cycle) or not cycle.keep_alive):
            self._end()
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Let a request begin, or turn it away before anything is done for it."""
        self._running = cycle
        if self._left < inf and not self.pipeline:
            cycle.keep_alive = False
        if not self._admission.is_shedding or self._is_admitted(cycle):
            self._next_turn.add(cycle.body, self._begin, cycle, app)
        elif not self._is_ended:
            self._turn_away(cycle)

    def _begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Answer what has come whole; a task is made for what has to wait."""
        if (task := begin(cycle.run_asgi(app), self.loop)) is not None:
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def _is_admitted(self, cycle: RequestResponseCycle) -> bool:
        if self._is_ended:  # the others wait for the end that is told behind them
            return not self._is_silent
        size: int | None = len(cycle.body)
        if cycle.more_body:
            size = declared_bytes(cycle.scope["headers"])
        is_small = size is not None and size <= SMALL_BYTES
        return is_small or self._admission.admits()

    def _turn_away(self, cycle: RequestResponseCycle) -> None:
        """Answer that too much comes at once; what is left of the body is ignored."""
        cycle.keep_alive = cycle.keep_alive and not is_left_unread(cycle)
        cycle.response_started = cycle.response_complete = True
        content = refusal(
            OVERLOADED,
            cycle.scope,
            cycle.default_headers,
            closes=not cycle.keep_alive,
        )
        self.transport.write(content)
        self._tell(OVERLOADED, cycle.scope, self._heard)
        if not (cycle.keep_alive or cycle.more_body):
            self.transport.close()
        cycle.on_response()

    def _end(self) -> None:
        """Say that no more is sent; what comes is ignored until the next look."""
        self._is_ended = self._is_silent = True
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _ignore(self, data: bytes) -> None:
        """Read on: a connection that closes with bytes unread loses what was sent."""
        self._ignored_bytes += len(data)
        if self._ignored_bytes > MAX_IGNORED_BYTES:
            self.transport.abort()

    def _tell(
        self, problem: Problem, scope: Mapping[str, Any] | None, since: float
    ) -> None:
        """Count it, and write one line for all within some seconds."""
        scope, now = scope or {}, perf_counter()
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        metrics = self.app_state["service"].metrics
        block = metrics.block(scope.get("method", ""), path)
        metrics.count_request(block, problem.status, now - since)
        if problem.slug in SHEDS:
            metrics.count_shed(problem.slug)
        if now >= SheddingProtocol._quiet_until:
            SheddingProtocol._quiet_until = now + LOG_SECONDS
            client = self.client[0] if self.client else "somebody"
            logger.warning("a request of %s is refused: %s", client, problem.slug)


class _Flow(FlowControl):
    """Takes no more from a client while what it sent ahead waits.

    uvicorn's reads on for each request that is answered, and what comes with one read
    is hundreds of requests, each of some kilobytes.
    """

    def __init__(self, transport: Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if self.read_paused and not self._waiting:
            super().resume_reading()
