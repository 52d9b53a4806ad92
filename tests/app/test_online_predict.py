"""`offsetnet predict` with a server: what it prints is what it prints without."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from model import sample_csv
from tests.app.test_client import answer, problem, scripted
from tests.server import Server

EMILY: Final = ("--weight-offset=-7", "--height-offset=-3")
KEYS: Final = {"OFFSETNET_ADMIN_KEY": "admin", "OFFSETNET_PREDICT_KEY": "reader"}
METRIC: Final = "height_cm,weight_kg\n160.02,58.06\n172.5,70\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for keys."""
    data_dir = tmp_path_factory.mktemp("online") / "data"
    with Server(data_dir, environment=KEYS) as running:
        yield running


@pytest.fixture(scope="module")
def url(service: Server) -> str:
    """Where it is."""
    return f"http://127.0.0.1:{service.port}"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 2,500 people without labels."""
    path = tmp_path_factory.mktemp("people") / "people.csv"
    labelled = "".join(sample_csv(2_500, 0)).splitlines()
    path.write_text("".join(f"{row.rpartition(',')[0]}\n" for row in labelled))
    return path


def _call(*arguments: str | Path, **environment: str) -> Result:
    given = environment or KEYS
    return CliRunner(env=given).invoke(cli, ["predict", *map(str, arguments)])


@pytest.mark.parametrize(
    "person",
    [
        pytest.param(EMILY, id="offsets"),
        pytest.param(("--weight-lb=128.3", "--height-in=63.1"), id="imperial"),
        pytest.param(("--weight-kg=58.06", "--height-cm=160.02"), id="metric"),
        pytest.param(("--weight-lb=500", "--height-in=63"), id="out of range"),
        pytest.param((*EMILY, "--json"), id="as JSON"),
    ],
)
def test_a_person_is_answered_as_without_a_server(
    url: str, person: tuple[str, ...]
) -> None:
    here = _call(*person)

    there = _call(*person, "--server", url)

    assert (there.exit_code, there.stderr) == (0, "")
    assert there.stdout == here.stdout != ""


@pytest.mark.parametrize("content", [None, METRIC], ids=["2,500 rows", "metric"])
def test_a_file_is_answered_as_without_a_server(
    url: str, people: Path, tmp_path: Path, content: str | None
) -> None:
    path = people
    if content:
        path = tmp_path / "metric.csv"
        path.write_text(content)
    here = _call(path)

    there = _call(path, "--server", url)

    assert (there.exit_code, there.stderr) == (0, "")
    assert there.stdout == here.stdout
    assert len(there.stdout.splitlines()) == len(path.read_text().splitlines())


def test_a_file_goes_in_batches_of_1000_to_one_version(people: Path) -> None:
    first, others = (_batch(count, 7) for count in (1_000, 500))

    with scripted(first, first, others) as (server, _):
        result = _call(people, "--server", server.url)

    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split()[1] for line in server.requests] == [
        "/predict/batch",
        "/predict/batch?model_version=7",
        "/predict/batch?model_version=7",
    ]


def test_what_was_answered_before_a_failure_is_printed(people: Path) -> None:
    refused = problem(404, "not-found")

    with scripted(_batch(1_000, 7), refused) as (server, _):
        result = _call(people, "--server", server.url)

    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 1_001
    assert result.stderr == "it is not-found (404 not-found)\n"


def _batch(count: int, version: int) -> tuple[bytes, float]:
    """Write the answer to a batch."""
    one = {"probability": 0.5, "label": "F", "extrapolating": False}
    body = {"predictions": [one] * count, "model_version": version}
    return answer(200, json.dumps(body))


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        pytest.param(KEYS, "reader", id="predict key"),
        pytest.param({"OFFSETNET_ADMIN_KEY": "admin"}, "admin", id="admin key alone"),
    ],
)
def test_the_predict_key_is_shown_where_there_is_one(
    environment: dict[str, str], key: str
) -> None:
    with scripted(problem(404, "not-found")) as (server, _):
        _call(*EMILY, "--server", server.url, **environment)

    assert server.headers("authorization") == [f"Bearer {key}"]


def test_a_wrong_key_is_told_of(url: str) -> None:
    result = _call(*EMILY, "--server", url, OFFSETNET_PREDICT_KEY="other")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "a valid key is needed (401 unauthenticated)\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([*EMILY, "--weights", "x"], "either --weights or", id="weights"),
        pytest.param(["--weight-lb=0", "--height-in=63"], "--weight-lb", id="bound"),
        pytest.param(["--weight-lb=1"], "--height-in: Field required", id="half"),
        pytest.param(
            ["--weight-lb=128", "--height-cm=63"],
            "give a weight and a height of one pair",
            id="two pairs",
        ),
        pytest.param(
            ["--weight-lb=128", "--height-in=63", "--height-cm=160"],
            "give a weight and a height of one pair",
            id="one and a half",
        ),
        pytest.param([], "either a FILE or", id="nobody"),
        pytest.param(["x.csv", "--json"], "--json is for one person", id="json"),
    ],
)
def test_a_wrong_call_ends_with_2_and_asks_nobody(
    arguments: list[str], message: str
) -> None:
    result = _call(*arguments, "--server", "http://127.0.0.1:1")

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_a_faulty_file_is_told_of_as_without_a_server(url: str, tmp_path: Path) -> None:
    path = tmp_path / "faulty.csv"
    path.write_text("weight_lb,height_in\n1,x\n")

    here, there = _call(path), _call(path, "--server", url)

    assert (there.exit_code, there.stderr) == (here.exit_code, here.stderr)
    assert there.stderr == f"{path}: row 2, height_in: expected a number\n"


def test_a_server_that_is_not_there_is_waited_for_and_told_of() -> None:
    result = _call(*EMILY, "--server", "http://127.0.0.1:1")

    assert (result.exit_code, result.stdout) == (1, "")
    waiting, reason = result.stderr.splitlines()
    assert waiting == "waiting for http://127.0.0.1:1"
    assert reason.startswith("http://127.0.0.1:1: the server cannot be reached: ")


def test_an_address_where_nothing_is_is_named(url: str) -> None:
    result = _call(*EMILY, "--server", f"{url}/nope")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"{url}/nope: Nothing is here (404 not-found)\n"


def test_a_server_of_another_kind_is_named() -> None:
    with scripted(answer(404, "<html>", media_type="text/html")) as (server, _):
        result = _call(*EMILY, "--server", server.url)

    assert result.exit_code == 1
    assert result.stderr == f"{server.url}: Said (404)\n"


@pytest.mark.parametrize("is_online", [False, True], ids=["local", "server"])
def test_a_bar_on_the_terminal_leaves_standard_output_alone(
    url: str, people: Path, *, is_online: bool
) -> None:
    server = ("--server", url) if is_online else ()
    ours, theirs = pty.openpty()

    done = subprocess.run(
        [sys.executable, "-m", "app", "predict", people, *server],
        env={**os.environ, **KEYS, "TERM": "xterm", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        timeout=60,
        check=True,
    )

    os.close(theirs)
    assert done.stdout == _call(people).stdout
    assert "/2500" in os.read(ours, 1 << 16).decode()
    os.close(ours)
    rows = [*csv.DictReader(io.StringIO(done.stdout))]
    assert len(rows) == 2_500
