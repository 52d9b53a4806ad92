"""The runner: the process that trains, one job at a time.

One runs per data folder, the one that holds the lock; others wait for it. It never
shares the server's process: a thread would hold the server's interpreter, a fork its
sockets. Its supervisor wakes it by bytes on its standard input and ends it by closing
that; on its standard output it tells that it lives, and of each job's end.
"""

import argparse
import fcntl
import logging
import os
import resource
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from app import logs
from app.settings import Settings
from app.store import StoreError, reason
from app.trainer import Trainer

NICENESS: Final = 15
IDLE_SECONDS: Final = 1.0
ALIVE_SECONDS: Final = 2.0
STACK_BYTES: Final = 1 << 20
ENDED: Final = b"."
ALIVE: Final = b"~"

logger = logging.getLogger("app.runner")  # which is __main__ here


def main() -> None:
    """Wait for the lock, then train until told to leave."""
    parser = argparse.ArgumentParser(prog="python -m app.runner")
    parser.add_argument("--name", help="by its supervisor, whose pipes it has")
    name = parser.parse_args().name
    settings = Settings()
    logs.to_stderr(settings.log_format, "runner: %(message)s")
    os.nice(NICENESS)
    _limit_memory(settings.training_memory_bytes)
    wake = threading.Event()
    trainer = Trainer(settings, name or secrets.token_hex(8), wake)
    _start(_watch_signals, trainer)
    if name:
        _start(_watch_supervisor, trainer, wake)
        _start(_show_life)
    with _lock(settings.lock_path, wake):
        while True:
            if not _run_one(trainer):
                wake.wait(IDLE_SECONDS)
                wake.clear()
            elif name:
                os.write(sys.stdout.fileno(), ENDED)


def _run_one(trainer: Trainer) -> bool:
    try:
        return trainer.run_one()
    except (SQLAlchemyError, StoreError) as error:
        logger.warning("the store cannot be used: %s", reason(error))
        return False


def _start(work: Callable[..., object], *arguments: object) -> None:
    """Run beside the main thread, which gets no signal from here on."""
    threading.stack_size(STACK_BYTES)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    threading.Thread(target=work, args=arguments, daemon=True).start()


_STOPS: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def _watch_signals(trainer: Trainer) -> None:
    """Leave when told to."""
    signal.sigwait(_STOPS)
    trainer.leave()


def _watch_supervisor(trainer: Trainer, wake: threading.Event) -> None:
    """Pass the supervisor's bytes on; at its death leave."""
    while os.read(sys.stdin.fileno(), 1024):
        wake.set()
    trainer.leave()


def _show_life() -> None:
    """Show the supervisor that this process is not frozen."""
    while True:
        os.write(sys.stdout.fileno(), ALIVE)
        time.sleep(ALIVE_SECONDS)


def _limit_memory(size: int) -> None:
    """Bound the address space, so that a hungry job fails as a job.

    OpenBLAS ends the process when it cannot have its buffer; so it gets that before.
    """
    square = np.ones((256, 256))
    np.matmul(square, square, out=square)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


@contextmanager
def _lock(path: Path, wake: threading.Event) -> Iterator[None]:
    """Hold the data folder's lock, which the system frees at any death."""
    with path.open("a") as file:
        is_told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not is_told:
                    logger.info("another runner has %s; waiting for it", path)
                    is_told = True
                wake.wait(IDLE_SECONDS)
                wake.clear()
        yield


if __name__ == "__main__":
    main()
