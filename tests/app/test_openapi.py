"""The OpenAPI document is true: its examples work, its schemas fit the answers."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from fastapi.routing import APIRoute

from app.main import create_app
from app.page import ROUTES as PAGE_ROUTES
from app.settings import Settings
from tests.app.answers import CSV, EMILY, JSON
from tests.app.json_schema import conforms, resolve
from tests.app.training import BRIEF, ENDLESS
from tests.server import Server

DOCUMENT: Final[dict[str, Any]] = create_app(Settings()).openapi()
OPERATIONS: Final = {
    (method, path): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
PROBLEM: Final = {"$ref": "#/components/schemas/ProblemBody"}
INFERENCE_ERROR: Final = {"$ref": "#/components/schemas/InferenceErrorBody"}
PROTOCOLS: Final = ("/v1/", "/v2/")


def _examples() -> Iterator[tuple[str, str, str, str, Any]]:
    """Yield the request examples: name, method, path, media type, and the example."""
    for (method, path), operation in OPERATIONS.items():
        content = operation.get("requestBody", {}).get("content", {})
        for media_type, described in content.items():
            examples = {
                name: example["value"]
                for name, example in described.get("examples", {}).items()
            }
            if "example" in described:
                examples["example"] = described["example"]
            for name, example in examples.items():
                yield f"{path} {media_type} {name}", method, path, media_type, example


EXAMPLES: Final = [pytest.param(*one, id=name) for name, *one in _examples()]
ANSWERS: Final = [
    ("get", "/", None),
    ("get", "/livez", None),
    ("get", "/readyz", None),
    ("get", "/version", None),
    ("get", "/problems/{slug}", "/problems/invalid"),
    ("post", "/predict", None),
    ("post", "/predict", "/predict?explain=true"),
    ("post", "/predict/batch", None),
    ("post", "/train", None),
    ("post", "/train", "/train?dry_run=true"),
    ("get", "/train", None),
    ("get", "/train/{job_id}", "/train/1"),
    ("get", "/models", None),
    ("get", "/models/active", None),
    ("put", "/models/active", None),
    ("get", "/models/{version}", "/models/1"),
    ("get", "/v2", None),
    ("get", "/v2/health/live", None),
    ("get", "/v2/health/ready", None),
    ("get", "/v2/models", None),
    *(
        (
            "get",
            f"/v2/models/{{name}}{version}{part}",
            f"/v2/models/offsetnet{at}{part}",
        )
        for version, at in (("", ""), ("/versions/{version}", "/versions/1"))
        for part in ("", "/ready", "/config", "/stats")
    ),
    ("post", "/v2/models/{name}/infer", "/v2/models/offsetnet/infer"),
    (
        "post",
        "/v2/models/{name}/versions/{version}/infer",
        "/v2/models/offsetnet/versions/1/infer",
    ),
    ("post", "/v2/repository/index", None),
    (
        "post",
        "/v2/repository/models/{name}/load",
        "/v2/repository/models/offsetnet/load",
    ),
    ("get", "/v1/models", None),
    ("get", "/v1/models/offsetnet", None),
    ("post", "/v1/models/{name}:predict", "/v1/models/offsetnet:predict"),
]
INFERENCE: Final = {
    "id": "mine",
    "inputs": [
        {"name": "features", "shape": [1, 2], "datatype": "INT8", "data": [[-7, -3]]}
    ],
}
BODIES: Final[dict[str, dict[str, Any]]] = {
    "/predict": EMILY,
    "/predict/batch": {"instances": [EMILY]},
    "/train": BRIEF,
    "/models/active": {"version": 1},
    "/v2/models/{name}/infer": INFERENCE,
    "/v2/models/{name}/versions/{version}/infer": INFERENCE,
    "/v2/repository/index": {},
    "/v2/repository/models/{name}/load": {},
    "/v1/models/{name}:predict": {"instances": [[-7, -3]]},
}
STREAM: Final = {"type": "string"}  # what documents each event only
PROBLEMS: Final = [
    ("get", "/train?limit=0"),
    ("get", "/train/0"),
    ("get", "/models/x"),
    ("get", "/problems/none"),
    ("post", "/predict"),
    ("post", "/predict?explain=perhaps"),
    ("post", "/predict/batch"),
    ("post", "/train?x=1"),
    ("put", "/train"),
]


def _is_of_protocol(path: str) -> bool:
    return f"{path}/".startswith(PROTOCOLS)


def _references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def test_the_document_is_served_as_it_is_made(client: httpx.Client) -> None:
    response = client.get("/openapi.json")

    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == DOCUMENT


def test_the_document_is_of_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert json.loads(json.dumps(DOCUMENT, allow_nan=False)) == DOCUMENT


def test_every_route_stands_in_the_document() -> None:
    app = create_app(Settings())
    routes = {
        (method.lower(), route.path)
        for route in app.router.routes
        if isinstance(route, APIRoute)
        and route not in PAGE_ROUTES
        and route.include_in_schema
        for method in route.methods or ()
    }

    assert routes == OPERATIONS.keys()


def test_what_is_left_out_stands_there_under_another_path() -> None:
    routes = [
        route
        for route in create_app(Settings()).router.routes
        if isinstance(route, APIRoute) and route not in PAGE_ROUTES
    ]
    left_out = [route for route in routes if not route.include_in_schema]
    described = {route.endpoint for route in routes if route.include_in_schema}

    assert {route.path for route in left_out} == {
        "/v2/",
        "/v2/models/stats",
        "/v2/models/offsetnet/infer",
        "/v1/models/offsetnet:predict",
    }
    assert {route.endpoint for route in left_out} <= described


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]

    assert len(set(names)) == len(names)


def test_every_operation_is_described() -> None:
    undescribed = [key for key, one in OPERATIONS.items() if not one.get("description")]

    assert undescribed == []


def test_every_reference_resolves() -> None:
    for reference in _references(DOCUMENT):
        assert resolve(reference, DOCUMENT)


def test_every_schema_is_used() -> None:
    used = {reference.rpartition("/")[2] for reference in _references(DOCUMENT)}

    assert used == DOCUMENT["components"]["schemas"].keys()


@pytest.mark.parametrize(("method", "path", "media_type", "example"), EXAMPLES)
def test_a_request_example_works_as_pasted(
    trainer: Server, method: str, path: str, media_type: str, example: Any
) -> None:
    content = example if isinstance(example, str) else json.dumps(example)
    headers = {"Content-Type": media_type, "If-Match": "*"}

    url = path.format_map(_parameters_of(OPERATIONS[method, path]))
    response = trainer.client.request(method, url, content=content, headers=headers)

    assert response.is_success


@pytest.mark.parametrize("path", [path for _, path in OPERATIONS if "{name}" in path])
def test_the_examples_of_a_protocol_s_parameters_lead_somewhere(
    trainer: Server, path: str
) -> None:
    (operation,) = DOCUMENT["paths"][path].values()

    url = path.format_map(_parameters_of(operation))

    status = trainer.client.get(url).status_code
    assert status == (200 if "get" in DOCUMENT["paths"][path] else 405)


@pytest.mark.parametrize("key", OPERATIONS, ids=" ".join)
def test_every_required_parameter_has_an_example(key: tuple[str, str]) -> None:
    parameters = OPERATIONS[key].get("parameters", ())

    needed = [one for one in parameters if one.get("required")]

    assert [one["name"] for one in needed if "example" not in one] == []
    assert len(needed) >= key[1].count("{")


def _parameters_of(operation: dict[str, Any]) -> dict[str, str]:
    """Return the examples of an operation's parameters in the path."""
    return {
        one["name"]: one["example"]
        for one in operation.get("parameters", ())
        if one["in"] == "path"
    }


@pytest.mark.parametrize(("method", "path", "media_type", "example"), EXAMPLES)
def test_a_request_example_fits_its_schema(
    method: str, path: str, media_type: str, example: Any
) -> None:
    described = OPERATIONS[method, path]["requestBody"]["content"][media_type]

    assert conforms(example, described["schema"], DOCUMENT)


def test_every_body_has_request_examples() -> None:
    found = {(path, media_type) for _, path, media_type, _ in _parameters(EXAMPLES)}

    assert found == {
        ("/predict", "application/json"),
        ("/predict/batch", "application/json"),
        ("/predict/batch", "text/csv"),
        ("/train", "application/json"),
        ("/train", "text/csv"),
        ("/models/active", "application/json"),
        ("/v2/models/{name}/infer", "application/json"),
        ("/v2/models/{name}/versions/{version}/infer", "application/json"),
        ("/v2/repository/index", "application/json"),
        ("/v2/repository/models/{name}/load", "application/json"),
        ("/v1/models/{name}:predict", "application/json"),
    }


def _parameters(examples: list[Any]) -> list[tuple[str, str, str, Any]]:
    return [example.values for example in examples]


@pytest.mark.parametrize(
    "operation",
    OPERATIONS.values(),
    ids=[f"{method} {path}" for method, path in OPERATIONS],
)
def test_an_answer_s_example_fits_its_schema(operation: dict[str, Any]) -> None:
    for response in operation["responses"].values():
        for described in response.get("content", {}).values():
            if "example" in described:
                schema = described.get("schema", STREAM)
                assert conforms(described["example"], schema, DOCUMENT)


@pytest.mark.parametrize(
    ("method", "path", "url"), ANSWERS, ids=[url or path for _, path, url in ANSWERS]
)
@pytest.mark.usefixtures("article_job", "sample_job")
def test_an_answer_fits_its_documented_schema(
    trainer: Server, method: str, path: str, url: str | None
) -> None:
    body = None if method == "get" else BODIES[path]

    response = trainer.client.request(
        method, url or path, json=body, headers={"If-Match": "*"}
    )

    assert _is_documented(response, method, path)


def test_an_event_fits_its_documented_schema(
    trainer: Server, article_job: dict[str, Any]
) -> None:
    documented = OPERATIONS["get", "/train/{job_id}/events"]["responses"]["200"]
    url = article_job["links"]["events"]

    lines = trainer.client.get(url).text.split("\n\n")[0].splitlines()

    event = dict(line.split(": ", 1) for line in lines)
    schema = documented["content"]["text/event-stream"]["itemSchema"]
    assert event["event"] == "succeeded"
    assert conforms(event, schema, DOCUMENT)


def test_a_cancelled_job_fits_its_documented_schema(trainer: Server) -> None:
    path = trainer.client.post("/train", json=ENDLESS).json()["links"]["self"]

    response = trainer.client.delete(path)

    assert _is_documented(response, "delete", "/train/{job_id}")


def _is_documented(response: httpx.Response, method: str, path: str) -> bool:
    documented = OPERATIONS[method, path]["responses"][str(response.status_code)]
    schema = documented["content"][response.headers["Content-Type"]]["schema"]
    return conforms(response.json(), schema, DOCUMENT)


@pytest.mark.parametrize(("method", "url"), PROBLEMS)
def test_a_problem_fits_its_documented_schema(
    client: httpx.Client, method: str, url: str
) -> None:
    response = client.request(method, url)

    assert response.is_client_error
    assert conforms(response.json(), PROBLEM, DOCUMENT)


def test_every_operation_documents_its_problems() -> None:
    for (_, path), operation in OPERATIONS.items():
        assert "422" not in operation["responses"]
        if not _is_of_protocol(path):
            content = operation["responses"]["default"]["content"]
            assert content["application/problem+json"]["schema"] == PROBLEM


def test_every_operation_of_a_protocol_documents_its_errors() -> None:
    described = [one for (_, path), one in OPERATIONS.items() if _is_of_protocol(path)]

    assert len(described) == 20
    for operation in described:
        errors = [one for one in operation["responses"].items() if one[0] >= "400"]
        assert "400" in dict(errors)
        for _, response in errors:
            (media_type,) = response["content"]
            assert media_type == "application/json"
            assert response["content"][media_type]["schema"] == INFERENCE_ERROR


def test_protocols_have_tags_of_their_own() -> None:
    tags = {(path[:3], *one["tags"]) for (_, path), one in OPERATIONS.items()}

    assert {one for one in tags if one[0] in {"/v1", "/v2"}} == {
        ("/v1", "inference v1"),
        ("/v2", "inference v2"),
    }


@pytest.mark.parametrize(
    ("value", "schema", "is_right"),
    [
        pytest.param(EMILY, "OffsetPerson", True, id="person"),
        pytest.param({**EMILY, "x": 1}, "OffsetPerson", False, id="unknown key"),
        pytest.param({"weight_offset": 1}, "OffsetPerson", False, id="missing key"),
        pytest.param(
            {**EMILY, "weight_offset": 10_001}, "OffsetPerson", False, id="bound"
        ),
        pytest.param(
            {**EMILY, "weight_offset": True}, "OffsetPerson", False, id="bool"
        ),
        pytest.param({"epochs": 0}, "ConfigChanges", False, id="epochs"),
        pytest.param({"patience": None}, "ConfigChanges", True, id="null"),
    ],
)
def test_the_documented_schemas_refuse_what_the_service_refuses(
    value: object, schema: str, *, is_right: bool
) -> None:
    reference = {"$ref": f"#/components/schemas/{schema}"}

    assert conforms(value, reference, DOCUMENT) is is_right


def test_the_page_is_made_of_our_own_files(client: httpx.Client) -> None:
    page = client.get("/docs")

    assert page.headers["Content-Type"].startswith("text/html")
    assert not re.search("https?:|//", page.text)


def test_f10_the_page_s_policy_allows_our_own_files_alone(client: httpx.Client) -> None:
    policy = client.get("/docs").headers["Content-Security-Policy"]

    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["connect-src"] == "'self'"
    assert "http" not in policy


def test_every_file_of_the_page_is_served(client: httpx.Client) -> None:
    page = client.get("/docs").text
    files = re.findall('(?:src|href)="([^"]+)"', page)

    served = {Path(name).suffix: client.get(f"/{name}") for name in files}

    types = {
        suffix: answer.headers["Content-Type"].partition(";")[0]
        for suffix, answer in served.items()
    }
    assert types == {".png": "image/png", ".css": "text/css", ".js": "text/javascript"}
    assert all(answer.status_code == 200 for answer in served.values())


@pytest.mark.parametrize("query", ["?url=https://evil.example/x", "?configUrl=//evil"])
def test_f10_the_page_does_not_answer_to_its_url(
    client: httpx.Client, query: str
) -> None:
    script = client.get("/static/docs.js").text

    page = client.get(f"/docs{query}")

    assert page.text == client.get("/docs").text
    assert "queryConfigEnabled: false" in script


def test_the_csv_example_of_a_batch_answers_in_csv(client: httpx.Client) -> None:
    content = OPERATIONS["post", "/predict/batch"]["requestBody"]["content"]["text/csv"]

    response = client.post("/predict/batch", content=content["example"], headers=CSV)

    documented = OPERATIONS["post", "/predict/batch"]["responses"]["200"]["content"]
    assert response.headers["Content-Type"].partition(";")[0] in documented


def test_settings_in_the_query_do_not_go_with_json(client: httpx.Client) -> None:
    response = client.post("/train?epochs=5", content=b"{}", headers=JSON)

    assert (
        "Query parameters go with a CSV" in OPERATIONS["post", "/train"]["description"]
    )
    assert response.status_code == 422


def test_who_asks_first_at_once_gets_the_document(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as fresh, ThreadPoolExecutor(20) as pool:
        url = f"http://127.0.0.1:{fresh.port}/openapi.json"

        answers = list(pool.map(httpx.get, [url] * 20))

    assert [answer.status_code for answer in answers] == [200] * 20
