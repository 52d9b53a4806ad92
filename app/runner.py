"""The runner: the process that trains, one job at a time.

    claim -> for epoch in train(...), a thread beating meanwhile -> succeed or fail

One runs per data folder, the one that holds the lock; others wait for it. It never
shares the server's process: a thread would hold the server's interpreter, a fork its
sockets. Attached to a server, it is woken by bytes on its standard input, leaves at
its end, and writes a byte to its standard output after each job.
"""

import argparse
import fcntl
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

from sqlalchemy.exc import DBAPIError

from app.claims import Claim, Claims, Failure, LostJobError
from app.progress import Heart, History, TrainingTimeoutError
from app.registry import Registry
from app.settings import Settings
from app.store import Store
from model import (
    Artifact,
    Dataset,
    DivergedError,
    TrainingConfig,
    evaluate,
    save,
    train,
)

NICENESS: Final = 15
IDLE_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


_FAILURES: Final[dict[type[Exception], Failure]] = {
    DivergedError: "diverged",
    MemoryError: "out-of-memory",
    TrainingTimeoutError: "timeout",
}


class Runner:
    """Claims jobs from a store and trains."""

    def __init__(self, settings: Settings) -> None:
        """Open the store."""
        self._settings = settings
        store = Store(settings.database_path)
        self._registry = Registry(store)
        self._claims = Claims(store, settings)

    def run_one(self) -> bool:
        """Take one job to its end; tell whether there was one.

        Whatever makes the process leave meanwhile hands the job back first.

        Raises:
            DBAPIError: The store does not answer.
        """
        claim = self._claims.take()
        if claim is None:
            return False
        logger.info("job %s: attempt %s", claim.id, claim.attempt)
        try:
            with Heart(self._claims, claim, self._settings) as heart:
                self._work(claim, heart)
        except LostJobError:
            logger.warning("job %s has another owner now", claim.id)
        except (SystemExit, KeyboardInterrupt):
            self._claims.release(claim)
            logger.info("job %s is handed back", claim.id)
            raise
        return True

    def _work(self, claim: Claim, heart: Heart) -> None:
        """Train, and store how it ended; a store that is away is waited for."""
        try:
            data = Dataset.from_bytes(claim.content)
            artifact = self._train(data, claim.config, heart)
            weights, metrics = save(artifact), self._compare(artifact, data)
        except LostJobError:
            raise
        except Exception as error:  # the job boundary: whatever it is ends this job
            reason = _reason(error)
            trace = error if reason == "error" else None
            logger.warning("job %s failed: %s", claim.id, reason, exc_info=trace)
            _insist(lambda: self._claims.fail(claim, reason))
        else:
            progress = heart.progress
            _insist(lambda: self._claims.succeed(claim, progress, weights, metrics))
            logger.info("job %s succeeded", claim.id)

    def _train(self, data: Dataset, config: TrainingConfig, heart: Heart) -> Artifact:
        history = History()
        for epoch in train(data, config):
            heart.progress = history.add(epoch)
            heart.check()
        return Artifact.of_training(epoch.params, data, config)

    def _compare(self, challenger: Artifact, data: Dataset) -> dict[str, Any] | None:
        """Measure the challenger and the active version on the same holdout."""
        config = challenger.config
        _, holdout = data.split(config.holdout, config.seed)
        if holdout is None:
            return None
        self._registry.refresh()
        champion = self._registry.served  # none where the active one is damaged
        return {
            "challenger": evaluate(challenger.params, holdout)._asdict(),
            "champion": champion
            and evaluate(champion.artifact.params, holdout)._asdict(),
            "rows": len(holdout),
        }


def _reason(error: Exception) -> Failure:
    """Name the failure; NumPy's memory error, say, is a kind of Python's."""
    reasons = (reason for kind, reason in _FAILURES.items() if isinstance(error, kind))
    return next(reasons, "error")


def _insist(write: Callable[[], None]) -> None:
    """Write to the store, again and again while it does not answer."""
    while True:
        try:
            return write()
        except DBAPIError as error:
            logger.warning("the store does not take the result: %s", error.orig)
            time.sleep(IDLE_SECONDS)


def main() -> None:
    """Wait for the lock, then train until told to leave."""
    parser = argparse.ArgumentParser(prog="offsetnet runner")
    parser.add_argument("--attached", action="store_true", help="to a server's pipes")
    is_attached = parser.parse_args().attached
    settings = Settings()
    logging.basicConfig(level=logging.INFO, format="runner: %(message)s")
    os.nice(NICENESS)
    _limit_memory(settings.training_memory_bytes)
    signal.signal(signal.SIGTERM, _leave)
    wake = threading.Event()
    if is_attached:
        threading.Thread(target=_watch_parent, args=[wake], daemon=True).start()
    with _lock(settings.lock_path, wake):
        runner = Runner(settings)
        while True:
            try:
                has_worked = runner.run_one()
            except DBAPIError as error:
                logger.warning("the store does not answer: %s", error.orig)
                has_worked = False
            if has_worked and is_attached:
                os.write(sys.stdout.fileno(), b".")
            if not has_worked:
                wake.wait(IDLE_SECONDS)
                wake.clear()


def _leave(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    sys.exit(0)


def _limit_memory(size: int) -> None:
    """Bound the address space, so that a hungry job fails as a job."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _watch_parent(wake: threading.Event) -> None:
    """Pass the server's bytes on; at its death leave as if told to."""
    while os.read(sys.stdin.fileno(), 1024):
        wake.set()
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _lock(path: Path, wake: threading.Event) -> Iterator[None]:
    """Hold the data folder's lock, which the system frees at any death."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                wake.wait(IDLE_SECONDS)
                wake.clear()
        yield


if __name__ == "__main__":
    main()
