"""A machine that only trains: a runner and its supervisor, without any server."""

import asyncio
import signal
from typing import Final

from app.claims import Claims
from app.settings import Settings
from app.store import Store
from app.supervisor import Supervisor

STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def train_only(settings: Settings) -> None:
    """Keep a runner alive until told to stop."""
    store = Store(settings)
    # No version is in memory that a job's end could make old.
    supervisor = Supervisor(settings, Claims(store, settings), lambda: None)
    stop = asyncio.Event()
    for number in STOPS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    task = asyncio.create_task(supervisor.keep_running())
    await stop.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await supervisor.stop()
    store.close()
