"""Applications to measure ours beside: the bare server, and FastAPI as it is taught."""

from functools import cache
from typing import Final

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from starlette.types import ASGIApp, Receive, Scope, Send

from model import LABEL_THRESHOLD, LABELS, Artifact, load, load_shipped, predict_proba

ANSWER: Final = (  # what ours answers to Emily, byte by byte
    b'{"probability":0.9490425525427413,"label":"F",'
    b'"extrapolating":false,"model_version":1}'
)


def bare() -> ASGIApp:
    """Make the application that reads a body and answers a constant."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        headers = [
            (b"content-length", str(len(ANSWER)).encode()),
            (b"content-type", b"application/json"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": ANSWER})

    return app


class Person(BaseModel):
    """A person as offsets."""

    model_config = ConfigDict(extra="forbid", strict=True)

    weight_offset: float
    height_offset: float


class Prediction(BaseModel):
    """The answer for one person."""

    probability: float
    label: str
    extrapolating: bool
    model_version: int


def taught() -> FastAPI:
    """Make FastAPI's plain routes: /predict in `async def`, /threaded in `def`."""
    app = FastAPI()

    @app.get("/readyz")
    async def readyz() -> bool:
        return True

    @app.post("/predict")
    async def predict(person: Person) -> Prediction:
        return _predict(person)

    @app.post("/threaded")
    def threaded(person: Person) -> Prediction:
        return _predict(person)

    return app


def one_route() -> FastAPI:
    """Make a FastAPI application of one route, which loads nothing."""
    app = FastAPI()

    @app.get("/readyz")
    async def readyz() -> bool:
        return True

    return app


@cache
def _artifact() -> Artifact:
    return load(load_shipped())


def _predict(person: Person) -> Prediction:
    X = np.array([[person.weight_offset, person.height_offset]])
    probability = float(predict_proba(_artifact().params, X)[0])
    return Prediction(
        probability=probability,
        label=LABELS[probability >= LABEL_THRESHOLD],
        extrapolating=bool(_artifact().ranges.outside(X)[0]),
        model_version=1,
    )
