"""The processes of `--workers`, as uvicorn keeps them, and what it leaves undone."""

import os
import time
from contextlib import suppress
from typing import Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

LOOK_SECONDS: Final = 0.1

_PEEK: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT


class Workers(Multiprocess):
    """Several processes that share a socket."""

    def __init__(self, config: uvicorn.Config) -> None:
        """Listen; nothing is started yet."""
        super().__init__(config, [config.bind_socket()])
        self._ready: set[Process] = set()

    @property
    def has_failed(self) -> bool:
        """Whether all were stopped because one could not start."""
        return any(worker.exitcode == STARTUP_FAILURE for worker in self.processes)

    def keep_subprocess_alive(self) -> None:
        """Replace those that died, but see at once where one dies as it starts."""
        self._reap()
        self._await_starts()
        super().keep_subprocess_alive()

    def _await_starts(self) -> None:
        """Wait for all that start, together, and hear signals meanwhile."""
        self._ready &= {*self.processes}
        until = time.monotonic() + self.config.timeout_worker_healthcheck
        while time.monotonic() < until and not self.should_exit.is_set():
            starting = {*self.processes} - self._ready
            if not (starting and all(one.process.is_alive() for one in starting)):
                return
            self._ready |= {one for one in starting if one.is_ready(1 / len(starting))}
            self.should_exit.wait(LOOK_SECONDS)
            self.handle_signals()

    def _reap(self) -> None:
        """Let go of dead processes whose parent died before them.

        They are this one's where it is the first of a container: a worker's runner.
        """
        own = {worker.pid for worker in self.processes}
        with suppress(ChildProcessError):  # none is left at all
            while (dead := os.waitid(os.P_ALL, 0, _PEEK)) and dead.si_pid not in own:
                os.waitpid(dead.si_pid, 0)
