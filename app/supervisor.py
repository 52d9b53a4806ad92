"""The supervisor: the server's side of its runner, which it starts, wakes and ends."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from app.settings import Settings

RESTART_SECONDS: Final = 1.0
STOP_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


class Supervisor:
    """Keeps one runner process alive beside this server."""

    def __init__(
        self, settings: Settings, on_job_end: Callable[[], Awaitable[None]]
    ) -> None:
        """Call `on_job_end` whenever the runner says that it ended a job."""
        self._environment = settings.runner_environment()
        self._on_job_end = on_job_end
        self._process: asyncio.subprocess.Process | None = None

    async def keep_running(self) -> None:
        """Run the process for ever, starting it anew when it dies."""
        while True:
            try:
                self._process = await self._start()
            except OSError as error:
                logger.warning("no runner can be started: %s", error)
                await asyncio.sleep(RESTART_SECONDS)
                continue
            if self._process.stdout is not None:  # it is a pipe, see `_start`
                while await self._process.stdout.read(1024):
                    await self._on_job_end()
            status = await self._process.wait()
            logger.warning("the runner ended with status %s; starting another", status)
            await asyncio.sleep(RESTART_SECONDS)

    def wake(self) -> None:
        """Tell the runner that a job waits; it looks by itself once a second."""
        process = self._process
        if process and process.stdin and process.returncode is None:
            with suppress(OSError, RuntimeError):  # it dies at this moment
                process.stdin.write(b".")

    async def stop(self) -> None:
        """Let the runner hand its job back; end it if it does not leave."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # else a folder `app` where the server was started would be taken
            "-m",
            "app.runner",
            "--attached",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **self._environment, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C in a terminal reaches the server alone
        )
