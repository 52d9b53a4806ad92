"""Training requests, from bytes to a submission: everything is checked here, first."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from app.job_words import Promote
from app.jobs import Submission
from app.schemas import TrainQuery
from app.shapes import shape_of
from app.training_settings import ConfigChanges
from model import (
    ARTICLE_CONFIG,
    ARTICLE_PEOPLE,
    LABELS,
    OFFSETS,
    Dataset,
    Table,
    TrainingConfig,
)

MAX_ROW_EPOCHS: Final = 1_000_000_000


class SingleClassError(Exception):
    """All people have the same label."""


class WorkBudgetError(Exception):
    """Rows times epochs is too much work for one job."""


def from_json(body: bytes) -> Submission:
    """Read a training request; an empty body asks for the article's training.

    Raises:
        pydantic.ValidationError: The body is not JSON or breaks its schema.
        SingleClassError, WorkBudgetError: It cannot be trained on.
    """
    shape = shape_of(body)
    request = shape.train.validate_json(body or b"{}")
    if request.examples is None:
        data, defaults = ARTICLE_PEOPLE, ARTICLE_CONFIG
    else:
        X = shape.units.offsets_of_all(request.examples)
        y = [[LABELS.index(example["label"])] for example in request.examples]
        data, defaults = Dataset(X=X, y=np.array(y, np.float64)), TrainingConfig()
    return _submit(data, defaults, request.config, request.promote, request.note)


def from_csv(table: Table, query: TrainQuery) -> Submission:
    """Make a submission of the people of a CSV.

    Raises:
        SingleClassError, WorkBudgetError: It cannot be trained on.
    """
    data = table.to_dataset()
    return _submit(data, TrainingConfig(), query, query.promote, query.note)


def _submit(
    data: Dataset,
    defaults: TrainingConfig,
    changes: ConfigChanges,
    promote: Promote,
    note: str | None,
) -> Submission:
    config = changes.apply_to(defaults)
    if not data.has_both_classes:
        raise SingleClassError("at least one F and one M are needed")
    if len(data) * config.epochs > MAX_ROW_EPOCHS:
        raise WorkBudgetError(f"rows times epochs may be {MAX_ROW_EPOCHS} at most")
    return Submission(
        data=data,
        config=config.for_rows(len(data)),
        promote=promote,
        note=note,
        warnings=tuple(_warnings(data, config)),
    )


def _warnings(data: Dataset, config: TrainingConfig) -> Iterator[str]:
    """Say what may surprise, without being wrong."""
    if conflicting := data.conflicting_rows():
        yield f"{conflicting} conflicting rows"
    for name, spread in zip(OFFSETS.columns, np.ptp(data.X, axis=0), strict=True):
        if spread == 0:
            yield f"{name} is constant"
    if config.holdout and config.for_rows(len(data)) != config:
        yield "no holdout: too few rows"
