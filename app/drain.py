"""The drain: whether this process was told to stop, from the first signal on.

The server's own shutdown comes too late for whoever must end first: it waits for open
answers, and an event stream is one.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
FORCED: Final = 128 + signal.SIGINT


class DrainingError(Exception):
    """The process was told to stop."""


class Drain:
    """Notices the signals that stop a server, and lets the server have them too."""

    def __init__(self) -> None:
        """Start without any signal."""
        self._begun, self._is_told = asyncio.Event(), False

    @property
    def has_begun(self) -> bool:
        """Whether the process was told to stop."""
        return self._begun.is_set()

    def refuse_if_begun(self) -> None:
        """Turn away what a stopping process should not take.

        Raises:
            DrainingError: The process was told to stop.
        """
        if self.has_begun:
            raise DrainingError("this process stops")

    def watch(self) -> None:
        """Listen from here on; only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return
        begin = asyncio.get_running_loop().call_soon_threadsafe
        for number in SIGNALS:
            signal.signal(number, self._with(begin, signal.getsignal(number)))

    @staticmethod
    def follow_parent() -> None:
        """Let this process stop when the one that started it as a worker is no more."""
        parent = parent_process()
        if parent is not None:
            threading.Thread(target=_outlive, args=(parent,), daemon=True).start()

    async def wait(self, seconds: float) -> None:
        """Return after this time, or as soon as the process is told to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._begun.wait()

    def _with(
        self, begin: Callable[..., Any], server: Any
    ) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            if self._is_told and number == signal.SIGINT:
                os._exit(FORCED)  # the server would answer 500 to whoever waits
            self._is_told = True
            with suppress(RuntimeError):  # the loop is closed already
                begin(self._begun.set)
            if callable(server):
                server(number, frame)

        return handle


def _outlive(parent: BaseProcess) -> None:
    """Wait for the end of the process, and then tell this one to stop."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
