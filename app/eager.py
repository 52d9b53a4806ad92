"""Requests begin together, and become tasks only when they have to wait.

Python has eager tasks from 3.12 on (`asyncio.eager_task_factory`). Here a coroutine's
first steps belong to no task, so whoever works with the current task, as
`asyncio.timeout` does, first awaits `turn()`.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator, Sized
from contextvars import copy_context
from types import coroutine
from typing import Any

logger = logging.getLogger(__name__)


def begin(
    work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
) -> asyncio.Task[None] | None:
    """Do what can be done now; return a task for the rest, None where nothing is left.

    Raises:
        Exception: The work failed before it waited.
    """
    try:
        awaited = work.send(None)
    except StopIteration:
        return None
    return loop.create_task(_Rest(work, awaited))


@coroutine
def turn() -> Generator[None, None, None]:
    """Go on in a task, when it is its turn."""
    yield


class NextTurn:
    """What begins in the next turn of the event loop, the small before the large."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._waiting: list[tuple[Sized, Callable[..., None], tuple[Any, ...]]] = []
        self._context = copy_context()

    def add(self, work: Sized, start: Callable[..., None], *arguments: Any) -> None:
        """Let something start then, whose work is as long as it is by then."""
        if not self._waiting:
            context = self._context.copy()  # not that of who adds: another request
            asyncio.get_running_loop().call_soon(self._start, context=context)
        self._waiting.append((work, start, arguments))

    def _start(self) -> None:
        waiting, self._waiting = self._waiting[::-1], []
        waiting.sort(key=_size, reverse=True)
        while waiting:
            _, start, arguments = waiting.pop()  # what is done is held no longer
            try:
                start(*arguments)
            except Exception:
                logger.exception("this is a bug")


def _size(waiting: tuple[Sized, Any, Any]) -> int:
    return len(waiting[0])


class _Rest(Coroutine[Any, Any, None]):
    """Work that has begun, as a coroutine that begins by waiting as the work does."""

    def __init__(self, work: Coroutine[Any, Any, None], awaited: object) -> None:
        self._work, self._awaited = work, [awaited]

    def send(self, value: object) -> object:
        """Tell what is awaited; from the second time on by going on."""
        return self._awaited.pop() if self._awaited else self._work.send(value)

    def throw(self, *error: Any) -> object:
        """Let an error, such as a cancellation, reach the work wherever it is."""
        self._awaited.clear()
        return self._work.throw(*error)

    def close(self) -> None:
        """End the work where it is."""
        self._work.close()

    def __await__(self) -> Generator[Any, Any, None]:
        """Wait for the work; a task does so by sending."""
        return self._work.__await__()
