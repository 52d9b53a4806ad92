"""The runner: the process that trains, one job at a time.

    claim -> for epoch in train(...), a thread beating meanwhile -> gate -> succeed

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
from typing import Final, NoReturn, TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.claims import Claim, Claims, Failure, LostJobError, Result, StaleChampionError
from app.gate import compare, decide
from app.jobs import Jobs
from app.progress import Heart, History
from app.settings import Settings
from app.store import Store, StoreError
from app.versions import Versions
from model import Artifact, Dataset, DivergedError, save, train

NICENESS: Final = 15
IDLE_SECONDS: Final = 1.0
LEAVE_SECONDS: Final = 3.0
PURGE_SECONDS: Final = 60.0
STACK_BYTES: Final = 1 << 20
ENDED: Final = b"."
ALIVE: Final = b"~"

T = TypeVar("T")

logger = logging.getLogger(__name__)


_FAILURES: Final[dict[type[Exception], Failure]] = {
    DivergedError: "diverged",
    MemoryError: "out-of-memory",
}


class Runner:
    """Takes jobs from a store and trains."""

    def __init__(self, settings: Settings, name: str, wake: threading.Event) -> None:
        """Take the name that its jobs' owner starts with, and what wakes it."""
        store = Store(settings)
        self._settings, self._name, self._wake = settings, name, wake
        self._versions = Versions(store, settings)
        self._claims = Claims(store, settings)
        self._jobs = Jobs(store, settings)
        self._taking = threading.Lock()
        self._next_purge = 0.0

    def run_one(self) -> bool:
        """Take one job to its end; tell whether there was one.

        Raises:
            SQLAlchemyError, StoreError: The store does not answer.
        """
        self._versions.prepare()
        self._purge()
        with self._taking:
            claim = self._claims.take(self._name)
        if claim is None:
            return False
        logger.info("job %s: attempt %s", claim.id, claim.attempt)
        try:
            self._work(claim)
        except LostJobError:
            logger.warning("job %s has another owner now", claim.id)
        return True

    def leave(self) -> NoReturn:
        """Hand the job back and end the process, from any thread."""
        self._taking.acquire(timeout=LEAVE_SECONDS)  # and never take another
        try:
            if self._claims.release(self._name):
                logger.info("the job is handed back")
        except SQLAlchemyError as error:
            logger.warning("the job is not handed back: %s", type(error).__name__)
        os._exit(0)

    def _work(self, claim: Claim) -> None:
        """Train, and store how it ended; a store that is away is waited for."""
        try:
            data = Dataset.from_bytes(claim.content)
            with Heart(self._claims, claim, self._settings, self._wake) as heart:
                challenger = self._train(claim, data, heart)
            self._succeed(claim, challenger, data, heart)
        except LostJobError:
            raise
        except Exception as error:  # the job boundary: whatever it is ends this job
            reason = _reason(error)
            trace = error if reason == "error" else None
            logger.warning("job %s failed: %s", claim.id, reason, exc_info=trace)
            _insist(lambda: self._claims.fail(claim, reason))

    def _train(self, claim: Claim, data: Dataset, heart: Heart) -> Artifact:
        history = History()
        for epoch in train(data, claim.config):
            heart.progress = history.add(epoch)
        return Artifact.of_training(epoch.params, data, claim.config)

    def _succeed(
        self, claim: Claim, challenger: Artifact, data: Dataset, heart: Heart
    ) -> None:
        """Decide, and store; again where the active version was set meanwhile."""
        weights, tolerance = save(challenger), self._settings.gate_tolerance
        while True:
            generation, champion = _insist(self._versions.champion)
            comparison = compare(challenger, champion, data)
            decision = decide(
                claim.promote, challenger, champion, comparison, tolerance
            )
            result = Result(weights, comparison, decision, generation)
            try:
                _insist(lambda: self._claims.succeed(claim, heart.progress, result))  # noqa: B023
            except StaleChampionError:
                continue
            logger.info("job %s succeeded: %s", claim.id, decision.outcome)
            return

    def _purge(self) -> None:
        """Remove old jobs, now and then."""
        if time.monotonic() >= self._next_purge:
            self._jobs.purge()
            interval = min(PURGE_SECONDS, self._settings.keep_jobs_seconds)
            self._next_purge = time.monotonic() + interval


def _reason(error: Exception) -> Failure:
    """Name the failure; NumPy's memory error, say, is a kind of Python's."""
    reasons = (reason for kind, reason in _FAILURES.items() if isinstance(error, kind))
    return next(reasons, "error")


def _insist(ask: Callable[[], T]) -> T:
    """Ask the store, again and again while it does not answer."""
    while True:
        try:
            return ask()
        except DBAPIError as error:
            logger.warning("the store does not answer: %s", error.orig)
            time.sleep(IDLE_SECONDS)


def main() -> None:
    """Wait for the lock, then train until told to leave."""
    parser = argparse.ArgumentParser(prog="python -m app.runner")
    parser.add_argument("--name", help="by its supervisor, whose pipes it has")
    name = parser.parse_args().name
    settings = Settings()
    logging.basicConfig(level=logging.INFO, format="runner: %(message)s")
    os.nice(NICENESS)
    _limit_memory(settings.training_memory_bytes)
    wake = threading.Event()
    runner = Runner(settings, name or secrets.token_hex(8), wake)
    _start(_watch_signals, runner)
    if name:
        _start(_watch_supervisor, runner, wake)
        _start(_show_life)
    with _lock(settings.lock_path, wake):
        while True:
            if not _run_one(runner):
                wake.wait(IDLE_SECONDS)
                wake.clear()
            elif name:
                os.write(sys.stdout.fileno(), ENDED)


def _run_one(runner: Runner) -> bool:
    try:
        return runner.run_one()
    except (SQLAlchemyError, StoreError) as error:
        logger.warning("the store does not answer: %s", type(error).__name__)
        return False


def _start(work: Callable[..., object], *arguments: object) -> None:
    """Run beside the main thread, which gets no signal from here on."""
    threading.stack_size(STACK_BYTES)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    threading.Thread(target=work, args=arguments, daemon=True).start()


_STOPS: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def _watch_signals(runner: Runner) -> None:
    """Leave when told to."""
    signal.sigwait(_STOPS)
    runner.leave()


def _watch_supervisor(runner: Runner, wake: threading.Event) -> None:
    """Pass the supervisor's bytes on; at its death leave."""
    while os.read(sys.stdin.fileno(), 1024):
        wake.set()
    runner.leave()


def _show_life() -> None:
    """Show the supervisor that this process is not frozen."""
    while True:
        os.write(sys.stdout.fileno(), ALIVE)
        time.sleep(IDLE_SECONDS)


def _limit_memory(size: int) -> None:
    """Bound the address space, so that a hungry job fails as a job."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


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
