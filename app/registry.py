"""The registry: the version that serves in this process.

It is one immutable object behind one reference, `active`. A request reads the
reference once and keeps what it got; a swap is one assignment.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.metrics import Metrics
from app.store import Store, StoreError, reason
from app.tables import active
from app.versions import UnknownVersionError, Versions
from model import Artifact, ArtifactError, load, one_predictor

CLOSE_SECONDS: Final = 2.0  # for a look that is under way
LOOK_SECONDS: Final = 2.0  # after which a look that has not ended tells enough

_ACTIVE: Final = select(active)

logger = logging.getLogger(__name__)


class NotReadyError(Exception):
    """No verified version has been loaded yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """A verified version, ready to answer."""

    version: int
    artifact: Artifact
    predict_one: Callable[[float, float], float]
    sha256: str = ""

    @classmethod
    def of(cls, version: int, artifact: Artifact, sha256: str = "") -> Self:
        """Make a verified version ready."""
        one = one_predictor(artifact.params)
        return cls(version=version, sha256=sha256, artifact=artifact, predict_one=one)


class Registry:
    """The active version in memory, kept up with the store.

    Attributes:
        generation: That of the active version when it was looked at last.
    """

    def __init__(self, store: Store, versions: Versions, metrics: Metrics) -> None:
        """Start without any version."""
        self._store = store
        self._versions = versions
        self._metrics = metrics
        self._served: ServedModel | None = None
        self._refreshing = threading.Lock()
        self._look, self._is_closed = threading.Event(), False
        self._has_failed, self._looks_since = False, math.inf
        self.generation = 0

    @property
    def is_degraded(self) -> bool:
        """Whether the store could not be read when last tried, or not yet."""
        return self._has_failed or time.monotonic() > self._looks_since + LOOK_SECONDS

    @property
    def served(self) -> ServedModel | None:
        """The version that serves, if one has been loaded."""
        return self._served

    @property
    def active(self) -> ServedModel:
        """The version that serves.

        Raises:
            NotReadyError: None has been loaded yet.
        """
        if self._served is None:
            raise NotReadyError("no verified version is loaded")
        return self._served

    def open(self) -> None:
        """Prepare the store and load the active version.

        The shipped artifact becomes version 1 of an empty store; where it is damaged
        there is no version, and nothing to serve. A database server that does not
        answer is tried again by every refresh.

        Raises:
            StoreError: The database cannot be used as it is.
        """
        try:
            self.refresh()
        except DBAPIError as error:
            if not self._store.is_remote:
                raise
            logger.warning("the store does not answer: %s", type(error.orig).__name__)
            self._has_failed = True

    def refresh(self) -> None:
        """Load the active version where it is not the one that serves.

        A version that fails its verification is refused once, with a line in the
        log, and the one before goes on serving.
        """
        self._versions.prepare()
        with self._store.read() as connection:
            row = connection.execute(_ACTIVE).first()
        if row is None or row.generation == self.generation:
            return
        try:
            self._serve(self.load(row.version))
        except (ArtifactError, UnknownVersionError) as error:
            logger.error("version %s is refused: %s", row.version, error)  # noqa: TRY400
        else:
            logger.info("version %s is loaded", row.version)
        self.generation = row.generation

    def watch(self, poll_seconds: float) -> None:
        """Refresh from here on, in a thread: no request waits for the store."""
        arguments = (poll_seconds,)
        self._thread = threading.Thread(target=self._watch, args=arguments, daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Refresh no more, and wait a little for a look that is under way."""
        self._is_closed = True
        self.look()
        await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)

    def look(self) -> None:
        """Let the watching thread refresh now."""
        self._look.set()

    def refresh_or_degrade(self) -> None:
        """Refresh; a store that cannot be read leaves the version serving."""
        with self._refreshing:
            self._looks_since = time.monotonic()
            try:
                self.refresh()
            except (SQLAlchemyError, StoreError) as error:
                logger.warning("the store cannot be read: %s", reason(error))
                self._has_failed = True
            else:
                self._has_failed = False
            finally:
                self._looks_since = math.inf

    def reload(self) -> None:
        """Read the active version once more, as the store has it now.

        Raises:
            NotReadyError: There is none.
            ArtifactError: Its bytes are damaged; what is in memory goes on serving.
        """
        with self._refreshing:
            with self._store.read() as connection:
                row = connection.execute(_ACTIVE).first()
            if row is None:
                raise NotReadyError("there is no version")
            self._serve(self.load(row.version))
            self.generation = row.generation

    def load(self, version: int) -> ServedModel:
        """Read one version from the store and verify it.

        Raises:
            UnknownVersionError: There is no such version.
            ArtifactError: Its bytes are damaged.
        """
        content, sha256 = self._versions.weights(version)
        return ServedModel.of(version, load(content, sha256), sha256)

    def _serve(self, model: ServedModel) -> None:
        if self._served is not None and self._served.version != model.version:
            self._metrics.count_swap()
        self._served = model

    def _watch(self, poll_seconds: float) -> None:
        while True:
            self._look.wait(min(poll_seconds, threading.TIMEOUT_MAX))
            self._look.clear()
            if self._is_closed:
                return
            try:
                self.refresh_or_degrade()
            except Exception:  # the thread's boundary: it looks again
                logger.exception("this is a bug")
                self._has_failed = True
