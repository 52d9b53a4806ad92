"""Prediction: from a request's bytes and the version that serves to the answer's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic_core import to_json

from app.metrics import Metrics
from app.registry import ServedModel
from app.schemas import MAX_INSTANCES
from app.shapes import read_person, shape_of
from model import (
    LABEL_THRESHOLD,
    LABELS,
    Artifact,
    CsvReader,
    Floats,
    Table,
    explain,
    predict_proba,
)

CSV_COLUMNS: Final = ("probability", "label", "extrapolating")


def predict(
    model: ServedModel,
    body: bytes,
    metrics: Metrics | None = None,
    *,
    with_explanation: bool,
) -> bytes:
    """Answer for one person, counted in the metrics.

    Raises:
        pydantic.ValidationError: The body is not JSON or not a person.
    """
    artifact, (weight, height) = model.artifact, read_person(body)
    probability = model.predict_one(weight, height)
    answer: dict[str, Any] = {
        "probability": probability,
        "label": LABELS[probability >= LABEL_THRESHOLD],
        "extrapolating": not artifact.ranges.contain(weight, height),
        "model_version": model.version,
    }
    if with_explanation:
        answer["explanation"] = explain(artifact.params, weight, height)._asdict()
    if metrics is not None:
        metrics.count_prediction(probability)
    return to_json(answer)


def predict_batch(model: ServedModel, body: bytes, metrics: Metrics) -> bytes:
    """Answer for up to 1,000 people as JSON, in order.

    Raises:
        pydantic.ValidationError: The body is not JSON or breaks its schema.
    """
    shape = shape_of(body)
    instances = shape.batch.validate_json(body)["instances"]
    X = shape.units.offsets_of_all(instances)
    predictions = answers(model.artifact, X, metrics)
    return to_json({"predictions": predictions, "model_version": model.version})


def predict_csv(model: ServedModel, body: bytes, metrics: Metrics) -> bytes:
    """Answer for up to 1,000 people as CSV: their columns, then ours.

    Raises:
        CsvError: The table breaks a rule.
    """
    reader = CsvReader(labelled=False, max_rows=MAX_INSTANCES)
    reader.feed(body)
    table = reader.finish()

    def ask(values: Floats) -> Sequence[Mapping[str, Any]]:
        return answers(model.artifact, table.units.to_offsets(values), metrics)

    return "".join(csv_lines(table, ask)).encode()


def csv_lines(
    table: Table, ask: Callable[[Floats], Sequence[Mapping[str, Any]]]
) -> Iterator[str]:
    """Yield the lines of a CSV: the table's columns as they came, then ours.

    Args:
        table: The people.
        ask: Returns the answers for up to 1,000 of them, values of shape (N, 2).
    """
    yield ",".join((*table.header, *CSV_COLUMNS)) + "\n"
    order = [table.units.columns.index(name) for name in table.header]
    for start in range(0, len(table.values), MAX_INSTANCES):
        values = table.values[start : start + MAX_INSTANCES]
        pairs = "\n".join([f"{a!r},{b!r}," for a, b in values[:, order].tolist()])
        people = pairs.replace(".0,", ",").split("\n")
        for person, answer in zip(people, ask(values), strict=True):
            is_outside = "true" if answer["extrapolating"] else "false"
            yield f"{person}{answer['probability']!r},{answer['label']},{is_outside}\n"


def answers(
    artifact: Artifact, X: Floats, metrics: Metrics | None = None
) -> list[dict[str, Any]]:
    """Return the answer for each row of offsets X (N, 2), counted in the metrics."""
    P = predict_proba(artifact.params, X)
    if metrics is not None:
        metrics.count_predictions(P)
    outside = artifact.ranges.outside(X).tolist()
    return [
        {
            "probability": p,
            "label": LABELS[p >= LABEL_THRESHOLD],
            "extrapolating": is_outside,
        }
        for p, is_outside in zip(P.tolist(), outside, strict=True)
    ]
