"""Show where the time of a prediction goes, stage by stage, without any server.

The application is called as the server calls it, with one request again and again, so
that everything is in the processor's caches; in a server that also parses, waits and
writes, the same code takes two to four times as long, and the shares are what tells.
Each row is the least of some repeats.

Usage: python -m benchmarks.stages
"""

import timeit
from collections.abc import Callable, Coroutine
from contextlib import suppress
from http import HTTPStatus
from time import perf_counter
from types import SimpleNamespace
from typing import Any, Final

from pydantic_core import to_json
from rich.console import Console
from rich.table import Table
from starlette.types import ASGIApp, Message

from app.admission import Admission
from app.auth import Guard
from app.bodies import MAX_JSON_BYTES, Json, RawRequest, media_type, read
from app.endpoints import read_query
from app.main import create_app
from app.metrics import Metrics
from app.prediction import predict
from app.registry import ServedModel
from app.schemas import PredictQuery
from app.settings import Settings
from app.shapes import SHAPES
from benchmarks.apps import ANSWER, bare
from benchmarks.predict import EMILY
from model import load, load_shipped

CALLS: Final = 5_000
REPEATS: Final = 7
HEADERS: Final = [
    (b"host", b"127.0.0.1"),
    (b"content-type", b"application/json"),
    (b"content-length", str(len(EMILY)).encode()),
]
SETTINGS: Final = Settings()
GUARD: Final = Guard(SETTINGS)
MODEL: Final = ServedModel.of(1, load(load_shipped()))
ROUTE: Final = ("POST", "/predict")
METRICS: Final = Metrics([ROUTE], ())
NUMBERS: Final = (-7.0, -3.0)
WRITTEN: Final = {
    "probability": 0.949,
    "label": "F",
    "extrapolating": False,
    "model_version": 1,
}
SERVICE: Final = SimpleNamespace(
    admission=Admission(),
    guard=GUARD,
    metrics=METRICS,
    registry=SimpleNamespace(active=MODEL),
)


def scope() -> dict[str, Any]:
    """Return a request's scope as the server makes it."""
    return {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "query_string": b"",
        "headers": HEADERS,
        "server": ("127.0.0.1", 8000),
        "state": {"service": SERVICE, "came": perf_counter()},
    }


async def receive() -> Message:
    """Return the whole body."""
    return {"type": "http.request", "body": EMILY, "more_body": False}


async def send(message: Message) -> None:
    """Take a part of the answer."""
    if message.get("status", HTTPStatus.OK) != HTTPStatus.OK:
        raise RuntimeError(f"the answer is {message['status']}")


def finish(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run what never waits."""
    with suppress(StopIteration):
        coroutine.send(None)


def call(app: ASGIApp) -> Callable[[], None]:
    """Return a function that asks the application once."""
    return lambda: finish(app(scope(), receive, send))  # type: ignore[arg-type] # one


def microseconds(work: Callable[[], object]) -> float:
    """Return the least time of a call."""
    work()
    return min(timeit.repeat(work, number=CALLS, repeat=REPEATS)) / CALLS * 1e6


def stages() -> dict[str, Callable[[], object]]:
    """Return what is done for a prediction, by its name."""
    request = RawRequest(scope(), receive)
    headers = request.scope["state"]["headers"] = dict(HEADERS)
    reader = SHAPES[0].person.validator
    return {
        "is the Host one of ours": lambda: GUARD.check_host(
            request.scope["server"], headers[b"host"]
        ),
        "the request as an object": lambda: RawRequest(request.scope, receive),
        "the query, here none": lambda: read_query(request, PredictQuery),
        "the media type": lambda: media_type(request),
        "reading the body": lambda: finish(read(request, MAX_JSON_BYTES)),
        "predicting, as a whole": lambda: predict(
            MODEL, EMILY, METRICS, with_explanation=False
        ),
        "- validating the bytes": lambda: reader.validate_json(EMILY),
        "- the network": lambda: MODEL.predict_one(*NUMBERS),
        "- the ranges of training": lambda: MODEL.artifact.ranges.contain(*NUMBERS),
        "- counting the answer": lambda: METRICS.count_prediction(0.9),
        "- writing the answer": lambda: to_json(WRITTEN),
        "the answer as an object": lambda: Json(ANSWER),
        "counting the request": lambda: METRICS.count_request(
            METRICS.block(*ROUTE), 200, 2e-5
        ),
    }


def main() -> None:
    """Print a row for each stage."""
    whole = microseconds(call(create_app(SETTINGS)))
    table = Table("stage", "µs", "of the whole")
    table.add_row("bare application", f"{microseconds(call(bare())):.1f}", "")
    table.add_row("offsetnet", f"{whole:.1f}", "100 %", end_section=True)
    for name, work in stages().items():
        found = microseconds(work)
        table.add_row(name, f"{found:.2f}", f"{100 * found / whole:.0f} %")
    Console().print(table)


if __name__ == "__main__":
    main()
