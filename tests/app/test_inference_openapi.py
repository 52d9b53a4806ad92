"""What the standard protocols' documentation shows is what a server answers."""

import json
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from app.bodies import JSON_TYPE
from tests.app.json_schema import conforms
from tests.app.test_openapi import DOCUMENT, INFERENCE, INFERENCE_ERROR, OPERATIONS
from tests.server import Server

KEYS: Final = {
    "OFFSETNET_ADMIN_KEY": "admin",
    "OFFSETNET_PREDICT_KEY": "reader",
    "OFFSETNET_WRONG_KEYS_LIMIT": "1",
}
ADMIN: Final = {"Authorization": "Bearer admin"}
READER: Final = {"Authorization": "Bearer reader"}
WRONG: Final = {"Authorization": "Bearer wrong"}
PATHS: Final = {
    operation["operationId"]: (method, path)
    for (method, path), operation in OPERATIONS.items()
    if path.startswith(("/v1", "/v2"))
}
BODIES: Final = {
    "v2_infer": INFERENCE,
    "v2_infer_of_version": INFERENCE,
    "v1_predict": {"instances": [[-7, -3]]},
}
SHORT: Final = {
    "name": "features",
    "shape": [2, 2],
    "datatype": "FP64",
    "data": [1, 2, 3],
}
FOR_503: Final = "503"  # only where nothing is loaded


def _documented() -> Iterator[tuple[str, str]]:
    """Yield each operation with each status of its errors that a request can cause."""
    for name, key in PATHS.items():
        for status in OPERATIONS[key]["responses"]:
            if "400" <= status < FOR_503:
                yield name, status


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for keys."""
    data_dir = tmp_path_factory.mktemp("errors") / "data"
    with Server(data_dir, environment=KEYS) as running:
        yield running


def _provoke(client: httpx.Client, name: str, status: str) -> httpx.Response:
    """Send a request that is right but for what gives this status."""
    method, path = PATHS[name]
    model = "other" if status == "404" else "offsetnet"
    headers = {"401": {}, "403": READER, "400": {**ADMIN, "Host": "evil.example"}}
    if status == "429":
        headers["429"] = WRONG
        client.get("/v2/models", headers=WRONG)  # the first within the minute
    more = {"Content-Encoding": "gzip"} if status == "415" else {}
    body: Any = BODIES.get(name)
    if status == "501" and body:
        body = {**body, "parameters": {"sequence_id": 1}}
    sent: dict[str, Any] = {"json": body} if body else {}
    if status == "413":
        sent = {"content": b" " * (256 * 1024 + 1)}
    url = path.format(name=model, version=1)
    return client.request(
        method, url, headers=headers.get(status, ADMIN) | more, **sent
    )


@pytest.mark.parametrize(("name", "status"), [*_documented()])
def test_a_documented_error_can_come(service: Server, name: str, status: str) -> None:
    response = _provoke(service.client, name, status)

    told, example = response.json(), _example(name, status)
    assert str(response.status_code) == status
    assert response.headers["Content-Type"] == "application/json"
    assert conforms(told, INFERENCE_ERROR, DOCUMENT)
    if status != "400":  # the example is of another fault where there is a body
        assert {**told, "request_id": ""} == {**example, "request_id": ""}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("v2_infer", {"inputs": [SHORT]}),
        ("v2_index_repository", []),
        ("v2_load_model", []),
        ("v1_predict", {"instances": [[-7, -3], [20]]}),
    ],
)
def test_an_example_of_a_broken_request_is_true(
    service: Server, name: str, body: Any
) -> None:
    method, path = PATHS[name]

    url = path.format(name="offsetnet")
    response = service.client.request(method, url, headers=ADMIN, json=body)

    example = _example(name, "400")
    assert response.status_code == 400
    assert {**response.json(), "request_id": ""} == {**example, "request_id": ""}


@pytest.mark.parametrize(
    "name",
    [
        "v2_infer",
        "v2_infer_of_version",
        "v2_describe_server",
        "v2_is_live",
        "v2_is_ready",
        "v2_is_model_ready",
        "v2_list_models",
        "v2_describe_model",
        "v2_show_configuration",
        "v2_index_repository",
        "v2_load_model",
        "v1_list_models",
        "v1_is_model_ready",
        "v1_predict",
    ],
)
def test_an_answer_s_example_is_that_of_its_request_s(
    service: Server, name: str
) -> None:
    method, path = PATHS[name]
    operation = OPERATIONS[method, path]
    body = operation.get("requestBody", {}).get("content", {}).get(JSON_TYPE, {})
    sent = next(iter(body.get("examples", {}).values()), {"value": None})["value"]

    url = path.format(name="offsetnet", version=1)
    response = service.client.request(method, url, headers=ADMIN, json=sent)

    documented = operation["responses"]["200"]["content"][JSON_TYPE]["example"]
    assert _rounded(response.text) == _rounded(json.dumps(documented))


def _rounded(content: str) -> Any:
    """Read JSON without the digits in which processors differ."""
    return json.loads(content, parse_float=lambda text: round(float(text), 9))


@pytest.mark.parametrize("name", PATHS)
def test_a_key_that_may_is_not_refused(service: Server, name: str) -> None:
    documented = OPERATIONS[PATHS[name]]["responses"]

    response = _provoke(service.client, name, "none")

    assert str(response.status_code) in documented
    assert response.status_code in {200, 501}


def _example(name: str, status: str) -> dict[str, Any]:
    response = OPERATIONS[PATHS[name]]["responses"][status]
    example: dict[str, Any] = response["content"]["application/json"]["example"]
    return example
