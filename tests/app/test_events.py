"""GET /train/{id}/events: a job followed by Server-Sent Events."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final, NamedTuple

import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent

from app.cli_serve import GRACEFUL_SECONDS
from app.jobs import Jobs, Submission
from app.store import Store
from model import ARTICLE_CONFIG, ARTICLE_PEOPLE
from tests.app.answers import CSV, assert_problem
from tests.app.training import BRIEF, FOUR, SAMPLE, train
from tests.server import Server, wait_for

CANARY: Final = "123.4567"
PATIENCE_SECONDS: Final = 30.0  # of a client: what sends nothing for so long hangs
ENDLESS: Final = {
    "examples": FOUR * 50,
    "config": {"epochs": 10_000, "batch_size": 1, "holdout": 0},
}


@contextmanager
def _stream(server: Server, job_id: int, **headers: str) -> Iterator[httpx.Response]:
    """Open a stream with these headers."""
    path = f"/train/{job_id}/events"
    sent = {
        name.replace("_", "-").encode(): value.encode()
        for name, value in headers.items()
    }
    with server.client.stream(
        "GET", path, headers=sent, timeout=PATIENCE_SECONDS
    ) as response:
        yield response


def _follow(server: Server, job_id: int, **headers: str) -> list[ServerSentEvent]:
    """Return what a stream sends until the server closes it."""
    with _stream(server, job_id, **headers) as response:
        return list(EventSource(response).iter_sse())


def _submit(server: Server, request: dict[str, Any]) -> int:
    job_id: int = server.client.post("/train", json=request).json()["id"]
    return job_id


class Story(NamedTuple):
    """A job of some seconds, followed from its first moment.

    Attributes:
        headers: Those of the stream.
        text: All that it sent.
        events: The same, decoded.
        job: The job as it is shown at the end.
    """

    headers: httpx.Headers
    text: str
    events: list[ServerSentEvent]
    job: dict[str, Any]


@pytest.fixture(scope="module")
def story(trainer: Server) -> Story:
    """A job that was followed."""
    people = SAMPLE.replace("\n", f"\n{CANARY},66,F\n", 1)
    query = "epochs=2500&batch_size=256&patience=null&promote=never"
    answer = trainer.client.post(f"/train?{query}", content=people, headers=CSV)
    with _stream(trainer, answer.json()["id"]) as response:
        text = response.read().decode()
        events = list(EventSource(response).iter_sse())
    job = trainer.client.get(answer.headers["Location"]).json()
    return Story(response.headers, text, events, job)


@pytest.fixture(scope="module")
def failed(trainer: Server) -> int:
    """A job that diverged, as no request could ask for."""
    submission = Submission(
        data=ARTICLE_PEOPLE,
        config=replace(ARTICLE_CONFIG, learning_rate=1e308, momentum=0.9),
        promote="never",
        note=None,
        warnings=(),
    )
    store = Store(trainer.settings())
    job, _ = Jobs(store, trainer.settings()).enqueue(submission)
    store.close()
    assert train(trainer, **BRIEF)["id"] > job["id"]
    job_id: int = job["id"]
    return job_id


@pytest.fixture(scope="module")
def live(trainer: Server, story: Story, failed: int) -> Iterator[int]:
    """A job that runs and does not end by itself, after those."""
    job_id = _submit(trainer, ENDLESS)
    assert job_id > max(story.job["id"], failed)
    yield job_id
    trainer.client.delete(f"/train/{job_id}")


@pytest.fixture
def waiting(trainer: Server, live: int) -> int:
    """A job that waits for that one."""
    job_id = _submit(trainer, BRIEF)
    assert job_id > live
    return job_id


def test_a_stream_says_what_it_is(story: Story) -> None:
    media_type, _, charset = story.headers["Content-Type"].partition("; ")

    assert media_type == "text/event-stream"
    assert charset in {"", "charset=utf-8"}
    assert story.headers["Cache-Control"] == "no-store"
    assert story.headers["X-Request-ID"]


def test_progress_is_told_until_the_job_ends(story: Story) -> None:
    *names, last = [event.event for event in story.events]

    assert last == "succeeded"
    assert set(names) == {"progress"}
    assert len(names) >= 2


def test_ids_only_grow(story: Story) -> None:
    ids = [int(event.id) for event in story.events]

    assert ids == sorted(set(ids))


def test_each_event_is_the_whole_job(story: Story) -> None:
    told = [event.json() for event in story.events]

    assert {job["id"] for job in told} == {story.job["id"]}
    assert all(job.keys() == story.job.keys() for job in told)
    assert [job["epoch"] for job in told] == sorted(job["epoch"] for job in told)


def test_the_last_event_is_the_job_at_its_end(story: Story) -> None:
    assert story.events[-1].json() == story.job


@pytest.mark.parametrize("row", [CANARY, "-11.5433", "examples"])
def test_c15_no_event_shows_a_row_of_the_data(story: Story, row: str) -> None:
    assert row not in story.text
    assert row not in json.dumps(story.job)


def test_an_event_is_three_lines(story: Story) -> None:
    blocks = story.text.removesuffix("\n\n").split("\n\n")

    names = [[line.partition(": ")[0] for line in one.split("\n")] for one in blocks]
    assert names == [["id", "event", "data"]] * len(story.events)


def test_a_finished_job_tells_its_end_and_no_more(
    trainer: Server, story: Story
) -> None:
    (event,) = _follow(trainer, story.job["id"])

    assert (event.event, event.json()) == ("succeeded", story.job)
    assert event.id == story.events[-1].id


@pytest.mark.parametrize("seen", [0, 1, -2], ids=["first", "second", "last but one"])
def test_what_a_client_has_seen_is_not_sent_again(
    trainer: Server, story: Story, seen: int
) -> None:
    (event,) = _follow(trainer, story.job["id"], last_event_id=story.events[seen].id)

    assert (event.event, event.id) == ("succeeded", story.events[-1].id)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_client_that_has_seen_the_end_need_not_come_back(
    trainer: Server, story: Story, method: str
) -> None:
    path, seen = f"/train/{story.job['id']}/events", story.events[-1].id

    response = trainer.client.request(method, path, headers={"Last-Event-ID": seen})

    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "0",
        "-1",
        "1e30",
        "1.5",
        "x",
        "9" * 9,
        "9" * 20,
        "9" * 5_000,
        "\u0664",
        '"2"',
    ],
    ids=lambda forged: ascii(forged[:20]),
)
def test_f13_a_forged_last_event_id_is_answered_with_the_end(
    trainer: Server, story: Story, forged: str
) -> None:
    (event,) = _follow(trainer, story.job["id"], last_event_id=forged)

    assert (event.event, event.id) == ("succeeded", story.events[-1].id)


def test_a_failed_job_ends_its_stream(trainer: Server, failed: int) -> None:
    event = _follow(trainer, failed)[-1]

    assert event.event == "failed"
    assert event.json()["reason"] == "diverged"


def test_a_cancelled_job_ends_its_stream(trainer: Server, waiting: int) -> None:
    with _stream(trainer, waiting) as response:
        events = EventSource(response).iter_sse()
        first = next(events)
        trainer.client.delete(f"/train/{waiting}")
        (last,) = events

    assert (first.event, first.json()["state"]) == ("progress", "queued")
    assert (last.event, last.json()["state"]) == ("cancelled", "cancelled")
    assert int(last.id) > int(first.id)


def test_a_client_that_comes_back_is_sent_only_what_is_new(
    trainer: Server, waiting: int
) -> None:
    with _stream(trainer, waiting) as response:
        seen = next(EventSource(response).iter_sse())

    with ExitStack() as streams:
        back = streams.enter_context(_stream(trainer, waiting, last_event_id=seen.id))
        new = streams.enter_context(_stream(trainer, waiting))
        next(EventSource(new).iter_sse())  # by now the first has looked, too
        trainer.client.delete(f"/train/{waiting}")
        (event,) = EventSource(back).iter_sse()

    assert (seen.event, event.event) == ("progress", "cancelled")
    assert int(event.id) > int(seen.id)


def test_a_running_job_goes_on_telling(trainer: Server, live: int) -> None:
    with _stream(trainer, live) as response:
        events = EventSource(response).iter_sse()
        told = [next(events) for _ in range(3)]

    ids = [int(event.id) for event in told]
    assert [event.event for event in told] == ["progress"] * 3
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("forged", ["-1", "999999999", "x"])
def test_f13_a_forged_last_event_id_does_not_silence_a_running_job(
    trainer: Server, live: int, forged: str
) -> None:
    with _stream(trainer, live, last_event_id=forged) as response:
        event = next(EventSource(response).iter_sse())

    assert event.event == "progress"


@pytest.mark.parametrize("which", ["live", "waiting", "failed"])
def test_head_does_not_wait_for_the_job(
    trainer: Server, which: str, request: pytest.FixtureRequest
) -> None:
    job_id = request.getfixturevalue(which)

    response = trainer.client.head(f"/train/{job_id}/events", timeout=PATIENCE_SECONDS)

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Type"].startswith("text/event-stream")


@pytest.mark.parametrize("number", ["999999", "0", "-1", "x", "1.0", "9" * 1000])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_unknown_job_has_no_stream(
    trainer: Server, method: str, number: str
) -> None:
    response = trainer.client.request(method, f"/train/{number}/events")

    assert response.status_code == 404
    if method == "GET":
        assert_problem(response, 404, "not-found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_stream_is_only_read(trainer: Server, live: int, method: str) -> None:
    response = trainer.client.request(method, f"/train/{live}/events")

    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with keys that has room for two streams, one of each caller."""
    environment = {
        "OFFSETNET_ADMIN_KEY": "admin",
        "OFFSETNET_PREDICT_KEY": "mine,theirs",
        "OFFSETNET_STREAMS_LIMIT": "2",
        "OFFSETNET_CALLER_STREAMS_LIMIT": "1",
        "OFFSETNET_PING_SECONDS": "0.1",
    }
    data_dir = tmp_path_factory.mktemp("narrow") / "data"
    with Server(data_dir, environment=environment) as running:
        for request in (ENDLESS, BRIEF):  # the second waits for the first
            running.client.post("/train", json=request, headers={"X-API-Key": "admin"})
        yield running


def _refusal(server: Server, key: str) -> httpx.Response:
    with _stream(server, 1, x_api_key=key) as response:
        response.read()
    return response


def _hold(streams: ExitStack, server: Server, key: str) -> httpx.Response:
    """Open a stream as soon as those that were closed before have left their slots."""

    def attempt() -> httpx.Response | None:
        response = streams.enter_context(_stream(server, 1, x_api_key=key))
        return response if response.status_code == 200 else None

    return wait_for(attempt)


def test_a_stream_without_news_is_kept_open_by_comments(narrow: Server) -> None:
    with _stream(narrow, 2, x_api_key="mine") as response:
        lines = response.iter_lines()
        first = [next(lines) for _ in range(6)]

    assert first[1] == "event: progress"
    assert first[3:] == ["", ": ping", ""]


def test_f13_a_caller_may_hold_its_share_of_streams(narrow: Server) -> None:
    with ExitStack() as streams:
        _hold(streams, narrow, "mine")
        refusal = _refusal(narrow, "mine")

    assert_problem(refusal, 429, "caller-stream-limit")
    assert refusal.headers["Retry-After"] == "1"


def test_one_caller_s_streams_leave_another_s_alone(narrow: Server) -> None:
    with ExitStack() as streams:
        _hold(streams, narrow, "mine")
        theirs = _hold(streams, narrow, "theirs")
        event = next(EventSource(theirs).iter_sse())

    assert event.event == "progress"


def test_f13_a_process_holds_as_many_streams_as_it_may(narrow: Server) -> None:
    with ExitStack() as streams:
        for key in ("mine", "theirs"):
            _hold(streams, narrow, key)
        refusal = _refusal(narrow, "admin")
        prediction = narrow.client.post(
            "/predict",
            json={"weight_offset": 1, "height_offset": 1},
            headers={"X-API-Key": "mine"},
        )

    assert_problem(refusal, 503, "stream-limit")
    assert refusal.headers["Retry-After"] == "1"
    assert prediction.status_code == 200


def test_f13_a_client_that_leaves_frees_its_slot(narrow: Server) -> None:
    for _ in range(5):  # more than there are slots
        with ExitStack() as streams:
            response = _hold(streams, narrow, "mine")

            assert next(EventSource(response).iter_sse()).event == "progress"


def test_f13_a_head_or_a_refusal_takes_no_slot(narrow: Server) -> None:
    headers = {"X-API-Key": "mine"}
    for _ in range(5):
        narrow.client.head("/train/1/events", headers=headers)
        narrow.client.get("/train/999/events", headers=headers)

    with ExitStack() as streams:
        for key in ("mine", "theirs"):
            assert _hold(streams, narrow, key).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"X-API-Key": "wrong"}], ids=["no key", "wrong key"]
)
def test_c15_following_needs_a_key_where_reading_does(
    narrow: Server, headers: dict[str, str]
) -> None:
    response = narrow.client.get("/train/1/events", headers=headers)

    assert_problem(response, 401, "unauthenticated")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        pytest.param({}, 401, "unauthenticated", id="no key"),
        pytest.param({"X-API-Key": "wrong"}, 401, "unauthenticated", id="wrong key"),
        pytest.param({"X-API-Key": "mine"}, 403, "forbidden", id="predict key"),
        pytest.param(
            {"X-API-Key": "admin", "Origin": "https://foreign.example"},
            403,
            "foreign-origin",
            id="another site",
        ),
    ],
)
def test_c15_f2_f11_who_may_follow_a_job_may_not_cancel_it(
    narrow: Server, headers: dict[str, str], status: int, code: str
) -> None:
    response = narrow.client.delete("/train/1", headers=headers)

    job = narrow.client.get("/train/1", headers={"X-API-Key": "mine"}).json()
    assert_problem(response, status, code)
    assert job["state"] in {"queued", "running"}


class Stopped(NamedTuple):
    """What three streams got from a server that was told to stop, and its end.

    Attributes:
        events: The last event of each.
        exit_seconds: How long it took.
        exit_status: What it ended with.
        job: The job's state and attempt in the database.
    """

    events: list[ServerSentEvent]
    exit_seconds: float
    exit_status: int
    job: tuple[str, int]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """A server that was stopped while it was followed."""
    with Server(tmp_path_factory.mktemp("drain") / "data") as server:
        job_id = _submit(server, ENDLESS)
        with ExitStack() as stack:
            streams = [stack.enter_context(_stream(server, job_id)) for _ in range(3)]
            events = [EventSource(stream).iter_sse() for stream in streams]
            firsts = [next(one).event for one in events]
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            lasts = [list(one)[-1] for one in events]
        exit_status = server.process.wait(60)
        exit_seconds = time.monotonic() - began
        store = Store(server.settings())
        row = Jobs(store, server.settings()).get(job_id)
        store.close()
    assert firsts == ["progress"] * 3
    return Stopped(lasts, exit_seconds, exit_status, (row["state"], row["attempt"]))


def test_d16_a_server_that_stops_says_so_to_its_streams(stopped: Stopped) -> None:
    assert [event.event for event in stopped.events] == ["draining"] * 3


def test_d16_streams_do_not_hold_a_stop_up(stopped: Stopped) -> None:
    assert stopped.exit_status == 0
    assert stopped.exit_seconds < GRACEFUL_SECONDS


def test_d16_a_job_that_was_followed_is_handed_back(stopped: Stopped) -> None:
    assert stopped.job == ("queued", 0)
