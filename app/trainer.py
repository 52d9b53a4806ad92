"""The trainer: takes one job after the other, from claimed to its end.

claim -> for epoch in train(...), a thread beating meanwhile -> gate -> succeed
"""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.claims import (
    Claim,
    Claims,
    Failure,
    LostJobError,
    Result,
    StaleChampionError,
    Work,
)
from app.gate import compare, decide
from app.progress import Heart, History
from app.purging import purge, sweep
from app.settings import Settings
from app.store import Store
from app.versions import Versions
from model import Artifact, Dataset, DivergedError, TrainingConfig, save, train

AWAY_SECONDS: Final = 1.0
LEAVE_SECONDS: Final = 3.0
PURGE_SECONDS: Final = 60.0

T = TypeVar("T")

logger = logging.getLogger(__name__)

_OUT_OF_MEMORY: Final = "out of memory"
_FAILURES: Final[dict[type[Exception], Failure]] = {
    DivergedError: "diverged",
    MemoryError: "out-of-memory",
}


class Trainer:
    """Takes jobs from a store and trains."""

    def __init__(self, settings: Settings, name: str, wake: threading.Event) -> None:
        """Take the name that its jobs' owner starts with, and what wakes it."""
        self._store = Store(settings)
        self._settings, self._name, self._wake = settings, name, wake
        self._versions = Versions(self._store, settings)
        self._claims = Claims(self._store, settings)
        self._taking = threading.Lock()
        self._next_purge = 0.0
        self._swept = secrets.token_hex(32)  # anywhere: it may soon end

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
        except DBAPIError:
            self._claims.abandon(self._name, "error")  # this try counts
            raise
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
            content, config = self._read(claim)
            data = Dataset.from_bytes(content)
            with Heart(self._claims, claim, self._settings, self._wake) as heart:
                challenger = self._train(data, config, heart)
            self._succeed(claim, challenger, data, heart)
        except (LostJobError, DBAPIError):
            raise
        except Exception as error:  # the job boundary: whatever it is ends this job
            reason = _reason(error)
            trace = error if reason == "error" else None
            logger.warning("job %s failed: %s", claim.id, reason, exc_info=trace)
            _insist(lambda: self._claims.fail(claim, reason))

    def _read(self, claim: Claim) -> Work:
        try:
            return self._claims.read(claim)
        except DBAPIError as error:
            if _OUT_OF_MEMORY in str(error.orig):  # says PostgreSQL's driver
                raise MemoryError from error
            raise

    @staticmethod
    def _train(data: Dataset, config: TrainingConfig, heart: Heart) -> Artifact:
        history = History()
        for epoch in train(data, config):
            heart.progress = history.add(epoch)
        return Artifact.of_training(epoch.params, data, config)

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
        """Remove old jobs, now and then; where there are many, some at every look."""
        if time.monotonic() >= self._next_purge:
            keep_seconds = self._settings.keep_jobs_seconds
            self._next_purge = time.monotonic() + min(PURGE_SECONDS, keep_seconds)
            if purge(self._store, keep_seconds):
                self._next_purge = time.monotonic()
            self._swept = sweep(self._store, self._swept)


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
            time.sleep(AWAY_SECONDS)
