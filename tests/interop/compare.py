"""Ask servers of the Open Inference Protocol the same, and show what they answer.

Triton's client is as it is, and so are the servers: each serves the article's network
as its documentation says, in an environment of its own under .venv-peers (1 GB for
both). A cell is the status, or what Triton's client raises.

Usage: python -m tests.interop.compare
"""

import asyncio
import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import tritonclient.http
import tritonclient.http.aio
from rich.console import Console
from rich.table import Table
from tritonclient.utils import InferenceServerException

from benchmarks.load import Request
from benchmarks.peers.environment import environment, pinned
from benchmarks.peers.process import AnsweringServer, end_descendants
from tests.server import Server

PEOPLE: Final = np.array([[-7.0, -3.0]])
TENSOR: Final = {"name": "features", "shape": [1, 2], "datatype": "FP64"}
DATA: Final = {**TENSOR, "data": [-7, -3]}


class Subject(NamedTuple):
    """A server, and its model's name."""

    server: Server
    model: str

    def post(self, content: bytes, place: str = "infer", **headers: str) -> str:
        """Send bytes to the model, and return the status."""
        path = f"/v2/models/{self.model}/{place}"
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.server.client.post(path, content=content, headers=names)
        return str(response.status_code)


def triton(subject: Subject, *, is_aio: bool, is_binary: bool) -> str:
    """Predict by Triton's client."""
    tensor = tritonclient.http.InferInput("features", [1, 2], "FP64")
    tensor.set_data_from_numpy(PEOPLE, binary_data=is_binary)
    wanted = tritonclient.http.InferRequestedOutput("probability", binary_data=False)
    outputs = None if is_binary else [wanted]
    address = f"127.0.0.1:{subject.server.port}"

    async def ask() -> Any:
        async with tritonclient.http.aio.InferenceServerClient(address) as client:
            return await client.infer(subject.model, [tensor], outputs=outputs)

    try:
        if is_aio:
            result = asyncio.run(ask())
        else:
            client = tritonclient.http.InferenceServerClient(address)
            result = client.infer(subject.model, [tensor], outputs=outputs)
    except InferenceServerException as error:
        return error.status() or "raises"
    except Exception as error:  # noqa: BLE001 # whatever the client makes of it
        return f"raises {type(error).__name__}"
    probability = result.as_numpy("probability").item()
    return "200" if abs(probability - 0.949) < 1e-3 else "wrong"


def json_post(tensor: dict[str, Any], **members: Any) -> Callable[[Subject], str]:
    """Return a check that sends a request as JSON."""
    content = json.dumps({"inputs": [tensor], **members}).encode()
    return lambda subject: subject.post(content, content_type="application/json")


def get(path: str) -> Callable[[Subject], str]:
    """Return a check that gets a path."""
    return lambda subject: str(subject.server.client.get(path).status_code)


def has_ready_body(subject: Subject) -> str:
    """Tell whether readiness comes with the member that KServe's client reads."""
    text = subject.server.client.get("/v2/health/ready").text
    return "yes" if '"ready"' in text else "no"


def index(subject: Subject) -> str:
    """Ask for the index as Triton's client does, with an empty body."""
    response = subject.server.client.post("/v2/repository/index")
    return str(response.status_code)


CHECKS: Final[dict[str, tuple[Callable[[Subject], str], str]]] = {
    "Triton's client, bytes": (partial(triton, is_aio=False, is_binary=True), "200"),
    "the asynchronous one": (partial(triton, is_aio=True, is_binary=True), "200"),
    "Triton's client, JSON": (partial(triton, is_aio=False, is_binary=False), "200"),
    "the asynchronous one, JSON": (
        partial(triton, is_aio=True, is_binary=False),
        "200",
    ),
    "curl -d": (
        lambda subject: subject.post(
            json.dumps({"inputs": [DATA]}).encode(),
            content_type="application/x-www-form-urlencoded",
        ),
        "200",
    ),
    "JSON without an id": (json_post(DATA), "200"),
    "no inputs": (
        lambda subject: subject.post(b"{}", content_type="application/json"),
        "400",
    ),
    "shape and data differ": (json_post({**DATA, "shape": [2, 2]}), "400"),
    "a string for a number": (json_post({**DATA, "data": ["x", -3]}), "400"),
    "NaN": (json_post({**DATA, "data": [float("nan"), -3]}), "400"),
    "an unknown datatype": (json_post({**DATA, "datatype": "FP65"}), "400"),
    "an unknown output": (json_post(DATA, outputs=[{"name": "x"}]), "400"),
    "a version that is not there": (
        lambda subject: subject.post(
            json.dumps({"inputs": [DATA]}).encode(), "versions/999/infer"
        ),
        "404",
    ),
    "the index, empty body": (index, "200"),
    "a body of readiness": (has_ready_body, "yes"),
    "GET /v2/": (get("/v2/"), "200"),
}


def main() -> None:
    """Start the servers, ask each, and print a row for each question."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.enter_context(end_descendants())
        ours = stack.enter_context(Server(Path(folder) / "ours"))
        subjects = {"offsetnet": Subject(ours, "offsetnet")}
        for peer in ("mlserver", "kserve"):
            data_dir = Path(folder, peer)
            data_dir.mkdir()
            content = json.dumps({"inputs": [{**DATA, "data": [-7, -3]}]}).encode()
            server = AnsweringServer(
                data_dir,
                Request("/v2/models/article/infer", content),
                str(data_dir),
                command=("python", "-m", f"benchmarks.peers.{peer}_app"),
                environment=environment(peer),
            )
            subjects[pinned(peer)] = Subject(stack.enter_context(server), "article")
        table = Table("asked", *subjects, "must be")
        for name, (check, expected) in CHECKS.items():
            table.add_row(name, *map(check, subjects.values()), expected)
    Console().print(table)


if __name__ == "__main__":
    main()
