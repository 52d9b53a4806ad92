"""A running job's progress: the losses so far, and the heart that reports them.

The heart is a thread beside the one that trains. Whatever must end a training at once,
wherever it is, ends the process there; its supervisor starts another.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn, Self

from sqlalchemy.exc import DBAPIError

from app.claims import Claim, Claims, LostJobError, Point, Progress
from app.settings import Settings
from model import Epoch

MAX_POINTS: Final = 200

logger = logging.getLogger(__name__)


class Heart:
    """Reports a claim's progress and extends its lease while its block runs.

    It ends the process when the job is cancelled or has another owner, takes longer
    than it may, or when the thread that made the heart has computed nothing for long.

    Attributes:
        progress: What the next beat reports.
    """

    def __init__(
        self, claims: Claims, claim: Claim, settings: Settings, wake: threading.Event
    ) -> None:
        """Beat as often, and for as long, as the settings say.

        Args:
            claims: Where the beats go.
            claim: Whose they are.
            settings: The bounds.
            wake: Set from outside, it asks for a beat at once.
        """
        self.progress = Progress()
        self._claims, self._claim, self._wake = claims, claim, wake
        self._beat_seconds = settings.beat_seconds
        self._deadline = time.monotonic() + settings.training_seconds
        self._stall = _Stall(settings.stall_seconds)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Start to beat."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Beat no more."""
        self._is_over.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._beat_seconds)
            self._wake.clear()
            if self._is_over.is_set():
                return
            try:
                self._beat()
            except (DBAPIError, MemoryError) as error:  # the lease outlasts a few
                logger.warning("a beat is missed: %s", type(error).__name__)

    def _beat(self) -> None:
        claim, claims = self._claim, self._claims
        if time.monotonic() > self._deadline:
            self._end("timeout", lambda: claims.fail(claim, "timeout"))
        if self._stall.is_too_long():
            runner, _, _ = claim.owner.partition(".")
            self._end("stalled", lambda: claims.abandon(runner, "stalled"))
        if not claims.beat(claim, self.progress):
            self._end("cancelled, or another's now", lambda: None)

    def _end(self, why: str, tell: Callable[[], None]) -> NoReturn:
        with suppress(LostJobError):
            tell()
        logger.warning("job %s ends with this process: %s", self._claim.id, why)
        os._exit(0)


class _Stall:
    """Watches the processor time of the thread that made it."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._computed = time.clock_gettime(self._clock)
        self._since = time.monotonic()

    def is_too_long(self) -> bool:
        """Whether nothing was computed for longer than may be."""
        computed = time.clock_gettime(self._clock)
        if computed > self._computed:
            self._computed, self._since = computed, time.monotonic()
        return time.monotonic() - self._since > self._limit_seconds


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
        return Progress(*point, (*self._points, *([] if is_last_in else [point])))
