"""The asynchronous client, where it differs from the other: in how it waits."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import pytest

from app.client import AsyncClient, Client
from app.job_views import Job
from app.protocol import ProblemError, UnreachableError
from tests.app.test_client import (
    BRISK,
    BUSY,
    DRAINING,
    DROPPED,
    LONG,
    Answer,
    Scripted,
    answer,
    event,
    stream,
)
from tests.app.training import FOUR
from tests.server import Server

R = TypeVar("R")
URL: Final = "http://127.0.0.1:{}"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that reports often."""
    data_dir = tmp_path_factory.mktemp("async") / "data"
    with Server(data_dir, environment=BRISK) as running:
        yield running


@pytest.fixture(scope="module")
def job(own: Server) -> Job:
    """A finished job that left the active version."""
    with Client(URL.format(own.port)) as client:
        return client.train(FOUR, epochs=5, promote="never")


def within(url: str, use: Callable[[AsyncClient], Awaitable[R]], **given: Any) -> R:
    """Use a client in an event loop of its own."""

    async def run() -> R:
        async with AsyncClient(url, **given) as client:
            return await use(client)

    return asyncio.run(run())


@contextmanager
def scripted(*answers: Answer) -> Iterator[Scripted]:
    """Run a scripted server."""
    with Scripted(*answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield server
        finally:
            server.shutdown()


def test_what_the_one_can_ask_the_other_can() -> None:
    names = {name for name in vars(Client) if not name.startswith("_")}

    assert names == {name for name in vars(AsyncClient) if not name.startswith("_")}
    for name in names:
        assert getattr(AsyncClient, name).__doc__ == getattr(Client, name).__doc__


def test_many_are_asked_at_once(own: Server) -> None:
    async def ask(client: AsyncClient) -> list[Any]:
        people: list[Any] = [{"weight_offset": w, "height_offset": 0} for w in range(9)]
        one_by_one = [client.predict(**person) for person in people]
        together = await client.predict_batch(people)
        return [
            *zip(await asyncio.gather(*one_by_one), together.predictions, strict=True)
        ]

    for one, same in within(URL.format(own.port), ask):
        assert one.probability == pytest.approx(same.probability, rel=1e-12)


def test_a_training_is_followed_to_its_end(own: Server) -> None:
    met: list[Job] = []

    job = within(
        URL.format(own.port),
        lambda client: client.train(
            FOUR, on_progress=met.append, epochs=30, promote="never"
        ),
    )

    assert (job.state, job.outcome) == ("succeeded", "kept")
    assert met[-1] == job


def test_a_training_can_be_cancelled(own: Server) -> None:
    async def ask(client: AsyncClient) -> Job:
        job = await client.train_json(LONG)
        await client.cancel(job.id)
        return [news async for news in client.watch(job)][-1]

    assert within(URL.format(own.port), ask).state == "cancelled"


def test_versions_are_shown_and_activated(own: Server, job: Job) -> None:
    async def ask(client: AsyncClient) -> tuple[int, int, bytes]:
        listed = await client.models()
        _, etag = await client.active()
        active = await client.activate(1, etag)
        assert (await client.model(1)).active
        assert (await client.job(job.id)) == job
        return len(listed.models), active.version, await client.weights(1)

    count, version, content = within(URL.format(own.port), ask)

    assert (count >= 2, version, content[8:9]) == (True, 1, b"{")


@pytest.mark.parametrize("failure", [DROPPED, BUSY], ids=["dropped", "busy"])
def test_a_submission_is_tried_again_under_its_key(job: Job, failure: Answer) -> None:
    accepted = answer(202, job.model_dump_json())

    with scripted(failure, failure, accepted) as server:
        assert within(server.url, lambda client: client.train_json({})) == job

    first, *others = server.headers("idempotency-key")
    assert first
    assert others == [first, first]


@pytest.mark.parametrize("failure", [DROPPED, BUSY], ids=["dropped", "busy"])
def test_an_activation_is_tried_once(failure: Answer) -> None:
    with scripted(failure) as server, pytest.raises((UnreachableError, ProblemError)):
        within(server.url, lambda client: client.activate(1, "*"))

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "interruption",
    [DROPPED, stream(DRAINING), BUSY],
    ids=["dropped", "draining", "busy"],
)
def test_a_stream_that_breaks_is_opened_again(job: Job, interruption: Answer) -> None:
    before = stream(event(3, "progress", job))
    after = stream(event(9, "succeeded", job))

    async def watch(client: AsyncClient) -> list[str]:
        return [news.state async for news in client.watch(job)]

    with scripted(before, interruption, after) as server:
        assert within(server.url, watch) == ["running", "succeeded"]

    assert server.headers("last-event-id") == [None, "3", "3"]


def test_a_job_whose_end_was_seen_is_read_once(job: Job) -> None:
    seen, whole = answer(204, ""), answer(200, job.model_dump_json())

    async def watch(client: AsyncClient) -> list[Job]:
        return [news async for news in client.watch(job)]

    with scripted(seen, whole) as server:
        assert within(server.url, watch) == [job]


def test_patience_ends(job: Job) -> None:
    async def watch(client: AsyncClient) -> list[Job]:
        return [news async for news in client.watch(job)]

    with scripted(DROPPED) as server, pytest.raises(UnreachableError):
        within(server.url, watch, patience=0.3)
