"""The service under a path prefix, behind proxies that strip it and that do not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from typer.testing import CliRunner

from app.cli import cli
from tests.app.answers import EMILY
from tests.proxy import PREFIX, Proxy, proxy
from tests.server import Server

TENSOR: Final = {
    "inputs": [
        {"name": "features", "shape": [1, 2], "datatype": "FP64", "data": [-7, -3]}
    ]
}
PERSON: Final = ("--weight-offset=-7", "--height-offset=-3")
VARYING: Final = {"connection", "x-request-id", "date", "content-length"}


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is told its prefix; its own probe is a proxy that strips."""
    data_dir = tmp_path_factory.mktemp("prefix") / "data"
    with Server(data_dir, "--root-path", f"{PREFIX}/") as running:
        yield running


@pytest.fixture(scope="module", params=[True, False], ids=["stripped", "unstripped"])
def behind(
    prefixed: Server, request: pytest.FixtureRequest
) -> Iterator[tuple[Proxy, httpx.Client]]:
    """A proxy of either kind, and a client below the prefix."""
    target = f"http://127.0.0.1:{prefixed.port}"
    with (
        proxy(target, strips=request.param) as between,
        httpx.Client(base_url=between.url + PREFIX, timeout=60) as client,
    ):
        yield between, client


@pytest.fixture
def outside(behind: tuple[Proxy, httpx.Client]) -> httpx.Client:
    """A client below the prefix."""
    return behind[1]


def _plain(response: httpx.Response) -> tuple[int, dict[str, str], str]:
    """Return the status, the headers and the body, without what differs each time."""
    headers = {k: v for k, v in response.headers.items() if k not in VARYING}
    text = response.text.replace(response.headers["X-Request-ID"], "ID")
    return response.status_code, headers, text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", "/predict?explain=true", EMILY, id="predict"),
        pytest.param("POST", "/predict", {"x": 1}, id="wrong person"),
        pytest.param("POST", "/predict/batch", {"instances": [EMILY]}, id="batch"),
        pytest.param("POST", "/v2/models/offsetnet/infer", TENSOR, id="infer"),
        pytest.param("POST", "/v2/models/offsetnet/infer", {}, id="wrong tensor"),
        pytest.param(
            "POST", "/v1/models/offsetnet:predict", {"instances": [[1, 2]]}, id="v1"
        ),
        pytest.param("GET", "/v2/nothing", None, id="nothing of a protocol"),
        pytest.param("POST", "/train", {"epochs": 0}, id="wrong training"),
        pytest.param("GET", "/train/999", None, id="no such job"),
        pytest.param("PUT", "/predict", None, id="method"),
        pytest.param("GET", "/nothing", None, id="nothing"),
        pytest.param("GET", "/", None, id="index"),
        pytest.param("HEAD", "/", None, id="HEAD of the index"),
        pytest.param("HEAD", "/livez", None, id="HEAD"),
        pytest.param("GET", "/models/1", None, id="model"),
        pytest.param("GET", "/docs", None, id="page"),
        pytest.param("GET", "/static/docs.js", None, id="file"),
        pytest.param("GET", "/static/nothing", None, id="no file"),
    ],
)
def test_the_answer_is_that_of_a_server_without_a_prefix(
    client: httpx.Client, outside: httpx.Client, method: str, path: str, body: Any
) -> None:
    expected = client.request(method, path, json=body)

    found = outside.request(method, path, json=body)

    assert _plain(found)[0] == expected.status_code
    if path == "/models/1":  # another database, made at another time
        assert found.json().keys() == expected.json().keys()
    else:
        assert _plain(found) == _plain(expected)


def test_a_location_leads_to_the_job(outside: httpx.Client) -> None:
    accepted = outside.post("/train", json={"promote": "never"})

    location = accepted.headers["Location"]
    assert location == f"{PREFIX}/train/{accepted.json()['id']}"
    place = accepted.url.join(location)
    assert httpx.get(place).json()["id"] == accepted.json()["id"]


def test_a_foreign_host_is_refused_as_the_protocol_says(
    client: httpx.Client, outside: httpx.Client
) -> None:
    host = {"Host": "evil.example"}

    found = outside.get("/v2/models", headers=host)

    assert found.json().keys() == {"error", "code", "request_id"}
    assert _plain(found) == _plain(client.get("/v2/models", headers=host))


def test_the_command_line_works_below_it(outside: httpx.Client) -> None:
    server = ("--server", str(outside.base_url))
    runner = CliRunner()

    predicted = runner.invoke(cli, ["predict", *PERSON, *server])
    trained = runner.invoke(cli, ["train", "--promote", "never", "--json", *server])

    assert predicted.stdout == runner.invoke(cli, ["predict", *PERSON]).stdout
    assert json.loads(trained.stdout)["state"] == "succeeded"


def test_a_request_counts_for_its_route(outside: httpx.Client) -> None:
    before = _count_of_predictions(outside)

    outside.post("/predict", json=EMILY)

    assert _count_of_predictions(outside) == before + 1


def _count_of_predictions(client: httpx.Client) -> int:
    lines = client.get("/metrics").text.splitlines()
    counts = [line for line in lines if '"/predict"' in line and "_count{" in line]
    return sum(int(float(line.rpartition(" ")[2])) for line in counts)


def test_the_links_of_the_index_lead_somewhere(outside: httpx.Client) -> None:
    index = outside.get("/").json()

    assert index.pop("status") == "alive"
    for link in index.values():
        assert outside.get(link).status_code in {200, 405}


def test_the_prefix_alone_is_the_index(behind: tuple[Proxy, httpx.Client]) -> None:
    between, outside = behind

    assert httpx.get(between.url + PREFIX).json() == outside.get("/").json()


def test_the_document_names_the_prefix(
    client: httpx.Client, outside: httpx.Client
) -> None:
    document = outside.get("/openapi.json").json()

    assert document.pop("servers") == [{"url": PREFIX}]
    assert document == client.get("/openapi.json").json()


@pytest.mark.parametrize("path", ["svc", "//svc", "/a b", "/é", "http://x/svc"])
def test_what_is_no_path_is_refused(tmp_path: Path, path: str) -> None:
    arguments = ["serve", "--root-path", path, "--data-dir", str(tmp_path / "data")]

    result = CliRunner().invoke(cli, arguments)

    assert result.exit_code == 2
    assert "expected a path such as /offsetnet" in result.stderr
    assert not (tmp_path / "data").exists()


def test_nothing_but_the_prefix_is_taken_for_it(prefixed: Server) -> None:
    answer = prefixed.client.get("/svcs/livez")

    assert answer.status_code == 404
