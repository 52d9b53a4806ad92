"""A running job's progress: the losses so far, and the heart that reports them."""

import logging
import os
import threading
import time
from contextlib import suppress
from typing import Final, Self

from sqlalchemy.exc import DBAPIError

from app.claims import Claim, Claims, LostJobError, Point, Progress
from app.settings import Settings
from model import Epoch

MAX_POINTS: Final = 200
GRACE_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


class TrainingTimeoutError(Exception):
    """The job took longer than it may."""


class Heart:
    """Reports a claim's progress and extends its lease while its block runs.

    Attributes:
        progress: What the next beat reports.
    """

    def __init__(self, claims: Claims, claim: Claim, settings: Settings) -> None:
        """Beat as often, and for as long, as the settings say."""
        self.progress = Progress(0, None, None, [])
        self._claims, self._claim = claims, claim
        self._beat_seconds = settings.beat_seconds
        self._deadline = time.monotonic() + settings.training_seconds
        self._is_lost = False
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        """Start to beat."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Beat no more."""
        self._is_over.set()
        self._thread.join()

    def check(self) -> None:
        """Stop work that is somebody else's now, or that took too long.

        Raises:
            LostJobError: The job has another owner.
            TrainingTimeoutError: The time is over.
        """
        if self._is_lost:
            raise LostJobError(f"job {self._claim.id} has another owner")
        if time.monotonic() > self._deadline:
            raise TrainingTimeoutError("the time is over")

    def _beat(self) -> None:
        while not self._is_over.wait(self._beat_seconds):
            try:
                if time.monotonic() > self._deadline + GRACE_SECONDS:
                    self._stop_at_once()
                self._is_lost = not self._claims.beat(self._claim, self.progress)
            except DBAPIError as error:  # the lease outlasts a few missed beats
                logger.warning("a beat is missed: %s", error.orig)

    def _stop_at_once(self) -> None:
        """End the process: an epoch that does not end checks nothing."""
        with suppress(LostJobError):
            self._claims.fail(self._claim, "timeout")
        logger.warning("job %s failed: timeout", self._claim.id)
        os._exit(1)


class History:
    """The losses so far, thinned to every 2nd, 4th, 8th... epoch as they grow."""

    def __init__(self) -> None:
        """Start without any."""
        self._points: list[Point] = []
        self._stride = 1

    def add(self, epoch: Epoch) -> Progress:
        """Take an epoch in, and return the progress up to it."""
        point = (epoch.number, epoch.train_loss, epoch.holdout_loss)
        if epoch.number % self._stride == 0:
            self._points.append(point)
        if len(self._points) == MAX_POINTS:
            self._stride *= 2
            self._points = [p for p in self._points if p[0] % self._stride == 0]
        is_last_in = bool(self._points) and self._points[-1] == point
        return Progress(*point, self._points + ([] if is_last_in else [point]))
