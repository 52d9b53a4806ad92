"""PUT /models/active with If-Match, DELETE /models/{version}, and what is kept."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import select, update

from app.store import Store
from app.tables import models
from tests.app.answers import EMILY, JSON, assert_problem
from tests.app.processes import lag
from tests.app.training import train
from tests.databases import Databases
from tests.faults.hotswap import swap_under_load
from tests.faults.race import RIGHT, race
from tests.server import Server

THREADS: Final = 16
ROUNDS: Final = 5
ANY: Final = {"If-Match": "*"}


@pytest.fixture(scope="module")
def server(trainer: Server) -> Server:
    """The server that tests train on."""
    return trainer


@pytest.fixture
def version(server: Server) -> int:
    """A new version that is not active."""
    return _new(server)


@pytest.fixture
def active(server: Server) -> int:
    """A new version that is active."""
    return _new(server, promote="always")


@pytest.fixture
def spare(server: Server) -> int:
    """A version that is not active, made only where there is none."""
    listed = server.client.get("/models").json()["models"]
    others = [model["version"] for model in listed if not model["active"]]
    return others[0] if others else _new(server)


@pytest.fixture
def damaged(server: Server, version: int) -> Iterator[int]:
    """A version with a flipped bit that is not active."""
    store = Store(server.settings())
    with store.write() as connection:
        is_it = models.c.version == version
        weights = connection.scalars(select(models.c.weights).where(is_it)).one()
        flipped = weights[:-1] + bytes([weights[-1] ^ 1])
        connection.execute(update(models).where(is_it).values(weights=flipped))
    store.close()
    yield version
    _delete(server, version)


def _new(server: Server, **request: Any) -> int:
    request = {"promote": "never", "config": {"epochs": 1}} | request
    version: int = train(server, **request)["model_version"]
    return version


def _activate(
    server: Server, version: int, headers: dict[str, str] | None = None
) -> httpx.Response:
    headers = ANY if headers is None else headers
    return server.client.put(
        "/models/active", json={"version": version}, headers=headers
    )


def _delete(server: Server, version: int) -> httpx.Response:
    return server.client.delete(f"/models/{version}")


def _active(server: Server) -> tuple[Any, str]:
    """Return the active version as it is shown, and its ETag."""
    answer = server.client.get("/models/active")
    return answer.json(), answer.headers["ETag"]


def _predicts_with(server: Server) -> int:
    version: int = server.client.post("/predict", json=EMILY).json()["model_version"]
    return version


def _listed(server: Server) -> list[int]:
    listed = server.client.get("/models").json()["models"]
    return [model["version"] for model in listed]


def _next(etag: str) -> str:
    """Return the ETag of the next generation."""
    return '"{}"'.format(int(etag.strip('"')) + 1)


def test_a_version_is_activated_by_whoever_saw_the_active_one(
    server: Server, active: int, version: int
) -> None:
    _, etag = _active(server)

    response = _activate(server, version, {"If-Match": etag})

    assert response.status_code == 200
    assert response.headers["ETag"] == _next(etag)
    assert (response.json()["version"], response.json()["previous"]) == (
        version,
        active,
    )
    assert _active(server) == (response.json(), response.headers["ETag"])


def test_the_process_that_answers_predicts_with_the_new_version_already(
    server: Server, version: int
) -> None:
    for number in [1, version] * 5:  # it looks for itself only once a second
        _activate(server, number)

        assert _predicts_with(server) == number


def test_the_version_before_is_there_to_roll_back_to(
    server: Server, active: int, version: int
) -> None:
    previous = _activate(server, version).json()["previous"]

    rolled_back = _activate(server, previous).json()

    assert (rolled_back["version"], rolled_back["previous"]) == (active, version)
    assert _predicts_with(server) == active


@pytest.mark.usefixtures("version")
def test_activating_the_active_version_keeps_the_one_to_roll_back_to(
    server: Server, active: int
) -> None:
    before, etag = _active(server)

    response = _activate(server, active, {"If-Match": etag})

    assert (response.status_code, response.json()) == (200, before)
    assert response.headers["ETag"] == _next(etag)


def test_without_if_match_nothing_is_activated(server: Server, spare: int) -> None:
    before = _active(server)

    response = _activate(server, spare, {})

    assert_problem(response, 428, "precondition-required")
    assert _active(server) == before


@pytest.mark.parametrize(
    "tag",
    [
        pytest.param('"0"', id="stale"),
        pytest.param('"999999"', id="never seen"),
        pytest.param("W/{etag}", id="weak"),
        pytest.param("{bare}", id="no quotes"),
        pytest.param('"0{bare}"', id="leading zero"),
        pytest.param('" {bare}"', id="blank inside"),
        pytest.param('"+{bare}"', id="sign"),
        pytest.param('"*"', id="quoted star"),
        pytest.param("", id="empty"),
        pytest.param('"0", W/{etag}', id="list of stale and weak"),
        pytest.param('"' + "9" * 5000 + '"', id="5,000 digits"),
    ],
)
def test_what_is_not_the_active_one_s_tag_changes_nothing(
    server: Server, spare: int, tag: str
) -> None:
    before = _active(server)
    sent = tag.format(etag=before[1], bare=before[1].strip('"'))

    response = _activate(server, spare, {"If-Match": sent})

    assert_problem(response, 412, "stale-generation")
    assert _active(server) == before
    assert _predicts_with(server) == before[0]["version"]


@pytest.mark.parametrize(
    "tags", ["*", ' "0",{etag}', '{etag}, "0"', '"x", {etag}', "  {etag}  "]
)
def test_one_fitting_tag_of_a_list_is_enough(
    server: Server, spare: int, tags: str
) -> None:
    _, etag = _active(server)

    response = _activate(server, spare, {"If-Match": tags.format(etag=etag).strip()})

    assert response.status_code == 200


def test_a_tag_may_stand_in_a_second_header(server: Server, spare: int) -> None:
    _, etag = _active(server)

    response = server.client.put(
        "/models/active",
        json={"version": spare},
        headers=[("If-Match", '"0"'), ("If-Match", etag)],
    )

    assert response.status_code == 200


def test_a_tag_is_good_for_one_change(server: Server, active: int) -> None:
    _, etag = _active(server)
    first = _activate(server, 1, {"If-Match": etag})

    second = _activate(server, active, {"If-Match": etag})

    assert first.status_code == 200
    assert_problem(second, 412, "stale-generation")
    assert _predicts_with(server) == 1


def test_training_makes_a_tag_stale(server: Server, version: int) -> None:
    _, etag = _active(server)
    promoted = _new(server, promote="always")

    response = _activate(server, version, {"If-Match": etag})

    assert_problem(response, 412, "stale-generation")
    assert _active(server)[0]["version"] == promoted


@pytest.mark.parametrize("number", [999_999, 2**31 - 1])
def test_an_unknown_version_is_not_activated(server: Server, number: int) -> None:
    before = _active(server)

    response = _activate(server, number)

    assert_problem(response, 404, "not-found")
    assert _active(server) == before


def test_d10_a_damaged_version_is_not_activated(server: Server, damaged: int) -> None:
    before = _active(server)

    response = _activate(server, damaged)

    assert_problem(response, 503, "damaged-version")
    assert _active(server) == before
    assert _predicts_with(server) == before[0]["version"]


def test_a_damaged_version_may_be_deleted(server: Server, damaged: int) -> None:
    response = _delete(server, damaged)

    assert response.status_code == 204


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        pytest.param(b"", 400, "malformed", id="empty"),
        pytest.param(b"{", 400, "malformed", id="cut off"),
        pytest.param(b'\xef\xbb\xbf{"version": 1}', 400, "malformed", id="BOM"),
        pytest.param(b'{"version": "\xff"}', 400, "malformed", id="no UTF-8"),
        pytest.param(b"{}", 422, "invalid", id="no version"),
        pytest.param(b"[1]", 422, "invalid", id="list"),
        pytest.param(b'{"version": "1"}', 422, "invalid", id="text"),
        pytest.param(b'{"version": 1.0}', 422, "invalid", id="float"),
        pytest.param(b'{"version": 1.5}', 422, "invalid", id="fraction"),
        pytest.param(b'{"version": true}', 422, "invalid", id="boolean"),
        pytest.param(b'{"version": null}', 422, "invalid", id="null"),
        pytest.param(b'{"version": 0}', 422, "invalid", id="zero"),
        pytest.param(b'{"version": -1}', 422, "invalid", id="negative"),
        pytest.param(b'{"version": 2147483648}', 422, "invalid", id="too large"),
        pytest.param(b'{"version": 1, "x": 1}', 422, "invalid", id="unknown key"),
    ],
)
def test_what_names_no_version_changes_nothing(
    server: Server, content: bytes, status: int, code: str
) -> None:
    before = _active(server)

    response = server.client.put("/models/active", content=content, headers=JSON | ANY)

    assert_problem(response, status, code)
    assert _active(server) == before


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        pytest.param({}, "media-type", id="no type"),
        pytest.param({"Content-Type": "text/plain"}, "media-type", id="text"),
        pytest.param({"Content-Type": "text/csv"}, "media-type", id="CSV"),
        pytest.param(
            {"Content-Type": "application/x-www-form-urlencoded"},
            "media-type",
            id="form",
        ),
        pytest.param(
            {"Content-Type": "application/json; charset=latin-1"},
            "media-type",
            id="charset",
        ),
        pytest.param(JSON | {"Content-Encoding": "gzip"}, "content-coding", id="gzip"),
    ],
)
def test_a14_a_body_of_another_type_changes_nothing(
    server: Server, headers: dict[str, str], code: str
) -> None:
    before = _active(server)

    response = server.client.put(
        "/models/active", content=b'{"version": 1}', headers=headers | ANY
    )

    assert_problem(response, 415, code)
    assert {"accept-post", "accept-encoding"} & response.headers.keys()
    assert _active(server) == before


def test_a_body_too_large_changes_nothing(server: Server) -> None:
    before = _active(server)

    response = server.client.put(
        "/models/active", content=b" " * 262_145, headers=JSON | ANY
    )

    assert_problem(response, 413, "too-large")
    assert _active(server) == before


def _at_once(*requests: Any) -> list[httpx.Response]:
    """Send requests in as many threads at the same time."""
    barrier = threading.Barrier(len(requests))

    def send(request: Any) -> httpx.Response:
        barrier.wait()
        function, *arguments = request
        answer: httpx.Response = function(*arguments)
        return answer

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(send, requests))


def test_e1_of_many_with_the_same_tag_one_wins(server: Server, version: int) -> None:
    for _ in range(ROUNDS):
        _, etag = _active(server)
        request = (_activate, server, version, {"If-Match": etag})

        answers = _at_once(*[request] * THREADS)

        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200] + [412] * (THREADS - 1)
        assert _active(server)[1] == _next(etag)


def test_e2_an_activation_and_a_deletion_at_once_have_an_order(server: Server) -> None:
    for _ in range(ROUNDS):
        version = _new(server)
        _activate(server, 1)

        answers = _at_once((_activate, server, version), (_delete, server, version))

        statuses = tuple(answer.status_code for answer in answers)
        assert statuses in {(200, 409), (404, 204)}
        assert _predicts_with(server) == (version if statuses[0] == 200 else 1)


def test_e2_activations_and_trainings_at_once_count_each_one(
    server: Server, version: int
) -> None:
    _, etag = _active(server)

    def promote() -> httpx.Response:
        _new(server, promote="always")
        return server.client.get("/models/active")

    _at_once((promote,), *[(_activate, server, version)] * 4)

    generation = int(etag.strip('"')) + 5
    assert _active(server)[1] == f'"{generation}"'


def test_a_deleted_version_is_gone(server: Server, version: int) -> None:
    response = _delete(server, version)

    assert (response.status_code, response.content) == (204, b"")
    assert version not in _listed(server)
    for method, path in (
        ("GET", f"/models/{version}"),
        ("GET", f"/models/{version}/weights"),
        ("DELETE", f"/models/{version}"),
    ):
        assert_problem(server.client.request(method, path), 404, "not-found")


def test_e3_a_deleted_version_neither_answers_nor_is_activated(
    server: Server, version: int
) -> None:
    pinned = f"/predict?model_version={version}"
    before = server.client.post(pinned, json=EMILY)
    _delete(server, version)

    after = server.client.post(pinned, json=EMILY)

    assert before.status_code == 200
    assert_problem(after, 404, "not-found")
    assert_problem(_activate(server, version), 404, "not-found")


def test_e2_the_active_version_stays(server: Server, active: int) -> None:
    before = _active(server)

    response = _delete(server, active)

    assert_problem(response, 409, "version-in-use")
    assert _active(server) == before


def test_e5_a_version_deleted_while_it_is_asked_answers_whole_or_not_at_all(
    server: Server, version: int
) -> None:
    path, has_begun = f"/predict/batch?model_version={version}", threading.Event()
    rows = {"instances": [EMILY] * 500}

    def ask() -> list[httpx.Response]:
        answers: list[httpx.Response] = []
        while not answers or answers[-1].is_success:
            answers.append(server.client.post(path, json=rows))
            has_begun.set()
        return answers

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        has_begun.wait(60)
        _delete(server, version)
        lists = [one.result(60) for one in asking]

    for *answered, last in lists:
        assert {one.json()["model_version"] for one in answered} <= {version}
        assert {len(one.json()["predictions"]) for one in answered} <= {500}
        assert_problem(last, 404, "not-found")


@pytest.mark.parametrize("is_active", [True, False], ids=["active", "inactive"])
def test_the_shipped_version_stays(
    server: Server, version: int, *, is_active: bool
) -> None:
    _activate(server, 1 if is_active else version)

    response = _delete(server, 1)

    assert_problem(response, 409, "version-in-use")
    assert server.client.get("/models/1").status_code == 200


def test_without_the_version_before_there_is_none_to_roll_back_to(
    server: Server, active: int, version: int
) -> None:
    _activate(server, version)
    before, etag = _active(server)

    response = _delete(server, active)

    after, etag_after = _active(server)
    assert response.status_code == 204
    assert (before["previous"], after["previous"]) == (active, None)
    assert etag_after == _next(etag)


def test_what_is_shown_under_one_tag_never_changes(
    server: Server, active: int, version: int
) -> None:
    other = _activate(server, version).headers["ETag"]
    _delete(server, active)

    response = _activate(server, 1, {"If-Match": other})

    assert_problem(response, 412, "stale-generation")


def test_deleting_any_other_version_leaves_the_tag(
    server: Server, version: int
) -> None:
    before = _active(server)

    _delete(server, version)

    assert _active(server) == before


@pytest.mark.parametrize("number", ["999999", "0", "-1", "x", "1.0", "active", "%00"])
def test_what_names_no_version_is_not_deleted(server: Server, number: str) -> None:
    before = _listed(server)

    response = server.client.delete(f"/models/{number}")

    assert response.status_code in {404, 405}
    assert _listed(server) == before


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "POST"])
def test_the_active_version_is_read_and_set_and_nothing_else(
    server: Server, method: str
) -> None:
    before = _active(server)

    response = server.client.request(method, "/models/active")

    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["Allow"] == "GET, HEAD, PUT"
    assert _active(server) == before


def test_e8_a_number_is_never_given_again(server: Server) -> None:
    first, second = _new(server), _new(server)
    for version in (second, first):
        _delete(server, version)

    third = _new(server)

    assert third == second + 1


def test_the_job_of_a_deleted_version_remembers_it(server: Server) -> None:
    job = train(server, promote="never", config={"epochs": 1})

    _delete(server, job["model_version"])

    assert server.client.get(job["links"]["self"]).json() == job


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases
) -> Iterator[Server]:
    """Two processes behind one port, on PostgreSQL."""
    data_dir = tmp_path_factory.mktemp("pair") / "data"
    environment = databases.new("postgresql")
    with Server(data_dir, "--workers", "2", environment=environment) as running:
        yield running


def test_e6_every_process_answers_with_the_new_version_within_2_s(pair: Server) -> None:
    version = _new(pair)

    for number in (version, 1):
        assert _activate(pair, number).status_code == 200
        assert lag(pair, number) < 2


def test_e4_no_request_fails_and_none_is_mixed_while_versions_change(
    pair: Server,
) -> None:
    seen = swap_under_load(pair, seconds=1, seed=0)

    assert (seen.failures, seen.violations) == (0, [])
    assert seen.versions > 1


def test_e1_of_many_with_the_same_tag_one_wins_across_processes(pair: Server) -> None:
    seen = race(pair, ROUNDS)

    assert seen == {RIGHT: ROUNDS}
