"""The registry: which versions exist, and the one that serves.

The active version is one immutable object behind one reference, `active`. A request
reads the reference once and keeps what it got; a swap is one assignment.
"""

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, true, update
from sqlalchemy.exc import SQLAlchemyError

from app.store import Store, active, models, now
from model import Artifact, ArtifactError, load, load_shipped

logger = logging.getLogger(__name__)


class NotReadyError(Exception):
    """No verified version has been loaded yet."""


class UnknownVersionError(Exception):
    """There is no such version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """A verified version, ready to answer."""

    version: int
    artifact: Artifact


class Registry:
    """The versions in the store, and the active one in memory.

    Attributes:
        is_degraded: Whether the store could not be read when last tried.
    """

    def __init__(self, store: Store) -> None:
        """Make the shipped artifact version 1 of an empty store, and load the active.

        Where that artifact is damaged there is no version, and nothing to serve.
        """
        self._store = store
        self._served: ServedModel | None = None
        self._generation = 0
        self._refreshing = asyncio.Lock()
        self.is_degraded = False
        try:
            with store.write() as connection:
                if connection.scalar(select(active.c.generation)) is None:
                    _ship(connection)
        except ArtifactError as error:
            logger.error("the shipped artifact is refused: %s", error)  # noqa: TRY400
        self.refresh()

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

    def refresh(self) -> None:
        """Load the active version where it is not the one that serves.

        A version that fails its verification is refused once, with a line in the
        log, and the one before goes on serving.
        """
        with self._store.read() as connection:
            row = connection.execute(select(active)).first()
        if row is None or row.generation == self._generation:
            return
        try:
            self._served = self.load(row.version)
        except ArtifactError as error:
            logger.error("version %s is refused: %s", row.version, error)  # noqa: TRY400
        else:
            logger.info("version %s is loaded", row.version)
        self._generation = row.generation

    async def watch(self, poll_seconds: float) -> None:
        """Refresh for ever; a store that cannot be read leaves the version serving."""
        while True:
            await asyncio.sleep(poll_seconds)
            await self.refresh_in_thread()

    async def refresh_in_thread(self) -> None:
        """Refresh without holding the event loop, one after the other."""
        async with self._refreshing:
            try:
                await asyncio.to_thread(self.refresh)
            except SQLAlchemyError as error:
                logger.warning("the store cannot be read: %s", type(error).__name__)
                self.is_degraded = True
            else:
                self.is_degraded = False

    def load(self, version: int) -> ServedModel:
        """Read one version from the store and verify it.

        Raises:
            UnknownVersionError: There is no such version.
            ArtifactError: Its bytes are damaged.
        """
        content, sha256 = self.weights(version)
        return ServedModel(version=version, artifact=load(content, sha256))

    def weights(self, version: int) -> tuple[bytes, str]:
        """Return a version's bytes and the hash of record.

        Raises:
            UnknownVersionError: There is no such version.
            ArtifactError: The bytes are not those of the hash.
        """
        query = select(models.c.weights, models.c.sha256)
        with self._store.read() as connection:
            row = connection.execute(query.where(models.c.version == version)).first()
        if row is None:
            raise UnknownVersionError("there is no such version")
        if hashlib.sha256(row.weights).hexdigest() != row.sha256:
            raise ArtifactError(f"the SHA-256 is not {row.sha256[:12]}...")
        return row.weights, row.sha256

    def describe_all(self) -> tuple[list[dict[str, Any]], int]:
        """Return every version's facts, newest first, and the generation."""
        with self._store.read() as connection:
            rows = connection.execute(_DESCRIBED.order_by(models.c.version.desc()))
            versions = [dict(row) for row in rows.mappings()]
            return versions, connection.scalar(select(active.c.generation)) or 0

    def describe(self, version: int) -> dict[str, Any]:
        """Return one version's facts.

        Raises:
            UnknownVersionError: There is no such version.
        """
        with self._store.read() as connection:
            query = _DESCRIBED.where(models.c.version == version)
            row = connection.execute(query).mappings().first()
        if row is None:
            raise UnknownVersionError("there is no such version")
        return dict(row)

    def describe_active(self) -> tuple[dict[str, Any], int]:
        """Return the active version, with the one before it, and the generation.

        Raises:
            NotReadyError: There is none.
        """
        with self._store.read() as connection:
            query = _DESCRIBED.add_columns(active.c.previous, active.c.generation)
            found = connection.execute(query.where(_IS_ACTIVE)).mappings().first()
        if found is None:
            raise NotReadyError("there is no version")
        row = dict(found)
        return row, row.pop("generation")


_IS_ACTIVE = models.c.version == func.coalesce(active.c.version, 0)
_DESCRIBED = select(
    *(column for column in models.c if column.name != "weights"),
    _IS_ACTIVE.label("active"),
).join_from(models, active, true(), isouter=True)


def add_version(connection: Connection, weights: bytes, **facts: Any) -> int:
    """Store a version, not yet active, and return its number.

    Args:
        connection: A writing transaction.
        weights: The artifact's bytes.
        facts: `parent`, `job` and `note`, where there are any.
    """
    artifact = load(weights)
    version: int = connection.execute(
        insert(models)
        .values(
            sha256=hashlib.sha256(weights).hexdigest(),
            weights=weights,
            metrics=artifact.metrics._asdict(),
            config=artifact.config.to_dict(),
            dataset_sha256=artifact.dataset_sha256,
            rows=artifact.rows,
            created_at=now(),
            **facts,
        )
        .returning(models.c.version)
    ).scalar_one()
    return version


def activate(connection: Connection, version: int) -> None:
    """Make a version the active one, in a writing transaction."""
    changed = connection.execute(
        update(active).values(
            version=version,
            previous=active.c.version,
            generation=active.c.generation + 1,
        )
    )
    if changed.rowcount == 0:  # the first of all
        connection.execute(insert(active).values(id=1, version=version, generation=1))


def active_version(connection: Connection) -> int | None:
    """Return the number of the active version, if there is one."""
    return connection.scalar(select(active.c.version))


def _ship(connection: Connection) -> None:
    activate(connection, add_version(connection, load_shipped()))
