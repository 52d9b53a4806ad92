"""The settings: the one place that reads the environment."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

LEASE_BEATS: Final = 3  # beats that may be missed
PREFIX: Final = "OFFSETNET_"
TELEMETRY: Final = ("opentelemetry.sdk", "opentelemetry.exporter")  # of the extra

Names = Annotated[tuple[str, ...], NoDecode]
LogFormat = Literal["text", "json"]
Keys = Annotated[tuple[SecretStr, ...], NoDecode]


class Settings(BaseSettings):
    """What can be set from outside, as `OFFSETNET_<NAME>`.

    Lists are written with commas. A key may stand in a file, named by
    `OFFSETNET_ADMIN_KEY_FILE` or `OFFSETNET_PREDICT_KEY_FILE`, one a line.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    data_dir: Path = Field(
        default=Path("offsetnet-data"),
        description="folder of the database and runner's lock",
    )
    database_url: SecretStr | None = Field(
        default=None, description="postgresql://... in place of that folder's database"
    )
    database_url_file: Path | None = Field(
        default=None, description="file with such a URL, where none is set"
    )
    runner: bool = Field(
        default=True, description="whether a server trains, too, in a process beside it"
    )
    admin_key: Keys = Field(default=(), description="keys that may train")
    admin_key_file: Path | None = Field(default=None, description="file with such keys")
    predict_key: Keys = Field(default=(), description="keys that may predict and read")
    predict_key_file: Path | None = Field(
        default=None, description="file with such keys"
    )
    wrong_keys_limit: int = Field(
        default=20,
        ge=1,
        description="wrong keys a minute from one address, in each process",
    )
    allowed_hosts: Names = Field(
        default=(), description="further Host names to answer on loopback connections"
    )
    public_docs: bool = Field(
        default=True, description="whether /docs, its document and /metrics need no key"
    )
    log_format: LogFormat = Field(
        default="text", description="how log lines look: text or json"
    )
    access_log: bool = Field(
        default=False, description="whether `offsetnet serve` logs each request"
    )
    tracing: bool = Field(
        default=False, description="whether requests are traced with OpenTelemetry"
    )
    queue_limit: int = Field(default=100, ge=1, description="queued jobs at most")
    caller_limit: int = Field(
        default=10, ge=1, description="queued jobs at most of one admin key"
    )
    gate_tolerance: float = Field(
        default=1.01,
        ge=1,
        le=2,
        description="how many times the active version's error a new one may have",
    )
    keep_versions: int = Field(
        default=20, ge=1, description="newest versions that are kept"
    )
    keep_jobs_seconds: float = Field(
        default=604_800,
        gt=0,
        description="how long finished jobs are kept; one with an idempotency key "
        "for 24 h at least",
    )
    streams_limit: int = Field(
        default=100, ge=1, description="open event streams at most, in each process"
    )
    caller_streams_limit: int = Field(
        default=5, ge=1, description="open event streams at most of one key"
    )
    client_idle_seconds: float = Field(
        default=5,
        ge=1,
        description="time for a request's head, or between parts of its body",
    )
    client_request_seconds: float = Field(
        default=30,
        ge=1,
        description="time for a whole request, and a second more for each MiB",
    )
    client_stall_seconds: float = Field(
        default=30, ge=1, description="time in which a client must read something"
    )
    keep_alive_seconds: int = Field(
        default=5,
        ge=1,
        description="time in which the next request of a connection must begin",
    )
    ping_seconds: float = Field(
        default=15, gt=0, description="silence after which a stream sends a comment"
    )
    training_seconds: float = Field(
        default=300, gt=0, description="time that a job may take"
    )
    training_memory_bytes: int = Field(
        default=1 << 30,
        ge=1 << 28,
        le=1 << 62,
        description="address space of the runner",
    )
    metrics_file: Path | None = Field(
        default=None,
        description="file in which processes add their metrics up, as --workers does",
    )
    poll_seconds: float = Field(
        default=1, gt=0, description="how often servers look for a new active version"
    )
    beat_seconds: float = Field(default=1, gt=0, description="how often a job reports")
    lease_seconds: float = Field(
        default=15,
        gt=0,
        description="silence after which a job is given to another runner",
    )
    stall_seconds: float = Field(
        default=30, gt=0, description="time without any computing that ends a job's try"
    )
    max_attempts: int = Field(
        default=3, ge=1, description="tries before a job fails for good"
    )

    @field_validator("admin_key", "predict_key", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("tracing")
    @classmethod
    def _check_telemetry(cls, value: bool) -> bool:  # noqa: FBT001 - pydantic's way
        if value and not all(map(find_spec, TELEMETRY)):
            raise ValueError("install offsetnet[telemetry], which tracing needs")
        return value

    @model_validator(mode="after")
    def _check_lease(self) -> Self:
        if round(self.lease_seconds / self.beat_seconds, 9) < LEASE_BEATS:
            raise ValueError("lease_seconds must be at least three times beat_seconds")
        return self

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        for name in ("admin_key_file", "predict_key_file", "database_url_file"):
            try:
                _lines(getattr(self, name))
            except (OSError, UnicodeError) as error:
                raise ValueError(f"{PREFIX}{name.upper()}: {error}") from error
        if self.database_url_file and not self.database():  # SQLite would serve instead
            raise ValueError(f"{PREFIX}DATABASE_URL_FILE: is empty")
        return self

    @property
    def lock_path(self) -> Path:
        """What the one runner of a data folder holds."""
        return self.data_dir / "runner.lock"

    def database(self) -> str | None:
        """Return the database's URL, from the setting or from its file."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return next(iter(_lines(self.database_url_file)), None)

    def all_admin_keys(self) -> tuple[bytes, ...]:
        """Return the admin keys from the setting and from its file."""
        return _keys(self.admin_key, self.admin_key_file)

    def all_predict_keys(self) -> tuple[bytes, ...]:
        """Return the predict keys from the setting and from its file."""
        return _keys(self.predict_key, self.predict_key_file)

    def runner_environment(self) -> dict[str, str]:
        """Return the variables that give a child process these settings, keys aside."""
        keys = {"admin_key", "predict_key", "admin_key_file", "predict_key_file"}
        others = {"wrong_keys_limit", "allowed_hosts"}
        names = type(self).model_fields.keys() - keys - others
        values = {name: getattr(self, name) for name in names}
        return {
            PREFIX + name.upper(): str(_reveal(value))
            for name, value in values.items()
            if value is not None
        }


def publish(**values: object) -> None:
    """Set settings for this process and those that it starts."""
    for name, value in values.items():
        os.environ[PREFIX + name.upper()] = str(value)


def describe(error: ValidationError) -> list[str]:
    """Say what is wrong with which variable."""
    return [
        ": ".join(
            [*(PREFIX + str(name).upper() for name in fault["loc"]), fault["msg"]]
        )
        for fault in error.errors()
    ]


def _reveal(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _keys(given: tuple[SecretStr, ...], file: Path | None) -> tuple[bytes, ...]:
    secrets = [key.get_secret_value() for key in given]
    keys = filter(None, (*secrets, *_lines(file)))
    return tuple(key.encode(errors="surrogateescape") for key in keys)


def _lines(file: Path | None) -> list[str]:
    """Return the lines that say something, without what is around them."""
    lines = file.read_text().splitlines() if file else []
    return [line.strip() for line in lines if line.strip()]
