"""The client: against a real server, and against scripted answers for what is rare."""

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx
import pytest

from app.client import Client
from app.job_views import Job
from app.protocol import ForeignAnswerError, ProblemError, UnreachableError
from app.views import Prediction
from model import load
from tests.app.training import FOUR, SAMPLE
from tests.server import Server

KEY: Final = "a key"
BRISK: Final = {"OFFSETNET_BEAT_SECONDS": "0.1", "OFFSETNET_LEASE_SECONDS": "1"}
LONG: Final = {"examples": FOUR * 50, "config": {"epochs": 10_000, "batch_size": 1}}
PEOPLE: Final = SAMPLE.encode()

Answer = tuple[bytes, float]  # what is sent, and for how long it stays open then


class Scripted(socketserver.ThreadingTCPServer):
    """A server that gives these answers in turn, and notes what it was asked."""

    daemon_threads = True

    def __init__(self, *answers: Answer) -> None:
        """Listen on a free port of loopback; the last answer is given for ever."""
        super().__init__(("127.0.0.1", 0), Reader)
        self.answers = list(answers)
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def headers(self, name: str) -> list[str | None]:
        """Return the values of a header, one for each request."""
        lines = [request.split("\r\n") for request in self.requests]
        fields = [dict(line.split(": ", 1) for line in one[1:]) for one in lines]
        return [{k.lower(): v for k, v in one.items()}.get(name) for one in fields]


class Reader(socketserver.StreamRequestHandler):
    """One request of a scripted server."""

    server: Scripted

    def handle(self) -> None:
        """Read the request, and answer as the script says."""
        lines = [line.decode().strip() for line in iter(self.rfile.readline, b"\r\n")]
        self.server.requests.append("\r\n".join(lines))
        sizes = [int(line[15:]) for line in lines if "content-length" in line.lower()]
        self.rfile.read(sum(sizes))
        answers = self.server.answers
        content, seconds = answers.pop(0) if len(answers) > 1 else answers[0]
        self.wfile.write(content)
        time.sleep(seconds)


def answer(
    status: int, body: str | bytes, *headers: str, media_type: str = "application/json"
) -> Answer:
    """Write an answer, which ends with its connection."""
    content = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status} Said", f"Content-Type: {media_type}", *headers]
    return ("\r\n".join([*head, "Connection: close", "", ""]).encode() + content, 0)


def problem(status: int, code: str, *headers: str) -> Answer:
    """Write a problem."""
    body = {"type": "", "title": "", "status": status, "detail": f"it is {code}"}
    more = {"instance": "", "code": code, "request_id": ""}
    return answer(status, json.dumps(body | more), *headers)


def stream(*events: str, seconds: float = 0) -> Answer:
    """Write a stream of events, which stays open for a time and then ends."""
    content, _ = answer(200, "".join(events), media_type="text/event-stream")
    return content, seconds


def event(revision: int, name: str, job: Job) -> str:
    """Write an event."""
    state = name if name == "succeeded" else "running"
    body = job.model_copy(update={"state": state}).model_dump_json()
    return f"id: {revision}\nevent: {name}\ndata: {body}\n\n"


@contextmanager
def scripted(
    *answers: Answer, patience: float = 1.0
) -> Iterator[tuple[Scripted, Client]]:
    """Run a scripted server with a client of it, which soon loses its patience."""
    with Scripted(*answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            with Client(server.url, patience=patience) as client:
                yield server, client
        finally:
            server.shutdown()


DROPPED: Final[Answer] = (b"", 0)
BUSY: Final = problem(503, "queue-full", "Retry-After: 0")
DRAINING: Final = "event: draining\ndata: {}\n\n"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a key and reports often."""
    data_dir = tmp_path_factory.mktemp("client") / "data"
    environment = {**BRISK, "OFFSETNET_ADMIN_KEY": KEY}
    with Server(data_dir, environment=environment) as running:
        yield running


@pytest.fixture(scope="module")
def service(guarded: Server) -> Iterator[Client]:
    """A client with that server's key."""
    with Client(_url(guarded), key=KEY) as client:
        yield client


@pytest.fixture(scope="module")
def job(service: Client) -> Job:
    """A finished job that left the active version."""
    request = {"examples": FOUR, "config": {"epochs": 5}, "promote": "never"}
    return _end(service, service.train_json(request))


def _url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def _end(client: Client, job: Job) -> Job:
    *_, last = client.watch(job)
    return last


def test_a_csv_is_trained_on_with_its_settings(service: Client) -> None:
    submitted = service.train_csv(
        PEOPLE, epochs=3, patience=None, shuffle=False, promote="never", note="mine"
    )

    job = _end(service, submitted)
    assert (job.state, job.rows, job.note) == ("succeeded", 2000, "mine")
    assert (job.config["patience"], job.config["shuffle"]) == (None, False)


def test_a_csv_may_come_in_pieces(service: Client) -> None:
    pieces = (PEOPLE[i : i + 9999] for i in range(0, len(PEOPLE), 9999))

    job = service.train_csv(pieces, epochs=1, promote="never")

    assert job.rows == 2000


def test_a_job_is_watched_from_its_beginning_to_its_end(service: Client) -> None:
    submitted = service.train_csv(PEOPLE, epochs=1000, patience=None, promote="never")

    seen = list(service.watch(submitted))

    epochs = [job.epoch for job in seen]
    assert seen[0].state in {"queued", "running"}
    assert epochs == sorted(epochs)
    assert seen[-1] == service.job(submitted.id)
    assert seen[-1].state == "succeeded"


def test_of_a_job_that_has_ended_the_end_is_watched(service: Client, job: Job) -> None:
    assert list(service.watch(job)) == [job]


def test_a_cancelled_job_ends_its_watching(service: Client) -> None:
    submitted = service.train_json(LONG)

    service.cancel(submitted.id)

    assert _end(service, submitted).state == "cancelled"


def test_the_versions_are_typed(service: Client, job: Job) -> None:
    models = service.models().models

    active, _ = service.active()
    assert active.version in {model.version for model in models if model.active}
    assert [model for model in models if model.job == job.id] == [
        service.model(job.model_version or 0)
    ]


def test_the_weights_are_the_version_s(service: Client, job: Job) -> None:
    content = service.weights(job.model_version or 0)

    assert load(content, service.model(job.model_version or 0).sha256).rows == 4


def test_a_version_is_activated_by_who_has_seen_the_active_one(
    service: Client, job: Job
) -> None:
    before, etag = service.active()

    after = service.activate(job.model_version or 0, etag)

    assert (after.version, after.previous) == (job.model_version, before.version)
    with pytest.raises(ProblemError) as caught:
        service.activate(before.version, etag)
    assert (caught.value.status, caught.value.code) == (412, "stale-generation")
    assert service.activate(before.version, "*").version == before.version


def test_a_problem_names_its_rows(service: Client) -> None:
    with pytest.raises(ProblemError) as caught:
        service.train_csv(b"weight_lb,height_in,label\n1,x,F\n")

    (fault,) = caught.value.errors
    assert (caught.value.status, caught.value.code) == (422, "invalid")
    assert (fault.row, fault.column) == (2, "height_in")


def test_one_person_is_predicted(service: Client) -> None:
    plain = service.predict(weight_lb=128, height_in=63)
    explained = service.predict(
        weight_offset=-7, height_offset=-3, explain=True, model_version=1
    )

    assert (plain.label, plain.explanation) == ("F", None)
    assert explained.model_version == 1
    assert explained.explanation
    assert sum(explained.explanation.model_dump().values()) == pytest.approx(
        explained.probability
    )


def test_people_are_predicted_in_their_order(service: Client) -> None:
    people = [
        {"weight_kg": 58.06, "height_cm": 160.02},
        {"weight_kg": 90.0, "height_cm": 180.0},
    ]

    answer = service.predict_batch(people, model_version=1)

    assert [one.label for one in answer.predictions] == ["F", "M"]
    assert answer.model_version == 1


@pytest.mark.parametrize("people", [None, FOUR, PEOPLE], ids=["article", "four", "csv"])
def test_a_training_is_followed_to_its_end(service: Client, people: Any) -> None:
    met: list[Job] = []

    job = service.train(
        people, on_progress=met.append, epochs=30, promote="never", note="mine"
    )

    assert (job.state, job.outcome, job.config["epochs"]) == ("succeeded", "kept", 30)
    assert met[-1] == job


def test_a_training_need_not_be_waited_for(service: Client) -> None:
    job = service.train(FOUR * 50, wait=False, epochs=10_000, batch_size=1)

    assert job.state in {"queued", "running"}
    service.cancel(job.id)


@pytest.mark.parametrize("failure", [DROPPED, BUSY], ids=["dropped", "busy"])
def test_a_prediction_is_tried_again(failure: Answer) -> None:
    prediction = Prediction(
        probability=0.5, label="F", extrapolating=False, model_version=1
    )
    predicted = answer(200, prediction.model_dump_json())

    with scripted(failure, failure, predicted) as (server, client):
        assert client.predict(weight_offset=0, height_offset=0) == prediction

    assert len(server.requests) == 3


@pytest.mark.parametrize("key", [None, "wrong"])
def test_without_the_right_key_a_problem_is_raised(
    guarded: Server, key: str | None
) -> None:
    with Client(_url(guarded), key=key) as client, pytest.raises(ProblemError) as error:
        client.train_json({})

    assert str(error.value) == "a valid key is needed (401 unauthenticated)"


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(DROPPED, id="dropped"),
        pytest.param(BUSY, id="queue full"),
        pytest.param(answer(502, "<html>"), id="a proxy's"),
    ],
)
def test_a_submission_is_tried_again_under_its_key(job: Job, failure: Answer) -> None:
    accepted = answer(202, job.model_dump_json())

    with scripted(failure, failure, accepted) as (server, client):
        assert client.train_json({}) == job

    first, *others = server.headers("idempotency-key")
    assert first
    assert others == [first, first]


def test_two_submissions_have_two_keys(job: Job) -> None:
    with scripted(answer(202, job.model_dump_json())) as (server, client):
        client.train_json({})
        client.train_csv(PEOPLE)

    first, second = server.headers("idempotency-key")
    assert first != second


def test_a_submission_that_breaks_a_rule_is_tried_once() -> None:
    with (
        scripted(problem(422, "invalid")) as (server, client),
        pytest.raises(ProblemError),
    ):
        client.train_json({})

    assert len(server.requests) == 1


def test_what_cannot_be_sent_again_is_sent_once() -> None:
    with scripted(DROPPED) as (server, client), pytest.raises(UnreachableError):
        client.train_csv(iter([PEOPLE]))

    assert len(server.requests) == 1


@pytest.mark.parametrize("failure", [DROPPED, BUSY], ids=["dropped", "busy"])
def test_an_activation_is_tried_once(failure: Answer) -> None:
    with (
        scripted(failure) as (server, client),
        pytest.raises((UnreachableError, ProblemError)),
    ):
        client.activate(1, "*")

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "interruption",
    [
        pytest.param(DROPPED, id="dropped"),
        pytest.param(stream(DRAINING), id="draining"),
        pytest.param(stream(), id="early end"),
        pytest.param(stream("id: 3\nevent: progress\ndata: {"), id="half an event"),
        pytest.param(stream("id: 2\nevent: news\ndata: {}\n\n"), id="unknown event"),
        pytest.param(problem(503, "draining", "Retry-After: 0"), id="503"),
        pytest.param(problem(429, "caller-stream-limit"), id="429"),
    ],
)
def test_an_interrupted_stream_goes_on_where_it_was(
    job: Job, interruption: Answer
) -> None:
    begin, end = event(2, "progress", job), event(4, "succeeded", job)

    with scripted(stream(begin), interruption, stream(end)) as (server, client):
        seen = list(client.watch(job))

    assert [one.state for one in seen] == ["running", "succeeded"]
    assert server.headers("last-event-id") == [None, "2", "2"]


def test_an_end_that_was_seen_already_is_asked_for(job: Job) -> None:
    nothing = (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", 0.0)

    with scripted(nothing, answer(200, job.model_dump_json())) as (server, client):
        assert list(client.watch(job)) == [job]

    assert server.requests[1].startswith(f"GET /train/{job.id} ")


def test_a_watcher_waits_as_long_as_asked_to(job: Job) -> None:
    later = problem(503, "storage", "Retry-After: 1")
    begin = time.monotonic()

    with scripted(later, stream(event(1, "succeeded", job)), patience=9) as (_, client):
        list(client.watch(job))

    assert time.monotonic() - begin >= 1


def test_a_watcher_that_would_wait_too_long_gives_up_at_once(job: Job) -> None:
    with (
        scripted(problem(503, "storage", "Retry-After: 100")) as (server, client),
        pytest.raises(ProblemError, match="it is storage"),
    ):
        list(client.watch(job))

    assert len(server.requests) == 1


@pytest.mark.parametrize("failure", [DROPPED, stream(DRAINING)], ids=["gone", "drains"])
def test_a_watcher_gives_up_when_nothing_comes(job: Job, failure: Answer) -> None:
    with (
        scripted(failure, patience=0.5) as (server, client),
        pytest.raises(UnreachableError),
    ):
        list(client.watch(job))

    assert len(server.requests) > 1


def test_a_stream_that_lasts_is_a_sign_of_life(job: Job) -> None:
    quiet = stream(seconds=0.2)
    end = stream(event(1, "succeeded", job))

    with scripted(quiet, quiet, quiet, end, patience=0.6) as (_, client):
        assert [one.state for one in client.watch(job)] == ["succeeded"]


def test_news_are_a_sign_of_life(job: Job) -> None:
    news = [stream(event(number, "progress", job)) for number in range(1, 6)]
    end = stream(event(6, "succeeded", job))

    with scripted(*news, end, patience=0.4) as (_, client):
        assert len(list(client.watch(job))) == 6


def test_a_job_that_is_gone_is_watched_no_more(service: Client, job: Job) -> None:
    gone = job.model_copy(update={"id": 999_999})

    with pytest.raises(ProblemError, match="there is no job 999999"):
        list(service.watch(gone))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(answer(200, "<html>", media_type="text/html"), id="a page"),
        pytest.param(answer(200, '{"id": 1}'), id="other JSON"),
        pytest.param(stream("event: progress\ndata: {}\n\n"), id="other events"),
    ],
)
def test_another_kind_of_server_is_noticed(job: Job, said: Answer) -> None:
    with scripted(said) as (_, client):
        with pytest.raises(ForeignAnswerError):
            client.models()
        with pytest.raises(ForeignAnswerError):
            list(client.watch(job))


def test_an_answer_without_a_problem_keeps_its_status() -> None:
    with (
        scripted(answer(404, "<html>")) as (_, client),
        pytest.raises(ProblemError) as caught,
    ):
        client.model(1)

    assert str(caught.value) == "Said (404)"


@pytest.mark.parametrize(
    "address",
    [
        *("", "localhost:8000", "ftp://localhost", "http://", "//x", "http://x:y"),
        *("http://x:70000", "http://a..b", "http://me:word@x"),
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Client(address)


@pytest.mark.parametrize("key", ["", "two\nlines", " padded", b"\x00"])
def test_a_key_that_no_header_may_carry_is_refused(key: Any) -> None:
    with pytest.raises(ValueError, match="key") as caught:
        Client("http://127.0.0.1", key=key)

    assert "two" not in str(caught.value)


def test_a_key_s_bytes_are_sent_as_they_are(job: Job) -> None:
    with (
        scripted(answer(200, job.model_dump_json())) as (server, _),
        Client(server.url, key="schlüssel") as client,
    ):
        client.job(1)

    assert server.headers("authorization") == ["Bearer schlüssel"]


def test_no_proxy_of_the_environment_sees_a_request(
    monkeypatch: pytest.MonkeyPatch, job: Job
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    with scripted(answer(200, job.model_dump_json())) as (_, client):
        assert client.job(job.id) == job
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://192.0.2.1")
