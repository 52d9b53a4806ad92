"""The views of all but jobs: what answers look like, made from rows of the store."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field


class Explanation(BaseModel):
    """Exact Shapley values; the three sum to the probability."""

    baseline: float = Field(description="the probability at 135 lb and 66 in")
    weight: float
    height: float


class LabelledProbability(BaseModel):
    """The answer for one person."""

    probability: float = Field(description="probability of label F")
    label: Literal["F", "M"] = Field(description="F from probability 0.5")
    extrapolating: bool = Field(description="whether training saw nobody out there")


class Prediction(LabelledProbability):
    """The answer for one person, and who gave it."""

    model_version: int
    explanation: Explanation | None = Field(
        default=None, description="only with ?explain=true"
    )


class Predictions(BaseModel):
    """The answers, in the order of the people."""

    predictions: list[LabelledProbability]
    model_version: int


class Metrics(BaseModel):
    """Quality on labelled people."""

    mse: float = Field(description="mean squared error of the probability")
    log_loss: float = Field(description="in nats")
    accuracy: float
    calibration_error: float = Field(description="over ten equal bins")


class Model(BaseModel):
    """A version of the network."""

    version: int
    active: bool
    created_at: datetime
    metrics: Metrics = Field(description="on the holdout, or without one on all rows")
    config: dict[str, Any]
    parent: int | None = Field(description="the version that was active before")
    job: int | None
    sha256: str
    dataset_sha256: str
    rows: int
    note: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Show a row of the models table."""
        return cls.model_validate({**row, "created_at": time_of(row["created_at"])})


class ActiveModel(Model):
    """The version that serves, and the one to roll back to."""

    previous: int | None


class ModelList(BaseModel):
    """Every version, newest first."""

    models: list[Model]
    generation: int = Field(
        description="how often the active version, or the one before it, changed"
    )


class FieldError(BaseModel):
    """One fault; where it is, by pointer, row and column, or parameter."""

    pointer: str | None = None
    row: int | None = Field(default=None, description="of a CSV; 1 is the header")
    column: str | None = None
    parameter: str | None = None
    code: str
    detail: str


class ProblemBody(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[FieldError] | None = None


class Live(BaseModel):
    """The event loop turns."""

    live: Literal[True]


class Ready(BaseModel):
    """A verified version is loaded."""

    ready: Literal[True]
    degraded: bool = Field(description="whether the database does not answer")


class Version(BaseModel):
    """Which program answers, with which version of the network."""

    version: str
    model_version: int | None


class Index(BaseModel):
    """What is here."""

    status: Literal["alive"] = "alive"
    docs: str = "/docs"
    openapi: str = "/openapi.json"
    predict: str = "/predict"
    train: str = "/train"
    models: str = "/models"


class ProblemKind(BaseModel):
    """A kind of problem."""

    code: str
    title: str
    status: int


def time_of(seconds: float | None) -> datetime | None:
    """Return a time of the database's clock."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
