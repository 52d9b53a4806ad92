"""Stands between a server and its PostgreSQL, and passes on answers as late as told."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

SOCKET: Final = ".s.PGSQL.5432"


class Middleman:
    """A socket in a folder of its own that leads to PostgreSQL's."""

    def __init__(self, target: Path, folder: Path) -> None:
        """Listen in a folder for what is meant for the target's."""
        self.folder = folder
        self._target, self._path = target / SOCKET, folder / SOCKET
        self._delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._is_open, self._is_closed = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._is_open.wait()

    @contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Let each answer take so much longer while the block runs."""
        self._delay = seconds
        try:
            yield
        finally:
            self._delay = 0.0

    def close(self) -> None:
        """Pass on nothing more."""
        self._loop.call_soon_threadsafe(self._is_closed.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._listen())

    async def _listen(self) -> None:
        async with await asyncio.start_unix_server(self._take, self._path):
            self._is_open.set()
            await self._is_closed.wait()

    async def _take(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        answers, target = await asyncio.open_unix_connection(self._target)
        with closing(to_client), closing(target), suppress(OSError):
            asking = asyncio.create_task(_pass_on(client, target))
            while answer := await answers.read(65_536):
                await asyncio.sleep(self._delay)
                to_client.write(answer)
            asking.cancel()


async def _pass_on(asked: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with closing(target), suppress(OSError):
        while part := await asked.read(65_536):
            target.write(part)
