"""The Open Inference Protocol, byte by byte: what is answered and what is refused."""

import json
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import pytest
from sqlalchemy import update

from app import __version__
from app.schemas import MAX_INSTANCES
from app.store import Store
from app.tables import models
from model import load, load_shipped, predict_proba
from tests.app.answers import EMILY
from tests.server import Server

INFER: Final = "/v2/models/offsetnet/infer"
LENGTH: Final = "Inference-Header-Content-Length"
PEOPLE: Final = [[-7.0, -3.0], [20.0, 2.0]]
LABELS: Final = ["F", "M"]
ROWS: Final = b"".join(struct.pack("<2d", *row) for row in PEOPLE)
PARAMS: Final = load(load_shipped()).params
PROBABILITIES: Final = predict_proba(PARAMS, np.array(PEOPLE)).tolist()


def tensor(**changes: Any) -> dict[str, Any]:
    """Return the input of two people; None takes a member away."""
    whole = {
        "name": "features",
        "shape": [2, 2],
        "datatype": "FP64",
        "data": PEOPLE,
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def binary(size: Any = 32, **changes: Any) -> dict[str, Any]:
    """Return the same with its numbers as bytes."""
    return tensor(data=None, parameters={"binary_data_size": size}, **changes)


def body(*inputs: dict[str, Any], **members: Any) -> bytes:
    """Return a request as JSON."""
    return json.dumps({"inputs": inputs, **members}).encode()


def with_tail(content: bytes, tail: bytes = ROWS) -> dict[str, Any]:
    """Return a request of JSON and bytes behind it."""
    return {"content": content + tail, "headers": {LENGTH: str(len(content))}}


def asked(name: str = "probability", **parameters: Any) -> dict[str, Any]:
    """Return what an output is asked for as."""
    return {"outputs": [{"name": name, "parameters": parameters}]}


@pytest.mark.parametrize(
    "data", [PEOPLE, [one for row in PEOPLE for one in row]], ids=["rows", "flat"]
)
def test_json_is_answered_in_json(client: httpx.Client, data: list[Any]) -> None:
    response = client.post(INFER, content=body(tensor(data=data), id="42"))

    assert response.headers["Content-Type"] == "application/json"
    assert LENGTH not in response.headers
    assert response.json() == {
        "model_name": "offsetnet",
        "model_version": "1",
        "id": "42",
        "outputs": [
            {
                "name": "probability",
                "shape": [2, 1],
                "datatype": "FP64",
                "data": pytest.approx(PROBABILITIES, rel=1e-12),
            },
            {"name": "label", "shape": [2], "datatype": "BYTES", "data": LABELS},
        ],
    }


def test_bytes_are_answered_in_bytes(client: httpx.Client) -> None:
    request = body(binary(), parameters={"binary_data_output": True})

    response = client.post(INFER, **with_tail(request))

    length = int(response.headers[LENGTH])
    head, tail = json.loads(response.content[:length]), response.content[length:]
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert [one["parameters"] for one in head["outputs"]] == [
        {"binary_data_size": 16},
        {"binary_data_size": 10},
    ]
    assert struct.unpack("<2d", tail[:16]) == pytest.approx(PROBABILITIES, rel=1e-12)
    assert tail[16:] == b"\1\0\0\0F\1\0\0\0M"


def test_each_output_says_for_itself_how_it_is_wanted(client: httpx.Client) -> None:
    outputs = [
        {"name": "label", "parameters": {"binary_data": True}},
        {"name": "probability", "parameters": {"binary_data": False}},
    ]
    request = body(tensor(), outputs=outputs, parameters={"binary_data_output": True})

    response = client.post(INFER, content=request)

    length = int(response.headers[LENGTH])
    label, probability = json.loads(response.content[:length])["outputs"]
    assert (label["name"], label["parameters"]) == ("label", {"binary_data_size": 10})
    assert probability["data"] == pytest.approx(PROBABILITIES, rel=1e-12)
    assert "parameters" not in probability


def test_one_person_may_be_sixteen_bytes_alone(client: httpx.Client) -> None:
    response = client.post(INFER, content=ROWS[:16], headers={LENGTH: "0"})

    length = int(response.headers[LENGTH])
    assert json.loads(response.content[:length])["outputs"][0]["shape"] == [1, 1]


def test_the_answer_is_that_of_predict(client: httpx.Client) -> None:
    answer = client.post(INFER, content=body(tensor(), **asked())).json()
    expected = client.post("/predict", json=EMILY).json()["probability"]

    assert answer["outputs"][0]["data"][0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "content_type",
    ["application/octet-stream", "application/x-www-form-urlencoded", "text/csv", "?"],
)
def test_the_media_type_means_nothing(client: httpx.Client, content_type: str) -> None:
    headers = {"Content-Type": content_type}

    assert client.post(INFER, content=body(tensor()), headers=headers).is_success


@pytest.mark.parametrize("datatype", ["FP32", "INT8", "INT16", "INT32", "INT64"])
def test_other_numbers_are_widened(client: httpx.Client, datatype: str) -> None:
    dtype = np.dtype(datatype.lower().replace("fp", "float")).newbyteorder("<")
    raw = np.array(PEOPLE).astype(dtype).tobytes()
    in_bytes = body(binary(len(raw), datatype=datatype), **asked())
    in_json = body(tensor(datatype=datatype), **asked())

    answers = [
        client.post(INFER, **with_tail(in_bytes, raw)).json(),
        client.post(INFER, content=in_json).json(),
    ]

    for answer in answers:
        data = answer["outputs"][0]["data"]
        assert data == pytest.approx(PROBABILITIES, rel=1e-12)


@pytest.mark.parametrize("datatype", ["UINT8", "UINT16", "UINT32", "UINT64"])
def test_numbers_without_a_sign_are_widened(
    client: httpx.Client, datatype: str
) -> None:
    people = [[7, 3], [20, 2]]
    raw = np.array(people).astype(datatype.lower()).tobytes()
    requests = (
        with_tail(body(binary(len(raw), datatype=datatype), **asked()), raw),
        {"content": body(tensor(datatype=datatype, data=people), **asked())},
    )

    answers = [client.post(INFER, **request).json() for request in requests]

    expected = predict_proba(PARAMS, np.array(people, np.float64)).tolist()
    for answer in answers:
        data = answer["outputs"][0]["data"]
        assert data == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("member", ["id", "outputs", "parameters"])
def test_null_is_as_nothing(client: httpx.Client, member: str) -> None:
    assert client.post(INFER, content=body(tensor(), **{member: None})).is_success


def test_a_body_may_come_in_pieces(client: httpx.Client) -> None:
    pieces = (bytes([one]) for one in body(tensor()))

    assert client.post(INFER, content=pieces).is_success
    too_many = (bytes(10_000) for _ in range(40))
    assert_error(client.post(INFER, content=too_many), 413, "262144")


MALFORMED: Final = {
    "nothing": ({"content": b""}, "EOF"),
    "no JSON": ({"content": b"{"}, "EOF"),
    "an array": ({"content": b"[]"}, "object"),
    "NaN": ({"content": body(tensor(data=[1, 2, 3, float("nan")]))}, "finite|NaN"),
    "infinity": ({"content": body(tensor(data=[1, 2, 3, 1e999]))}, "finite|Inf"),
    "no inputs": ({"content": b"{}"}, "inputs: Field required"),
    "no input": ({"content": body()}, "inputs: .*at least 1 item"),
    "two inputs": ({"content": body(tensor(), tensor())}, "inputs: .*at most 1 item"),
    "another name": (
        {"content": body(tensor(name="x"))},
        "expected the input features",
    ),
    "no name": ({"content": body(tensor(name=None))}, "inputs.0.name: Field required"),
    "no shape": ({"content": body(tensor(shape=None))}, "shape: Field required"),
    "no datatype": ({"content": body(tensor(datatype=None))}, "datatype: Field"),
    "a datatype of none": ({"content": body(tensor(datatype="FP65"))}, "FP64, FP32"),
    "booleans": ({"content": body(tensor(datatype="BOOL"))}, "datatype"),
    "texts": ({"content": body(tensor(datatype="BYTES"))}, "datatype"),
    "a rank of one": ({"content": body(tensor(shape=[4]))}, r"\[N, 2\]"),
    "three columns": ({"content": body(tensor(shape=[2, 3]))}, r"got \[2, 3\]"),
    "a variable shape": ({"content": body(tensor(shape=[-1, 2]))}, "shape.0"),
    "a vast shape": ({"content": body(tensor(shape=[10**18, 2]))}, "N up to 1000"),
    "a shape of text": ({"content": body(tensor(shape=["2", 2]))}, "integer"),
    "too many rows": (
        {"content": body(tensor(shape=[1_001, 2], data=[[0, 0]] * 1_001))},
        "up to 1000",
    ),
    "fewer numbers": ({"content": body(tensor(data=[1, 2]))}, "4 numbers .* got 2"),
    "fewer rows": ({"content": body(tensor(data=[[1, 2]]))}, "shape"),
    "ragged rows": ({"content": body(tensor(data=[[1, 2], [3]]))}, "shape"),
    "a string": ({"content": body(tensor(data=["1", 2, 3, 4]))}, "number"),
    "a boolean": ({"content": body(tensor(data=[True, 2, 3, 4]))}, "number"),
    "null": ({"content": body(tensor(data=[None, 2, 3, 4]))}, "number"),
    "a fraction": (
        {"content": body(tensor(datatype="INT8", data=[1.5] * 4))},
        "datatype",
    ),
    "too large": (
        {"content": body(tensor(datatype="INT8", data=[300] * 4))},
        "datatype",
    ),
    "negative": (
        {"content": body(tensor(datatype="UINT8", data=[-1] * 4))},
        "datatype",
    ),
    "out of bounds": (
        {"content": body(tensor(data=[0, 0, 0, 1_001]))},
        r"features\[1\]\[1\]: expected a number from -1000 to 1000",
    ),
    "neither": ({"content": body(tensor(data=None))}, "either data or"),
    "both": (
        with_tail(body(tensor(parameters={"binary_data_size": 32}))),
        "either data or",
    ),
    "a tail of none": ({"content": body(binary())}, "expecting 32 additional bytes"),
    "a short tail": (with_tail(body(binary()), ROWS[:-1]), "expecting 1 additional"),
    "a long tail": (with_tail(body(binary()), ROWS + b"!"), "unexpected additional"),
    "a tail behind JSON": (with_tail(body(tensor())), "unexpected additional"),
    "another size": (with_tail(body(binary(16)), ROWS[:16]), "expected 32 bytes"),
    "a negative size": (with_tail(body(binary(-1))), "greater than or equal to 0"),
    "a size of text": (with_tail(body(binary("32"))), "integer"),
    "not finite in bytes": (
        with_tail(body(binary()), struct.pack("<4d", 1, 2, 3, float("nan"))),
        r"features\[1\]\[1\]",
    ),
    "a length of text": (
        {"content": body(tensor()), "headers": {LENGTH: "abc"}},
        r"in range \(0, \d+\), got: abc",
    ),
    "a negative length": ({"content": b"{}", "headers": {LENGTH: "-1"}}, "got: -1"),
    "a long length": ({"content": b"{}", "headers": {LENGTH: "3"}}, "got: 3"),
    "a vast length": ({"content": b"{}", "headers": {LENGTH: "9" * 99}}, "in range"),
    "a length of many noughts": (
        {"content": b"{}", "headers": {LENGTH: "0" * 5_000}},
        "expected 16 bytes",
    ),
    "a long length after noughts": (
        {"content": b"{}", "headers": {LENGTH: "0" * 30 + "99999"}},
        "in range",
    ),
    "a shape of many": (
        {"content": body(tensor(shape=[-1] * 50_000))},
        "shape.*at most 8 items|shape.0: .*greater",
    ),
    "a row of many": ({"content": body(tensor(data=[[""] * 50_000]))}, "data, 0"),
    "an output twice": (
        {"content": body(tensor(), outputs=[{"name": "label"}] * 2)},
        "once",
    ),
    "a NaN that signals": (
        with_tail(body(binary(8, shape=[1, 2], datatype="FP32")), b"\1\0\x80\x7f" * 2),
        r"features\[0\]\[0\]",
    ),
    "a length of nothing": ({"content": ROWS, "headers": {LENGTH: "0"}}, "16 bytes"),
    "an unknown output": ({"content": body(tensor(), **asked("x"))}, "outputs among"),
    "an output thrice": (
        {"content": body(tensor(), outputs=[{"name": "label"}] * 3)},
        "outputs: .*at most 2 items",
    ),
    "too many numbers": (
        {"content": body(tensor(data=[0] * 2_001))},
        "data: .*at most 2000 items",
    ),
    "a number beyond any": (
        {"content": body(tensor(data=[10**400, 0, 0, 0]))},
        "number",
    ),
    "deep rows": ({"content": b'{"inputs": ' + b"[" * 9_000}, "recursion"),
    "a reserved parameter": (
        {"content": body(tensor(), parameters={"triton_x": 1})},
        "reserved",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_breaks_the_protocol_is_400(client: httpx.Client, name: str) -> None:
    request, message = MALFORMED[name]

    response = client.post(INFER, **request)

    assert_error(response, 400, message)
    assert client.post(INFER, content=body(tensor())).is_success


@pytest.mark.parametrize(
    "request_body",
    [
        body(tensor(parameters={"shared_memory_region": "x"}, data=None)),
        body(tensor(), **asked(shared_memory_region="x")),
        body(tensor(), **asked(classification=1)),
        body(tensor(), parameters={"sequence_id": 7}),
    ],
    ids=["input memory", "output memory", "classification", "sequence"],
)
def test_what_is_not_served_is_501(client: httpx.Client, request_body: bytes) -> None:
    assert_error(client.post(INFER, content=request_body), 501, "not supported")


def test_parameters_that_are_not_known_are_passed_over(client: httpx.Client) -> None:
    parameters = {"priority": 1, "timeout": 5, "mine": [1], "sequence_id": 0}
    request = body(tensor(), model_name="other", parameters=parameters)

    assert client.post(INFER, content=request).is_success


def test_an_empty_batch_is_answered(client: httpx.Client) -> None:
    answer = client.post(INFER, content=body(tensor(shape=[0, 2], data=[])))

    probability, label = answer.json()["outputs"]
    assert (probability["shape"], probability["data"]) == ([0, 1], [])
    assert (label["shape"], label["data"]) == ([0], [])


def test_a_batch_may_be_a_thousand(client: httpx.Client) -> None:
    rows = tensor(shape=[MAX_INSTANCES, 2], data=[[1, 2]] * MAX_INSTANCES)

    answer = client.post(INFER, content=body(rows)).json()

    assert len(answer["outputs"][0]["data"]) == MAX_INSTANCES


def test_b5_a_compressed_body_is_refused(client: httpx.Client) -> None:
    headers = {"Content-Encoding": "gzip"}

    response = client.post(INFER, content=body(tensor()), headers=headers)

    assert_error(response, 415, "without a content coding")


def test_a_large_body_is_refused(client: httpx.Client) -> None:
    assert_error(client.post(INFER, content=bytes(300_000)), 413, "262144")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/other/infer", 404),
        ("POST", "/v2/models/offsetnet/versions/9/infer", 404),
        ("POST", "/v2/models/offsetnet/versions/x/infer", 404),
        ("POST", "/v2/models/{name}/infer", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/offsetnet/versions/9", 404),
        ("GET", "/v2/models/offsetnet/versions/9/ready", 404),
        ("GET", "/v2/systemsharedmemory/status", 404),
        ("GET", "/v1/models/other", 404),
        ("POST", "/v1/models/other:predict", 404),
        ("GET", INFER, 405),
        ("DELETE", "/v2/health/live", 405),
        ("GET", "/v1/models/offsetnet:predict", 405),
        ("POST", "/v2/repository/models/offsetnet/unload", 501),
        ("POST", "/v2/repository/models/other/load", 404),
    ],
)
def test_errors_are_one_string(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    response = client.request(method, path, content=body(tensor()))

    assert_error(response, status, ".")
    assert (status == 405) == ("Allow" in response.headers)


def assert_error(response: httpx.Response, status: int, message: str) -> None:
    """Check that an answer is this error, in a form that every client reads."""
    assert (response.status_code, response.headers["Content-Type"]) == (
        status,
        "application/json",
    )
    answer = response.json()
    assert answer.keys() == {"error", "code", "request_id"}
    assert re.search(message, answer["error"])


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_describes_itself(client: httpx.Client, path: str) -> None:
    assert client.get(path).json() == {
        "name": "offsetnet",
        "version": __version__,
        "extensions": [
            "binary_tensor_data",
            "model_configuration",
            "model_repository",
            "statistics",
        ],
    }


def test_health_is_told(client: httpx.Client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True, "live": True}


@pytest.mark.parametrize("place", ["", "/versions/1"])
def test_the_model_describes_itself(client: httpx.Client, place: str) -> None:
    path = "/v2/models/offsetnet" + place
    metadata = client.get(path).json()

    assert metadata["versions"] == ["1"]
    assert metadata["inputs"] == [
        {"name": "features", "datatype": "FP64", "shape": [-1, 2]}
    ]
    assert metadata["properties"] == {
        "columns": "weight_offset,height_offset",
        "weights_sha256": client.get("/models/active").json()["sha256"],
    }
    assert client.get(path + "/ready").json() == {"name": "offsetnet", "ready": True}
    assert client.get(path + "/config").json()["input"][0]["dims"] == [-1, 2]
    assert client.get("/v2/models").json() == {"models": ["offsetnet"]}


def test_inferences_are_counted(client: httpx.Client) -> None:
    def look() -> dict[str, Any]:
        (found,) = client.get("/v2/models/stats").json()["model_stats"]
        return found  # type: ignore[no-any-return] # JSON

    before = look()
    client.post(INFER, content=body(tensor()))
    client.post(INFER, content=b"{}")
    after = look()

    assert after["inference_count"] == before["inference_count"] + 2
    assert after["execution_count"] == before["execution_count"] + 1
    for kind in ("success", "fail"):
        counts = [one["inference_stats"][kind] for one in (before, after)]
        assert counts[1]["count"] == counts[0]["count"] + 1
        assert counts[1]["ns"] > counts[0]["ns"]
    assert after["last_inference"] > 1_700_000_000_000


@pytest.mark.parametrize("content", [b"", b"{}", b'{"ready": true}'])
def test_the_repository_has_an_index(client: httpx.Client, content: bytes) -> None:
    response = client.post("/v2/repository/index", content=content)

    assert response.json() == [
        {"name": "offsetnet", "version": "1", "state": "READY", "reason": ""}
    ]


def test_the_served_version_is_read_once_more(client: httpx.Client) -> None:
    path = "/v2/repository/models/offsetnet/load"

    assert client.post(path, content=b"{}").json() == {}
    assert_error(client.post(path, content=b"[]"), 400, "JSON object")
    assert client.post(INFER, content=body(tensor())).is_success


@pytest.mark.parametrize(
    "instances",
    [
        PEOPLE,
        [{"weight_offset": w, "height_offset": h} for w, h in PEOPLE],
        [{"weight_lb": w + 135, "height_in": h + 66} for w, h in PEOPLE],
        [
            {"weight_kg": (w + 135) * 0.45359237, "height_cm": (h + 66) * 2.54}
            for w, h in PEOPLE
        ],
    ],
    ids=["rows", "offsets", "imperial", "metric"],
)
def test_version_1_predicts(client: httpx.Client, instances: list[Any]) -> None:
    request = {"metadata": {"weight_kg": 1}, "instances": instances}

    answer = client.post("/v1/models/offsetnet:predict", json=request).json()

    assert [one["label"] for one in answer["predictions"]] == LABELS
    found = [one["probability"] for one in answer["predictions"]]
    assert found == pytest.approx(PROBABILITIES, rel=1e-12)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "EOF"),
        (b"{}", "instances"),
        (b'{"instances": []}', "at least 1"),
        (b'{"instances": [[1, 2, 3]]}', "^instances: .*at most 2"),
        (b'{"instances": [[1, "2"]]}', "^instances: .*number"),
        (b'{"instances": [[1, 1001]]}', r"^instances\[0\]\[1\]"),
        (b"[]", "^Input should be an object"),
        (b'{"instances": [[1, 2], 3]}', "list"),
        (b'{"instances": [{"weight_offset": 1}]}', "height_offset"),
        (b'{"instances": [7]}', "dictionary|object"),
    ],
)
def test_version_1_says_what_it_refuses(
    client: httpx.Client, content: bytes, message: str
) -> None:
    response = client.post("/v1/models/offsetnet:predict", content=content)

    assert_error(response, 400, message)


def test_version_1_tells_that_it_lives(client: httpx.Client) -> None:
    ready = {"name": "offsetnet", "ready": True}

    assert client.get("/v1/models/offsetnet").json() == ready
    assert client.get("/v1/models").json() == {"models": ["offsetnet"]}
    assert client.get("/").json()["status"] == "alive"


def test_a_damaged_version_is_not_loaded(tmp_path: Path) -> None:
    path = "/v2/repository/models/offsetnet/load"
    with Server(tmp_path / "data") as server:
        store = Store(server.settings())
        with store.write() as connection:
            connection.execute(update(models).values(weights=load_shipped()[:-1]))

        refused = server.client.post(path)

        assert_error(refused, 503, "SHA-256|damaged")
        assert server.client.post(INFER, content=body(tensor())).is_success
        with store.write() as connection:
            connection.execute(update(models).values(weights=load_shipped()))
        store.close()
        assert server.client.post(path).is_success


def test_below_a_prefix_errors_are_the_same(tmp_path: Path) -> None:
    uvicorn = (sys.executable, "-m", "uvicorn", "app.main:create_app", "--factory")
    with Server(tmp_path / "data", "--root-path", "/base", command=uvicorn) as server:
        assert_error(server.client.get("/v2/models/other"), 404, "one model")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a key."""
    data_dir = tmp_path_factory.mktemp("guarded") / "data"
    keys = {"OFFSETNET_PREDICT_KEY": "reader", "OFFSETNET_ADMIN_KEY": "admin"}
    with Server(data_dir, environment=keys) as running:
        yield running


def test_a_version_s_readiness_is_for_readers(guarded: Server) -> None:
    path = "/v2/models/offsetnet/versions/1/ready"

    assert_error(guarded.client.get(path), 401, "key")
    assert guarded.client.get(path, headers={"X-API-Key": "reader"}).is_success


@pytest.mark.parametrize(
    "path", [INFER, "/v1/models/offsetnet:predict", "/v2/repository/index"]
)
def test_a_key_is_asked_for_in_the_protocol_s_words(guarded: Server, path: str) -> None:
    response = guarded.client.post(path, content=body(tensor()))

    assert_error(response, 401, "key")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_loading_is_for_admins(guarded: Server) -> None:
    path, headers = "/v2/repository/models/offsetnet/load", {"X-API-Key": "reader"}

    assert_error(guarded.client.post(path, headers=headers), 403, "key")
    assert guarded.client.post(path, headers={"X-API-Key": "admin"}).is_success


def test_health_needs_no_key(guarded: Server) -> None:
    for path in ("/v2", "/v2/health/live", "/v2/health/ready"):
        assert guarded.client.get(path).is_success
