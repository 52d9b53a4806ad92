"""The desk: threads that ask the store, so that the event loop need not wait for it.

They are few, and nobody waits for long. Where the store hangs, whoever asks is told so
in time; the thread stays behind and keeps its place until the store lets go of it, so
calls that hang never become more than there are threads. A client that leaves does not
take its request back: it waits its turn and is done, as if the client had left a moment
later, within the same time.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

from app.eager import turn
from app.store import BusyError, LateError, in_time

THREADS: Final = 4
WAITING: Final = 100  # for a thread
ANSWER_SECONDS: Final = 5.0
COMMIT_SECONDS: Final = 0.5  # of these, for what was done in time

T = TypeVar("T")


class Desk:
    """Some threads, and those who wait for one of them."""

    def __init__(self, threads: int = THREADS, waiting: int | None = WAITING) -> None:
        """Start without threads: each is started when first needed, and stays.

        Args:
            threads: How many there may be.
            waiting: How many may wait for one; None where others bound that.
        """
        self._threads, self._started = threads, 0
        self._limit, self._waiting = waiting, 0
        self._places = asyncio.Semaphore(threads)
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()

    async def ask(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return what the work returns, which a thread does.

        Work whose time is over is not begun, and nothing of it is committed.

        Raises:
            BusyError: Too many wait already, or no thread can be started.
            LateError: The store takes too long.
        """
        await turn()  # a timeout needs a task
        until = time.monotonic() + ANSWER_SECONDS - COMMIT_SECONDS
        answer: Future[T] = Future()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._take_place()
                do = partial(self._do, asyncio.get_running_loop(), answer, until)
                self._tasks.put(partial(do, work, arguments))
                return await asyncio.wrap_future(answer)
        except TimeoutError as error:
            raise LateError("the database takes too long") from error

    async def _take_place(self) -> None:
        """Wait for a thread to be free, and see that there is one."""
        if self._waiting == self._limit:
            raise BusyError("too many requests wait for the database")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        if self._started < self._threads:
            self._start_thread()

    def _start_thread(self) -> None:
        try:
            Thread(target=self._work, daemon=True).start()  # no exit waits for it
        except RuntimeError as error:  # the system allows no more
            self._places.release()
            raise BusyError("no thread can be started") from error
        self._started += 1

    def _work(self) -> None:
        while True:
            self._tasks.get()()

    def _do(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: Future[T],
        until: float,
        work: Callable[..., T],
        arguments: tuple[Any, ...],
    ) -> None:
        """Do it where somebody still waits for it, and free the place."""
        if answer.set_running_or_notify_cancel():
            try:
                with in_time(until):
                    answer.set_result(work(*arguments))
            except BaseException as error:  # noqa: BLE001 - whoever asked gets it
                answer.set_exception(error)
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._places.release)
