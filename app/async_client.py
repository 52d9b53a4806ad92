"""The client for programs with an event loop, which awaits each answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import cached_property, wraps
from http import HTTPStatus
from typing import Any, Concatenate, ParamSpec, Self

import httpx
from httpx_sse import aconnect_sse

from app import calls
from app.calls import Call, R
from app.client_settings import ClientSettings
from app.job_views import Job
from app.protocol import (
    ClientError,
    Following,
    Tries,
    UnreachableError,
    check,
    translated,
)

P = ParamSpec("P")


def _awaited(
    make: Callable[P, Call[R]],
) -> "Callable[Concatenate[AsyncClient, P], Awaitable[R]]":
    """Return a call as a method of the client that awaits."""

    @wraps(make)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._ask(make(*args, **kwargs))

    return method


class AsyncClient(ClientSettings):
    """A server, or several behind one address."""

    predict = _awaited(calls.predict)
    predict_batch = _awaited(calls.predict_batch)
    train_csv = _awaited(calls.train_csv)
    train_json = _awaited(calls.train_json)
    job = _awaited(calls.job)
    cancel = _awaited(calls.cancel)
    models = _awaited(calls.models)
    model = _awaited(calls.model)
    active = _awaited(calls.active)
    activate = _awaited(calls.activate)
    weights = _awaited(calls.weights)

    async def __aenter__(self) -> Self:
        """Use it until the end of the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        await self._http.aclose()

    @cached_property
    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(**self._options)

    async def train(
        self,
        people: Sequence[Mapping[str, Any]] | bytes | None = None,
        *,
        wait: bool = True,
        on_progress: Callable[[Job], None] = lambda _: None,
        **settings: Any,
    ) -> Job:
        """Train, and return the job as it ended, or at once as it was accepted.

        Args:
            people: Examples, or a CSV; the article's four people by default.
            wait: Whether to follow the job to its end.
            on_progress: Called with the job whenever it changes.
            settings: Training settings, `promote` and `note`.
        """
        job = await self._ask(calls.train(people, settings))
        if wait:
            async for news in self.watch(job):
                on_progress(job := news)
        return job

    async def watch(self, job: Job) -> AsyncIterator[Job]:
        """Yield the job whenever it changes, until it has ended.

        A stream that breaks, ends early or is refused for a time is opened again.
        """
        following, tries = Following(job.id), Tries(self._patience)
        while not following.has_ended:
            try:
                async for news in self._news(job, following, tries):
                    tries.renew()
                    yield news
            except ClientError as error:
                await asyncio.sleep(tries.pause(error))

    async def _news(
        self, job: Job, following: Following, tries: Tries
    ) -> AsyncIterator[Job]:
        headers, timeout = following.headers(), self._stream_timeout
        stream = aconnect_sse(
            self._http, "GET", following.path, headers=headers, timeout=timeout
        )
        with translated():
            async with stream as source:
                if not source.response.is_success:
                    await source.response.aread()
                if check(source.response).status_code == HTTPStatus.NO_CONTENT:
                    yield following.see(await self.job(job.id))
                    return
                with tries.steady():
                    async for event in source.aiter_sse():
                        news = following.take(event)
                        if news is not None:
                            yield news
        if not following.has_ended:
            raise UnreachableError("the event stream ended before the job")

    async def _ask(self, call: Call[R]) -> R:
        tries = Tries(call.seconds, self._on_wait)
        while True:
            try:
                with translated():
                    response = await self._http.request(
                        call.method, call.path, **call.request
                    )
                return call.read(check(response))
            except ClientError as error:
                await asyncio.sleep(tries.pause(error))
