"""The views: what answers look like, made from rows of the store."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]


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


class Comparison(BaseModel):
    """Both networks on the same held-out people."""

    challenger: Metrics
    champion: Metrics | None = Field(description="null where none was active")
    rows: int


class Links(BaseModel):
    """Where to look next."""

    self: str
    events: str
    model: str | None


class Job(BaseModel):
    """A training job."""

    id: int
    state: State
    outcome: Literal["promoted", "rejected", "kept"] | None
    reason: str | None = Field(description="why it failed, or does not serve")
    attempt: int
    epoch: int
    epochs: int
    progress: float = Field(description="from 0 to 1")
    train_loss: float | None
    holdout_loss: float | None
    eta_seconds: float | None = Field(description="at most, while it runs")
    history: list[tuple[int, float, float | None]] = Field(
        description="epoch, train loss, holdout loss; 200 points at most"
    )
    rows: int
    dataset_sha256: str
    config: dict[str, Any]
    promote: Literal["if_better", "always", "never"]
    note: str | None
    warnings: list[str]
    metrics: Comparison | None
    model_version: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: Links

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Show a row of the jobs table."""
        epochs, epoch = row["config"]["epochs"], row["epoch"]
        version = row["model_version"]
        return cls.model_validate(
            {
                **row,
                **{name: _time(row[name]) for name in _TIMES},
                "epochs": epochs,
                "progress": 1.0 if row["state"] == "succeeded" else epoch / epochs,
                "eta_seconds": _eta_seconds(row, epochs),
                "links": Links(
                    self=f"/train/{row['id']}",
                    events=f"/train/{row['id']}/events",
                    model=None if version is None else f"/models/{version}",
                ),
            }
        )


class Split(BaseModel):
    """How many people each side of the split has."""

    training: int
    holdout: int


class Labels(BaseModel):
    """How many people have each label."""

    F: int
    M: int


class DryRun(BaseModel):
    """What a training would work with."""

    rows: int
    labels: Labels
    split: Split
    conflicting_rows: int = Field(description="whose offsets stand under both labels")
    dataset_sha256: str
    config: dict[str, Any]
    promote: Literal["if_better", "always", "never"]
    warnings: list[str]
    champion: Metrics | None = Field(
        description="the active version on the holdout, null without one"
    )


class JobPage(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job]
    next: int | None = Field(description="`before` of the next page")


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
        return cls.model_validate({**row, "created_at": _time(row["created_at"])})


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


_TIMES = ("created_at", "started_at", "finished_at")


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _eta_seconds(row: Mapping[str, Any], epochs: int) -> float | None:
    """Expect the remaining epochs to take as long as those before."""
    if row["state"] != "running" or row["epoch"] == 0:
        return None
    elapsed = row["now"] - row["started_at"]
    return round(float(elapsed * (epochs / row["epoch"] - 1)), 1)
