"""Stands between a server and its PostgreSQL; answers come late, or not at all."""

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
        self._delay, self._words = 0.0, b""
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

    @contextmanager
    def losing_commit_after(self, words: bytes) -> Iterator[None]:
        """Pass on the COMMIT of who says these words, and no answer to it, once."""
        self._words = words
        yield
        assert not self._words, "nobody said so"

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
        is_lost = asyncio.Event()
        with closing(to_client), closing(target), suppress(OSError):
            asking = asyncio.create_task(self._ask(client, target, is_lost))
            while (answer := await answers.read(65_536)) and not is_lost.is_set():
                await asyncio.sleep(self._delay)
                to_client.write(answer)
            asking.cancel()

    async def _ask(
        self,
        client: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        is_lost: asyncio.Event,
    ) -> None:
        has_said = False
        with closing(target), suppress(OSError):
            while part := await client.read(65_536):
                if self._words and self._words in part:
                    self._words, has_said = b"", True
                if has_said and b"COMMIT" in part:
                    is_lost.set()
                target.write(part)
