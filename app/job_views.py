"""The views of the jobs: what answers about trainings look like."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from app.job_words import Outcome, Promote, State
from app.views import Metrics, time_of


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
    outcome: Outcome | None
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
    promote: Promote
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
                **{name: time_of(row[name]) for name in _TIMES},
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
    promote: Promote
    warnings: list[str]
    champion: Metrics | None = Field(
        description="the active version on the holdout, null without one"
    )


class JobPage(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job]
    next: int | None = Field(description="`before` of the next page")


_TIMES = ("created_at", "started_at", "finished_at")


def _eta_seconds(row: Mapping[str, Any], epochs: int) -> float | None:
    """Expect the remaining epochs to take as long as those before."""
    if row["state"] != "running" or row["epoch"] == 0:
        return None
    elapsed = row["now"] - row["started_at"]
    return round(float(elapsed * (epochs / row["epoch"] - 1)), 1)
