"""The tables, and the database's clock: the same on SQLite and PostgreSQL."""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

Reader = Callable[[Any], bytes]
_BINARY: Final = (bytes, bytearray, memoryview)


class Bytes(LargeBinary):
    """Bytes, also where SQLite, which knows no types, has been given something else.

    Whoever reads damage as bytes finds it by their hash.
    """

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Reader:
        """Return what makes bytes of a column's value."""
        del dialect, coltype
        return _as_bytes


def _as_bytes(value: object) -> bytes:
    return bytes(value) if isinstance(value, _BINARY) else str(value).encode()


metadata = MetaData()

schema = Table(
    "offsetnet_schema",
    metadata,
    Column("version", Integer, primary_key=True),
)

datasets = Table(
    "datasets",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("rows", Integer, nullable=False),
    Column("content", Bytes, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("version", Integer, Identity(start=2), primary_key=True),  # 1 is shipped
    Column("sha256", String(64), nullable=False),
    Column("weights", Bytes, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("config", JSON, nullable=False),
    Column("parent", Integer),  # it may be deleted before its child
    Column("job", Integer),
    Column("dataset_sha256", String(64), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("note", String(200)),
    Column("created_at", Double, nullable=False),
    sqlite_autoincrement=True,  # a version is never given twice
)

active = Table(
    "active",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("version", Integer, ForeignKey("models.version"), nullable=False),
    Column("previous", Integer, ForeignKey("models.version")),
    Column("generation", Integer, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("revision", Integer, nullable=False, default=1),  # counts its changes
    Column("state", String(16), nullable=False),
    Column("outcome", String(16)),
    Column("reason", String(32)),
    Column("attempt", Integer, nullable=False, default=0),
    Column("owner", String(64)),
    Column("lease_until", Double),
    Column("epoch", Integer, nullable=False, default=0),
    Column("train_loss", Double),
    Column("holdout_loss", Double),
    Column("history", JSON, nullable=False, default=list),
    Column("dataset_sha256", ForeignKey("datasets.sha256"), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("config", JSON, nullable=False),
    Column("promote", String(16), nullable=False),
    Column("note", String(200)),
    Column("warnings", JSON, nullable=False),
    Column("metrics", JSON(none_as_null=True)),
    Column("model_version", Integer),
    Column("caller", String(64), nullable=False),  # a key's digest, or empty
    Column("idempotency_key", String(255)),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Index("jobs_by_state", "state", "id"),
    Index("jobs_by_outcome", "state", "outcome", "started_at", "finished_at"),
    Index("jobs_by_dataset", "dataset_sha256"),
    Index("jobs_by_end", "finished_at"),
    Index("jobs_by_key", "caller", "idempotency_key", unique=True),
    sqlite_autoincrement=True,
)


class now(FunctionElement[float]):  # noqa: N801 - written like any SQL function
    """The database's clock, in seconds since 1970."""

    type = Double()
    inherit_cache = True


@compiles(now, "sqlite")
def _sqlite_now(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _postgresql_now(*_: Any, **__: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
