"""The processes of `--workers`, as uvicorn keeps them, and what it leaves undone."""

import os
from contextlib import suppress
from typing import Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

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
        patience = self.config.timeout_worker_healthcheck
        for worker in {*self.processes} - self._ready:
            if worker.wait_until_ready(patience, self.should_exit):
                self._ready.add(worker)
        self._ready &= {*self.processes}
        super().keep_subprocess_alive()

    def _reap(self) -> None:
        """Let go of dead processes whose parent died before them.

        They are this one's where it is the first of a container: a worker's runner.
        """
        own = {worker.pid for worker in self.processes}
        with suppress(ChildProcessError):  # none is left at all
            while (dead := os.waitid(os.P_ALL, 0, _PEEK)) and dead.si_pid not in own:
                os.waitpid(dead.si_pid, 0)
