"""What a client may ask: each call is written once, for every way to send it."""

import json
import uuid
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar

import httpx

from app.job_views import Job
from app.protocol import T, parse
from app.views import ActiveModel, Model, ModelList, Prediction, Predictions

AGAIN_SECONDS: Final = 10.0  # to go on asking what may be asked again
BESIDE_CONFIG: Final = {"promote", "note"}

Pieces = Iterable[bytes] | AsyncIterable[bytes]
R = TypeVar("R")


class Call(NamedTuple, Generic[R]):
    """A request, and what its answer means.

    Attributes:
        read: Makes of an answer what the caller gets.
        method: Of HTTP.
        path: Where to ask.
        request: The rest, in httpx's words.
        seconds: For which to ask again where a failure may pass; 0 where asking twice
            is not the same as asking once.
    """

    read: Callable[[httpx.Response], R]
    method: str
    path: str
    request: Mapping[str, Any] = {}
    seconds: float = 0.0


def predict(
    *, explain: bool = False, model_version: int | None = None, **person: float
) -> Call[Prediction]:
    """Predict one person.

    Args:
        explain: Whether to add the exact Shapley values.
        model_version: Which version shall answer; the active one by default.
        person: In one of the three shapes, such as `weight_lb=128, height_in=63`.
    """
    params = _given(model_version=model_version, explain=explain or None)
    request = {"json": person, "params": params}
    return Call(_reader(Prediction), "POST", "/predict", request, AGAIN_SECONDS)


def predict_batch(
    people: Sequence[Mapping[str, float]], *, model_version: int | None = None
) -> Call[Predictions]:
    """Predict up to 1,000 people, in order, all in one of the three shapes."""
    request = {
        "json": {"instances": [*people]},
        "params": _given(model_version=model_version),
    }
    return Call(_reader(Predictions), "POST", "/predict/batch", request, AGAIN_SECONDS)


def train_csv(content: bytes | Pieces, **query: Any) -> Call[Job]:
    """Submit a training on the people of a CSV.

    Args:
        content: The CSV; what is not in bytes is sent once and never again.
        query: Training settings, `promote` and `note`; None is the default, but for
            `patience`, where it is null.
    """
    params = _given(**query)
    if "patience" in query:
        params.setdefault("patience", "null")
    return _submission(content, "text/csv", params)


def train_json(request: Mapping[str, Any]) -> Call[Job]:
    """Submit a training request; without `examples`, on the article's people."""
    return _submission(json.dumps(request).encode(), "application/json", {})


def train(
    people: Sequence[Mapping[str, Any]] | bytes | None, settings: dict[str, Any]
) -> Call[Job]:
    """Submit a training on examples, a CSV, or by default the article's people."""
    if isinstance(people, bytes):
        return train_csv(people, **settings)
    request = {n: settings.pop(n) for n in BESIDE_CONFIG & settings.keys()}
    examples = {} if people is None else {"examples": [*people]}
    return train_json({**examples, **request, "config": settings})


def job(job_id: int) -> Call[Job]:
    """Return a job as it stands."""
    return Call(_reader(Job), "GET", f"/train/{job_id}")


def cancel(job_id: int) -> Call[Job]:
    """Cancel a job."""
    return Call(_reader(Job), "DELETE", f"/train/{job_id}")


def models() -> Call[ModelList]:
    """Return every version, newest first."""
    return Call(_reader(ModelList), "GET", "/models")


def model(version: int) -> Call[Model]:
    """Return one version."""
    return Call(_reader(Model), "GET", f"/models/{version}")


def active() -> Call[tuple[ActiveModel, str]]:
    """Return the version that serves, and the ETag to replace it with."""

    def read(response: httpx.Response) -> tuple[ActiveModel, str]:
        found = parse(ActiveModel, response.content)
        return found, response.headers.get("ETag", "")

    return Call(read, "GET", "/models/active")


def activate(version: int, etag: str) -> Call[ActiveModel]:
    """Let a version serve.

    Args:
        version: Its number.
        etag: Of the active version that the caller has seen; `*` for any.
    """
    request = {"headers": {"If-Match": etag}, "json": {"version": version}}
    return Call(_reader(ActiveModel), "PUT", "/models/active", request)


def weights(version: int) -> Call[bytes]:
    """Return the bytes of a version's artifact."""
    return Call(attrgetter("content"), "GET", f"/models/{version}/weights")


def _submission(
    content: bytes | Pieces, media_type: str, params: Mapping[str, Any]
) -> Call[Job]:
    """Submit a job once, by as many tries as it takes: they all have one key."""
    headers = {"Content-Type": media_type, "Idempotency-Key": uuid.uuid4().hex}
    request = {"content": content, "params": params, "headers": headers}
    seconds = AGAIN_SECONDS if isinstance(content, bytes) else 0.0
    return Call(_reader(Job), "POST", "/train", request, seconds)


def _reader(kind: type[T]) -> Callable[[httpx.Response], T]:
    return lambda response: parse(kind, response.content)


def _given(**parameters: Any) -> dict[str, Any]:
    """Return the parameters that are given."""
    return {name: value for name, value in parameters.items() if value is not None}
