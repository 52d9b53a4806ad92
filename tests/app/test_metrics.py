"""GET /metrics, read as Prometheus reads it."""

import contextlib
import math
import os
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import pytest
from fastapi.routing import APIRoute
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.http import InferenceServerClient, InferInput

from app.api import ROUTES
from app.errors import BY_SLUG
from app.metrics import STATUSES, Metrics
from tests.app.answers import CSV, EMILY, assert_problem
from tests.app.processes import children, is_alive
from tests.app.training import BRIEF, ENDLESS, activate, start, train
from tests.app.wire import exchange
from tests.databases import Databases
from tests.server import Server, wait_for

PROBES: Final = (
    "/readyz",
    "/v2/health/ready",
    "/v2/models/offsetnet/ready",
    "/v1/models/offsetnet",
)
METHODS: Final = {"_OTHER", "GET", "POST", "PUT", "DELETE"}
REQUESTS: Final = "http_server_request_duration_seconds"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"


class Samples(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """What one look at /metrics shows."""

    @classmethod
    def of(cls, client: httpx.Client) -> "Samples":
        """Look."""
        return cls(
            ((sample.name, frozenset(sample.labels.items())), sample.value)
            for family in text_string_to_metric_families(client.get("/metrics").text)
            for sample in family.samples
        )

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        return sum(
            value
            for (found, has), value in self.items()
            if found == name and has >= labels.items()
        )

    def seen(self, label: str) -> set[str]:
        """Return all that a label says."""
        return {dict(has)[label] for _, has in self if label in dict(has)}


def requests(samples: Samples, route: str, **labels: str) -> float:
    """Return how many requests of a route were counted."""
    return samples.value(f"{REQUESTS}_count", http_route=route, **labels)


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Iterator[Server]:
    """A server that nobody else asks."""
    data_dir = tmp_path_factory.mktemp("measured") / "data"
    with Server(data_dir, environment=databases.new(engine)) as running:
        yield running


@pytest.fixture
def look(measured: Server) -> Callable[[], Samples]:
    """Look at the metrics."""
    return lambda: Samples.of(measured.client)


def batch(server: Server) -> None:
    server.client.post("/predict/batch", json={"instances": [EMILY, EMILY]})


def batch_of_csv(server: Server) -> None:
    table = "weight_lb,height_in\n128,63\n155,68\n"
    server.client.post("/predict/batch", content=table, headers=CSV)


def tensor(server: Server) -> None:
    with InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        people = InferInput("features", [2, 2], "FP64")
        people.set_data_from_numpy(np.array([[-7.0, -3.0], [20.0, 2.0]]))
        client.infer("offsetnet", [people])


def version_1(server: Server) -> None:
    rows = {"instances": [[-7, -3], [20, 2]]}
    server.client.post("/v1/models/offsetnet:predict", json=rows)


@pytest.mark.parametrize(
    ("ask", "route", "women", "men"),
    [
        (lambda server: server.client.post("/predict", json=EMILY), "/predict", 1, 0),
        (batch, "/predict/batch", 2, 0),
        (batch_of_csv, "/predict/batch", 1, 1),
        (tensor, "/v2/models/offsetnet/infer", 1, 1),
        (version_1, "/v1/models/offsetnet:predict", 1, 1),
    ],
    ids=["one", "batch", "csv", "version 2", "version 1"],
)
def test_people_are_counted_by_label_however_they_are_sent(
    measured: Server, ask: Callable[[Server], None], route: str, women: int, men: int
) -> None:
    before = Samples.of(measured.client)

    ask(measured)

    after = Samples.of(measured.client)
    assert requests(after, route) - requests(before, route) == 1
    for label, number in (("F", women), ("M", men)):
        counted = [
            s.value("offsetnet_predictions_total", label=label) for s in (before, after)
        ]
        assert counted[1] - counted[0] == number
    name = "offsetnet_prediction_probability_bucket"
    for bound, number in (("0.5", men), ("+Inf", women + men)):
        assert after.value(name, le=bound) - before.value(name, le=bound) == number


def test_requests_are_told_apart_by_method_route_and_status(
    measured: Server, look: Callable[[], Samples]
) -> None:
    before = look()

    measured.client.get("/models/1")
    measured.client.head("/models/1")
    measured.client.get("/models/999")
    measured.client.post("/predict", json={})
    measured.client.get("/static/docs.js")

    wanted = {
        ("GET", "/models/{version}", "200"): 2,
        ("GET", "/models/{version}", "404"): 1,
        ("POST", "/predict", "422"): 1,
        ("GET", "/static", "200"): 1,  # is counted when its file has been closed
    }
    wait_for(lambda: {name: _since(before, look(), *name) for name in wanted} == wanted)


def test_b16_f9_what_clients_make_up_adds_no_series(server: Server) -> None:
    _make_up(server, range(100))
    Samples.of(server.client)  # which asks for the metrics, a series too
    before = Samples.of(server.client)

    _make_up(server, range(100, 10_100))

    after = Samples.of(server.client)
    assert after.keys() == before.keys()
    assert requests(after, "") - requests(before, "") == 10_000
    assert after.seen("http_request_method") <= METHODS


def _make_up(server: Server, numbers: range) -> None:
    """Ask for what is not there, with methods, versions and agents of all kinds."""
    kinds = (
        "TRACE /predict",
        "PROPFIND /models/{}",
        "GET /made/up/{}",
        "PUT /{}?a={}",
        "GET /v2/{}",
    )
    for first in numbers[::100]:
        targets = [kinds[n % 5].format(n, n) for n in range(first, first + 100)]
        heads = [
            f"{target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {target}\r\n"
            for target in targets
        ]
        heads[-1] += "Connection: close\r\n"
        exchange(server.port, "\r\n".join([*heads, ""]).encode())


def test_buckets_grow_up_to_their_count(
    measured: Server, look: Callable[[], Samples]
) -> None:
    measured.client.post("/predict", json=EMILY)

    samples = look()

    histograms: dict[tuple[str, frozenset[tuple[str, str]]], dict[float, float]] = {}
    for (name, labels), value in samples.items():
        if name.endswith("_bucket"):
            rest = frozenset(pair for pair in labels if pair[0] != "le")
            bound = float(dict(labels)["le"].replace("+Inf", "inf"))
            key = (name.removesuffix("_bucket"), rest)
            histograms.setdefault(key, {})[bound] = value
    assert {"offsetnet_event_loop_lag_seconds", REQUESTS} <= {n for n, _ in histograms}
    for (name, labels), found in histograms.items():
        values = [found[bound] for bound in sorted(found)]
        count = "_gcount" if name == "offsetnet_training_duration_seconds" else "_count"
        assert all(low <= high for low, high in pairwise(values))
        assert found[math.inf] == samples[name + count, labels]


def test_the_loop_tells_how_late_it_is(look: Callable[[], Samples]) -> None:
    name = "offsetnet_event_loop_lag_seconds_count"
    before = look().value(name)

    wait_for(lambda: look().value(name) > before)


def test_openmetrics_is_written_where_it_is_asked_for(measured: Server) -> None:
    response = measured.client.get("/metrics", headers={"Accept": OPENMETRICS})

    families = list(_read_openmetrics(response.text))

    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert REQUESTS in {family.name for family in families}


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=x",
        'application/openmetrics-text; version="1"',
        "text/plain; version=a.b",
        "application/openmetrics-text; version=99999999999999999999.0; escaping=?",
        "*/*;q=",
    ],
)
def test_an_odd_accept_is_answered(measured: Server, accept: str) -> None:
    response = measured.client.get("/metrics", headers={"Accept": accept})

    assert response.status_code == 200
    assert "99999" not in response.headers["Content-Type"]


def test_every_status_that_is_answered_has_a_place() -> None:
    refusals = {problem.status for problem in BY_SLUG.values()}
    routes = (route for route in ROUTES if isinstance(route, APIRoute))
    answers = {int(status) for route in routes for status in route.responses}

    assert refusals | answers <= set(STATUSES)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_metrics_that_cannot_be_shared_are_kept_alone(
    tmp_path: Path, workers: str
) -> None:
    environment = {"OFFSETNET_METRICS_FILE": str(tmp_path / "nowhere" / "metrics")}
    arguments = ("--workers", workers)
    with Server(tmp_path / "data", *arguments, environment=environment) as server:
        server.client.post("/predict", json=EMILY)

        assert Samples.of(server.client)

    assert "the metrics are those of one process" in server.log()


def test_a_killed_server_leaves_no_file_behind(tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--workers", "2") as server:
        (file,) = {
            path
            for worker in _workers(server)
            for path in _mapped_files(worker)
            if "offsetnet-metrics-" in path.name
        }
        workers = _workers(server)
        server.stop(signal.SIGKILL)

        wait_for(lambda: not any(is_alive(pid) for pid in workers))

    assert not file.exists()


def test_the_active_version_and_its_swaps_are_told(
    measured: Server, look: Callable[[], Samples]
) -> None:
    before = look()

    version = train(measured, promote="always")["model_version"]
    measured.wait_for_version(version)
    activate(measured, 1)

    after = look()
    info = [dict(has) for name, has in after if name == "offsetnet_active_model_info"]
    sha256 = measured.client.get("/models/1").json()["sha256"]
    assert info == [{"version": "1", "sha256": sha256}]
    for name in ("offsetnet_swaps_total", "offsetnet_active_model_generation"):
        assert after.value(name) - before.value(name) == 2


def test_jobs_are_told_by_state_with_how_long_they_took(
    measured: Server, look: Callable[[], Samples]
) -> None:
    before = look()
    train(measured, **BRIEF)
    running = start(measured, **ENDLESS)
    waiting = [measured.client.post("/train", json=BRIEF).json()["id"] for _ in "12"]

    during = look()

    assert during.value("offsetnet_jobs", state="running") == 1
    assert during.value("offsetnet_jobs", state="queued") == 2
    assert during.value("offsetnet_queue_depth") == 2
    assert during.value("offsetnet_queue_oldest_seconds") > 0
    for job in (*waiting, running):
        measured.client.delete(f"/train/{job}")
    after = look()
    assert after.value("offsetnet_queue_depth") == 0
    assert after.value("offsetnet_queue_oldest_seconds") == 0
    name, kind = "offsetnet_training_duration_seconds", {"outcome": "kept"}
    assert after.value("offsetnet_jobs", state="cancelled") >= 3
    assert after.value(f"{name}_gcount", **kind) == 1 + before.value(
        f"{name}_gcount", **kind
    )
    assert after.value(f"{name}_gsum", **kind) > before.value(f"{name}_gsum", **kind)


def test_a_request_turned_away_is_counted_with_the_reason(tmp_path: Path) -> None:
    environment = {"OFFSETNET_QUEUE_LIMIT": "1"}
    with Server(tmp_path / "data", environment=environment) as server:
        start(server, **ENDLESS)
        server.client.post("/train", json=BRIEF)
        before = Samples.of(server.client)

        server.client.post("/train", json=BRIEF)

        after = Samples.of(server.client)
    name = "offsetnet_sheds_total"
    assert before.value(name) == 0
    assert after.value(name, reason="queue-full") == after.value(name) == 1


def test_a_probe_that_fails_is_nobody_turned_away(tmp_path: Path) -> None:
    away = {"OFFSETNET_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    with contextlib.closing(Server(tmp_path / "data", environment=away)) as server:
        wait_for(server.is_alive)

        statuses = {server.client.get(path).status_code for path in PROBES}
        server.client.post("/predict", json=EMILY)

        samples = Samples.of(server.client)
    assert statuses == {503}
    assert samples.value("offsetnet_sheds_total", reason="not-ready") == 1
    assert samples.value("offsetnet_sheds_total") == 1


def test_processes_of_a_server_add_up(tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--workers", "3") as server:
        for _ in range(60):
            httpx.post(f"http://127.0.0.1:{server.port}/predict", json=EMILY)

        looks = [_look_anew(server) for _ in range(12)]

    for samples in looks:
        assert requests(samples, "/predict") == 60
        assert samples.value("offsetnet_predictions_total", label="F") == 60
    served = [requests(samples, "/metrics") for samples in looks]
    assert served == list(range(12))


def test_what_a_killed_process_counted_stays(tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--workers", "2") as server:
        for _ in range(20):
            httpx.post(f"http://127.0.0.1:{server.port}/predict", json=EMILY)
        workers = _workers(server)

        os.kill(workers[0], signal.SIGKILL)
        wait_for(lambda: len(set(_workers(server)) - {workers[0]}) == 2)
        httpx.post(f"http://127.0.0.1:{server.port}/predict", json=EMILY)

        assert requests(_look_anew(server), "/predict") == 21


def test_without_a_database_the_rest_is_told(
    tmp_path: Path, databases: Databases
) -> None:
    environment = databases.new("postgresql")
    with Server(tmp_path / "data", environment=environment) as server:
        assert "offsetnet_jobs" in server.client.get("/metrics").text
        try:
            databases.postgresql.stop()
            wait_for(lambda: Samples.of(server.client).value("offsetnet_degraded") == 1)

            samples = Samples.of(server.client)
        finally:
            databases.postgresql.start()
    assert samples.value("offsetnet_active_model_info", version="1") == 1
    assert "offsetnet_queue_depth" not in {name for name, _ in samples}


def test_f14_the_metrics_may_want_a_key(tmp_path: Path) -> None:
    environment = {"OFFSETNET_PUBLIC_DOCS": "false", "OFFSETNET_ADMIN_KEY": "key"}
    with Server(tmp_path / "data", environment=environment) as server:
        refused = server.client.get("/metrics")
        answered = server.client.get("/metrics", headers={"X-API-Key": "key"})

    assert_problem(refused, 401, "unauthenticated")
    assert answered.status_code == 200


def test_a_file_of_another_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics"
    Metrics([("GET", "/")], ["full"]).share(path)

    other = Metrics([("GET", "/other")], ["full"])

    with pytest.raises(OSError, match="another release"):
        other.share(path)


def test_a_value_on_a_bound_is_counted_there() -> None:
    metrics = Metrics((), ())

    metrics.count_prediction(0.5)
    metrics.count_predictions(np.array([0.1, 0.5, 1.0]))

    found = metrics.read().probability
    assert dict(zip(found.bounds, found.counts, strict=False)) == {
        **dict.fromkeys((0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9), 0),
        0.1: 1,
        0.5: 2,
        1.0: 1,
    }
    assert (found.total, metrics.read().labels) == (2.1, {"M": 1, "F": 3})


def _since(
    before: Samples, after: Samples, method: str, route: str, status: str
) -> float:
    """Return how many requests were counted between two looks."""
    labels = {"http_request_method": method, "http_response_status_code": status}
    return requests(after, route, **labels) - requests(before, route, **labels)


def _read_openmetrics(text: str) -> Iterator[Metric]:
    read: Any = openmetrics.text_string_to_metric_families  # has no types
    yield from read(text)


def _mapped_files(pid: int) -> set[Path]:
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {Path(line.split()[-1]) for line in lines if "/" in line}


def _look_anew(server: Server) -> Samples:
    """Look through a new connection, which any process may take."""
    with httpx.Client(base_url=server.client.base_url) as client:
        return Samples.of(client)


def _workers(server: Server) -> list[int]:
    """Return the processes that serve, which have children or threads of their own."""
    return [
        pid
        for pid in children(server.process.pid)
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
