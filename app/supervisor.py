"""The supervisor: the one beside a runner, which it starts, wakes, watches and ends."""

import asyncio
import logging
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from app.claims import Claims
from app.desk import Desk
from app.settings import PREFIX, Settings
from app.store import StoreError

FIRST_SECONDS: Final = 0.1  # in which a server begins to answer
RESTART_SECONDS: Final = 1.0
STOP_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 5.0  # twice, and the process counts as frozen
START_SECONDS: Final = 30.0  # the same, before its first sign of life
ENDED: Final = b"."
FRUGAL: Final = {  # each further thread would reserve address space, which is bounded
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
}

logger = logging.getLogger(__name__)


class Supervisor:
    """Keeps one runner process alive."""

    def __init__(
        self, settings: Settings, claims: Claims, on_job_end: Callable[[], None]
    ) -> None:
        """Take what it needs.

        Args:
            settings: What the runner works with.
            claims: Where the job of a dead runner is let go.
            on_job_end: Called whenever the runner says that it ended a job.
        """
        self._environment = settings.runner_environment()
        self._claims, self._desk = claims, Desk()
        self._on_job_end = on_job_end
        self._process: asyncio.subprocess.Process | None = None

    async def keep_running(self) -> None:
        """Run the process for ever, starting it anew when it ends."""
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            name = secrets.token_hex(8)
            try:
                self._process = await self._start(name)
            except OSError as error:
                logger.warning("no runner can be started: %s", error)
                await asyncio.sleep(RESTART_SECONDS)
                continue
            await self._listen(self._process)
            status = await self._process.wait()
            await self._let_go(name)
            if status:  # it ends itself with 0, to stop a job
                logger.warning("the runner ended with status %s", status)
                await asyncio.sleep(RESTART_SECONDS)

    def wake(self) -> None:
        """Tell the runner that the jobs changed; it looks by itself once a second."""
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
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Pass on what the runner tells until it ends; end it if it is frozen."""
        silences, patience = 0, START_SECONDS
        while silences < 2:  # noqa: PLR2004 - one may be this process's own
            try:
                async with asyncio.timeout(patience):
                    told = await _read(process)
            except TimeoutError:
                silences += 1
                continue
            silences, patience = 0, SILENCE_SECONDS
            if not told:
                return
            if ENDED in told:
                self._on_job_end()
        logger.warning("the runner is silent; ending it")
        process.kill()

    async def _let_go(self, name: str) -> None:
        """Let the job of a runner that is no more be tried again, at once."""
        try:
            await self._desk.ask(self._claims.abandon, name, "killed")
        except (SQLAlchemyError, StoreError) as error:  # the lease runs out instead
            logger.warning("the store does not answer: %s", type(error).__name__)

    async def _start(self, name: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # else a folder `app` where the server was started would be taken
            "-m",
            "app.runner",
            "--name",
            name,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**_inherited(), **self._environment, **FRUGAL},
            start_new_session=True,  # Ctrl-C in a terminal reaches the server alone
        )


def _inherited() -> dict[str, str]:
    """Return this process's environment without our settings, keys above all."""
    return {k: v for k, v in os.environ.items() if not k.upper().startswith(PREFIX)}


async def _read(process: asyncio.subprocess.Process) -> bytes:
    return await process.stdout.read(1024) if process.stdout else b""
