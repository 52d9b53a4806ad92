"""Idempotency-Key, and each caller's share of the queue."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import func, select, update

from app.purging import purge
from app.store import Store
from app.tables import datasets, jobs
from tests.app.answers import CSV, assert_problem
from tests.app.training import BRIEF, FOUR, newest
from tests.app.wire import exchange
from tests.databases import Databases
from tests.server import Server, wait_for

DAY: Final = 86_400
ENDLESS: Final = {
    "examples": FOUR * 50,
    "config": {"epochs": 10_000, "batch_size": 1, "holdout": 0},
}


@pytest.fixture
def key() -> str:
    """A key that was never used."""
    return uuid4().hex


@pytest.fixture
def store(trainer: Server) -> Iterator[Store]:
    """The database of the server that tests train on."""
    opened = Store(trainer.settings())
    yield opened
    opened.close()


def _train(server: Server, key: str, **request: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key}
    return server.client.post("/train", json=BRIEF | request, headers=headers)


def test_c11_fifty_equal_requests_at_once_are_one_job(
    trainer: Server, key: str
) -> None:
    before = newest(trainer.client)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: _train(trainer, key), range(50)))

    replays = [answer.headers.get("Idempotency-Replayed") for answer in answers]
    (location,) = {answer.headers["Location"] for answer in answers}
    listed = trainer.client.get("/train").json()["jobs"]
    assert {answer.status_code for answer in answers} == {202}
    assert sorted(replays, key=str) == [None] + ["true"] * 49
    assert [job["links"]["self"] for job in listed if [job["id"]] > before] == [
        location
    ]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"examples": FOUR}, id="data"),
        pytest.param({"config": {"epochs": 6}}, id="config"),
        pytest.param({"config": {}}, id="no config"),
        pytest.param({"promote": "if_better"}, id="promote"),
        pytest.param({"note": "other"}, id="note"),
    ],
)
def test_c12_a_key_does_not_fit_another_request(
    trainer: Server, key: str, change: dict[str, Any]
) -> None:
    different = {"examples": FOUR[::-1], "note": "first"}
    first = trainer.wait_for_job(_train(trainer, key, **different).json()["id"])
    before = newest(trainer.client)

    response = _train(trainer, key, **different | change)

    assert_problem(response, 422, "key-reused")
    assert newest(trainer.client) == before
    assert trainer.client.get(first["links"]["self"]).json() == first


def test_a_replay_shows_the_job_as_it_is_now(trainer: Server, key: str) -> None:
    first = _train(trainer, key)
    job = trainer.wait_for_job(first.json()["id"])

    replay = _train(trainer, key)

    assert (replay.status_code, replay.json()) == (202, job)
    assert replay.headers["Location"] == first.headers["Location"]
    assert replay.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers


def test_a_csv_is_replayed_too(trainer: Server, key: str) -> None:
    content = "weight_lb,height_in,label\n128,63,F\n155,68,M\n"
    query, headers = {"promote": "never", "epochs": "1"}, CSV | {"Idempotency-Key": key}

    first, replay = (
        trainer.client.post("/train", content=content, params=query, headers=headers)
        for _ in range(2)
    )

    assert replay.json()["id"] == first.json()["id"]
    assert replay.headers["Idempotency-Replayed"] == "true"


def test_an_empty_post_is_replayed_too(trainer: Server, key: str) -> None:
    headers = {"Idempotency-Key": key}

    first, replay = (trainer.client.post("/train", headers=headers) for _ in range(2))

    assert replay.json()["id"] == first.json()["id"]


def test_another_key_is_another_job(trainer: Server, key: str) -> None:
    first, second = _train(trainer, key), _train(trainer, key + "2")

    assert second.json()["id"] != first.json()["id"]
    assert "Idempotency-Replayed" not in second.headers


def test_without_a_key_each_request_is_a_job(trainer: Server) -> None:
    first, second = (trainer.client.post("/train", json=BRIEF) for _ in range(2))

    assert second.json()["id"] != first.json()["id"]


def test_a_key_is_the_same_in_quotes_and_bare(trainer: Server, key: str) -> None:
    first = _train(trainer, key)

    replay = _train(trainer, f'"{key}"')

    assert replay.json()["id"] == first.json()["id"]


def test_keys_differ_in_case(trainer: Server, key: str) -> None:
    first, second = _train(trainer, key + "a"), _train(trainer, key + "A")

    assert second.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("quote", ["", '"'], ids=["bare", "in quotes"])
def test_c13_a_key_may_have_255_characters(
    trainer: Server, key: str, quote: str
) -> None:
    longest = key.ljust(255, "~")

    first, replay = (_train(trainer, quote + longest + quote) for _ in range(2))

    assert (first.status_code, replay.status_code) == (202, 202)
    assert replay.json()["id"] == first.json()["id"]


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([b"k" * 256], id="256 characters"),
        pytest.param([b'"' + b"k" * 256 + b'"'], id="256 characters in quotes"),
        pytest.param(["é".encode("latin-1")], id="latin-1"),
        pytest.param(["é".encode()], id="utf-8"),
        pytest.param([b""], id="empty"),
        pytest.param([b'""'], id="empty quotes"),
        pytest.param([b"a\tb"], id="tab"),
        pytest.param([b"a", b"b"], id="two"),
        pytest.param([b"a", b"a"], id="the same twice"),
    ],
)
@pytest.mark.parametrize("query", ["", "?dry_run=true"], ids=["job", "dry run"])
def test_c13_f8_what_is_no_key_is_refused(
    trainer: Server, keys: list[bytes], query: str
) -> None:
    before = newest(trainer.client)
    headers = [(b"Idempotency-Key", one) for one in keys]

    response = trainer.client.post("/train" + query, headers=headers)

    assert_problem(response, 400, "idempotency-key")
    assert newest(trainer.client) == before


@pytest.mark.parametrize(
    "value",
    [b"one\r\n two", b"one\rtwo", b"one\n two", b"one\x00two", b"   ", b"\r\n "],
    ids=["folded line", "CR", "folded LF", "NUL", "blank", "folded blank"],
)
def test_c13_f8_a_key_that_no_client_library_sends_is_refused(
    trainer: Server, value: bytes
) -> None:
    before = newest(trainer.client)

    answer = exchange(
        trainer.port,
        b"POST /train HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key:%b\r\n"
        b"Connection: close\r\nContent-Length: 0\r\n\r\n" % value,
    )

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert newest(trainer.client) == before


def test_f8_a_key_behind_a_line_end_is_another_header(
    trainer: Server, key: str
) -> None:
    request = (
        "POST /train HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: one\r\n"
        f"Idempotency-Key: {key}\r\nIdempotency-Replayed: true\r\n"
        "Connection: close\r\nContent-Length: 0\r\n\r\n"
    )

    answer = exchange(trainer.port, request.encode())

    assert answer.startswith(b"HTTP/1.1 202 ")
    assert b"replayed" not in answer.lower()
    assert key.encode() not in answer


def test_c13_a_key_serves_for_as_long_as_its_job_is_kept(
    trainer: Server, store: Store, key: str
) -> None:
    job = trainer.wait_for_job(_train(trainer, key).json()["id"])
    _age(store, job["id"], 6 * DAY)
    purge(store, trainer.settings().keep_jobs_seconds)

    replay = _train(trainer, key)

    assert replay.json()["id"] == job["id"]


def test_c13_a_key_may_be_used_again_after_its_job_is_gone(
    trainer: Server, store: Store, key: str
) -> None:
    job = trainer.wait_for_job(_train(trainer, key).json()["id"])
    _age(store, job["id"], 8 * DAY)
    purge(store, trainer.settings().keep_jobs_seconds)

    again = _train(trainer, key, note="another request")

    assert again.status_code == 202
    assert again.json()["id"] > job["id"]
    assert "Idempotency-Replayed" not in again.headers


def _age(store: Store, job_id: int, seconds: float) -> None:
    """Make a job as old as if it had been submitted so many seconds before."""
    times = ("created_at", "started_at", "finished_at")
    earlier = {name: jobs.c[name] - seconds for name in times}
    with store.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(earlier))


def test_a_dry_run_leaves_its_key_unused(trainer: Server, key: str) -> None:
    headers = {"Idempotency-Key": key}
    before = newest(trainer.client)

    dry = trainer.client.post("/train?dry_run=true", json=BRIEF, headers=headers)
    after = newest(trainer.client)
    first = _train(trainer, key, note="another request")

    assert (dry.status_code, after) == (200, before)
    assert first.status_code == 202
    assert "Idempotency-Replayed" not in first.headers


class Shares(NamedTuple):
    """What a server with room for three jobs, two of one caller, answered in turn.

    Attributes:
        mine: To the two jobs that the first caller may have.
        third: To the first caller's third.
        replay: To the first caller's first, sent again.
        theirs: To the second caller's first, under a key that the first has used.
        overfull: To the second caller's second, when three wait.
        replay_when_full: To the first caller's first, sent again.
        dry_run_when_full: To a dry run.
        with_predict_key: To a training with a key that may only predict.
        stored: How many jobs and datasets there are in the end.
    """

    mine: list[httpx.Response]
    third: httpx.Response
    replay: httpx.Response
    theirs: httpx.Response
    overfull: httpx.Response
    replay_when_full: httpx.Response
    dry_run_when_full: httpx.Response
    with_predict_key: httpx.Response
    stored: tuple[int, int]


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Shares:
    """What two callers were answered by a server that is busy, on PostgreSQL."""
    environment = {
        "OFFSETNET_ADMIN_KEY": "mine,theirs",
        "OFFSETNET_PREDICT_KEY": "reader",
        "OFFSETNET_QUEUE_LIMIT": "3",
        "OFFSETNET_CALLER_LIMIT": "2",
    }
    data_dir = tmp_path_factory.mktemp("shares") / "data"
    with Server(
        data_dir, environment=environment | databases.new("postgresql")
    ) as server:
        running = _post(server, "mine", json=ENDLESS).json()["links"]["self"]
        wait_for(lambda: _get(server, running)["state"] == "running")
        weights = iter(range(100))

        def ask(caller: str, key: str | None = None, **params: str) -> httpx.Response:
            people = [person | {"weight_offset": next(weights)} for person in FOUR]
            body = {} if key else {"examples": people}
            return _post(server, caller, key, json=body, params=params)

        return Shares(
            mine=[ask("mine", "one"), ask("mine")],
            third=ask("mine"),
            replay=ask("mine", "one"),
            theirs=ask("theirs", "one"),
            overfull=ask("theirs"),
            replay_when_full=ask("mine", "one"),
            dry_run_when_full=ask("theirs", dry_run="true"),
            with_predict_key=ask("reader"),
            stored=_stored(server),
        )


def _post(
    server: Server, caller: str, key: str | None = None, **request: Any
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {caller}"}
    headers |= {"Idempotency-Key": key} if key else {}
    return server.client.post("/train", headers=headers, **request)


def _get(server: Server, path: str) -> dict[str, Any]:
    answer = server.client.get(path, headers={"X-API-Key": "reader"})
    body: dict[str, Any] = answer.json()
    return body


def _stored(server: Server) -> tuple[int, int]:
    store = Store(server.settings())
    with store.read() as connection:
        counts = [
            connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (jobs, datasets)
        ]
    store.close()
    return counts[0], counts[1]


def test_a_caller_may_have_as_many_jobs_waiting_as_its_share(shares: Shares) -> None:
    assert [answer.status_code for answer in shares.mine] == [202, 202]


def test_c10_beyond_its_share_a_caller_is_put_off(shares: Shares) -> None:
    assert_problem(shares.third, 429, "caller-limit")
    assert shares.third.headers["Retry-After"] == "1"


def test_one_caller_s_share_leaves_another_s_alone(shares: Shares) -> None:
    assert shares.theirs.status_code == 202


def test_c10_a_full_queue_puts_every_caller_off(shares: Shares) -> None:
    assert_problem(shares.overfull, 503, "queue-full")
    assert shares.overfull.headers["Retry-After"] == "1"


def test_c10_what_was_put_off_is_not_stored(shares: Shares) -> None:
    # One runs and three wait; two of them are on the article's people.
    assert shares.stored == (4, 3)


def test_c13_callers_may_use_the_same_key(shares: Shares) -> None:
    assert shares.theirs.json()["id"] != shares.mine[0].json()["id"]
    assert "Idempotency-Replayed" not in shares.theirs.headers


@pytest.mark.parametrize("name", ["replay", "replay_when_full"])
def test_a_replay_needs_no_room(shares: Shares, name: str) -> None:
    answer = getattr(shares, name)

    assert answer.status_code == 202
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert answer.json()["id"] == shares.mine[0].json()["id"]


def test_a_dry_run_needs_no_room(shares: Shares) -> None:
    assert shares.dry_run_when_full.status_code == 200


def test_c15_training_needs_more_than_a_predict_key(shares: Shares) -> None:
    assert_problem(shares.with_predict_key, 403, "forbidden")


def test_f6_neither_keys_nor_callers_are_shown(shares: Shares) -> None:
    shown = " ".join(answer.text for answer in (*shares.mine, shares.third))

    assert not [word for word in ("mine", "idempotency", 'caller"') if word in shown]
