"""The versions of the network in the store: shown, activated, deleted."""

import hashlib
import logging
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, select, true, update

from app.settings import Settings
from app.store import Store
from app.tables import active, models
from app.version_rows import (
    SHIPPED_VERSION,
    active_version,
    add_version,
    prune,
    set_active,
)
from model import Artifact, ArtifactError, load, load_shipped

logger = logging.getLogger(__name__)


class NoVersionError(Exception):
    """No version is active yet."""


class UnknownVersionError(Exception):
    """There is no such version."""


class StaleGenerationError(Exception):
    """The active version is not the one that the caller has seen."""


class VersionInUseError(Exception):
    """The version must stay."""


class Champion(NamedTuple):
    """The active version, as a challenger meets it.

    Attributes:
        generation: Which setting of the active version this is.
        artifact: None where its bytes are damaged or there is none.
    """

    generation: int
    artifact: Artifact | None


class Versions:
    """The versions of one store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """Take the number of versions to keep from the settings."""
        self._store = store
        self._keep = settings.keep_versions
        self._is_prepared = False

    def prepare(self) -> None:
        """Make the tables, and the shipped artifact version 1, where they are missing.

        Where that artifact is damaged there is no version, and one line in the log.

        Raises:
            StoreError: The database cannot be used as it is.
        """
        if self._is_prepared:
            return
        self._store.prepare()
        try:
            with self._store.write() as connection:
                if active_version(connection) is None:
                    number = _shipped_number(connection)
                    version = add_version(connection, load_shipped(), version=number)
                    set_active(connection, version)
        except ArtifactError as error:
            logger.error("the shipped artifact is refused: %s", error)  # noqa: TRY400
        self._is_prepared = True

    def champion(self) -> Champion:
        """Return the active version, verified."""
        query = select(active.c.generation, models.c.weights, models.c.sha256)
        with self._store.read() as connection:
            row = connection.execute(query.join_from(active, models, _POINTS)).first()
        if row is None:
            return Champion(0, None)
        try:
            return Champion(row.generation, load(row.weights, row.sha256))
        except ArtifactError:
            return Champion(row.generation, None)

    def weights(self, version: int) -> tuple[bytes, str]:
        """Return a version's bytes and the hash of record.

        Raises:
            UnknownVersionError: There is no such version.
            ArtifactError: The bytes are not those of the hash.
        """
        with self._store.read() as connection:
            content, sha256 = _weights(connection, version)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ArtifactError(f"the SHA-256 is not {sha256[:12]}...")
        return content, sha256

    def describe_all(self) -> tuple[list[dict[str, Any]], int]:
        """Return every version's facts, newest first, and the generation."""
        with self._store.read() as connection:
            query = _DESCRIBED.order_by(models.c.version.desc())
            versions = [dict(row) for row in connection.execute(query).mappings()]
        return versions, versions[0]["generation"] or 0 if versions else 0

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
            NoVersionError: There is none.
        """
        with self._store.read() as connection:
            found = connection.execute(_DESCRIBED.where(_IS_ACTIVE)).mappings().first()
        if found is None:
            raise NoVersionError("there is no version")
        return dict(found), found["generation"]

    def activate(self, version: int, expected: frozenset[int] | None) -> None:
        """Make a verified version the active one, for every process.

        Args:
            version: Its number.
            expected: The generations that the caller has seen; None is any.

        Raises:
            UnknownVersionError: There is no such version.
            StaleGenerationError: The active version was set meanwhile.
            ArtifactError: Its bytes are damaged; nothing is changed.
        """
        with self._store.write() as connection:
            generation = connection.scalar(select(active.c.generation)) or 0
            if expected is not None and generation not in expected:
                raise StaleGenerationError("the active version was set meanwhile")
            load(*_weights(connection, version))
            set_active(connection, version)
            prune(connection, self._keep)

    def delete(self, version: int) -> None:
        """Remove a version for good.

        Raises:
            UnknownVersionError: There is no such version.
            VersionInUseError: It is active, or came with the package.
        """
        with self._store.write() as connection:
            is_it = models.c.version == version
            if connection.scalar(select(models.c.version).where(is_it)) is None:
                raise UnknownVersionError("there is no such version")
            if version == SHIPPED_VERSION:
                raise VersionInUseError("this version came with the package")
            if version == active_version(connection):
                raise VersionInUseError("this version is active")
            forgotten = update(active).where(active.c.previous == version)
            generation = active.c.generation + 1  # what is shown of it changes, too
            connection.execute(forgotten.values(previous=None, generation=generation))
            connection.execute(delete(models).where(is_it))


_POINTS = active.c.version == models.c.version
_IS_ACTIVE = models.c.version == func.coalesce(active.c.version, 0)
_DESCRIBED = select(
    *(column for column in models.c if column.name != "weights"),
    _IS_ACTIVE.label("active"),
    active.c.previous,
    active.c.generation,
).join_from(models, active, true(), isouter=True)


def _shipped_number(connection: Connection) -> int:
    """Return 1, or the next number where a training took that."""
    newest = connection.scalar(select(func.max(models.c.version)))
    return SHIPPED_VERSION if newest is None else newest + 1


def _weights(connection: Connection, version: int) -> tuple[bytes, str]:
    query = select(models.c.weights, models.c.sha256)
    row = connection.execute(query.where(models.c.version == version)).first()
    if row is None:
        raise UnknownVersionError("there is no such version")
    return row.weights, row.sha256
