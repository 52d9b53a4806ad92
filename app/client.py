"""Clients of the service: typed answers, and new tries where these are safe.

`Client` waits for each answer, `AsyncClient` awaits it; what can be asked is in
`app.calls`. They raise the errors of `app.protocol`, where they have their patience
from as well.
"""

import asyncio
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from functools import cached_property, wraps
from http import HTTPStatus
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

import httpx
from httpx_sse import aconnect_sse, connect_sse

from app import calls
from app.calls import Call
from app.protocol import (
    ClientError,
    Following,
    Patience,
    UnreachableError,
    address,
    authorization,
    check,
    translated,
)
from app.views import Job

SILENCE_SECONDS: Final = 45.0  # three pings of an event stream

P = ParamSpec("P")
R = TypeVar("R")


def _waiting(make: Callable[P, Call[R]]) -> "Callable[Concatenate[Client, P], R]":
    """Return a call as a method of the client that waits."""

    @wraps(make)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._ask(make(*args, **kwargs))

    return method


def _awaited(
    make: Callable[P, Call[R]],
) -> "Callable[Concatenate[AsyncClient, P], Awaitable[R]]":
    """Return a call as a method of the client that awaits."""

    @wraps(make)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._ask(make(*args, **kwargs))

    return method


class _Settings:
    """What both clients are made of."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | bytes | None = None,
        timeout: float = 60.0,
        patience: float = 60.0,
        on_wait: Callable[[ClientError], None] = lambda _: None,
    ) -> None:
        """Make it; nothing is connected yet, and the environment is not read.

        Args:
            base_url: Such as `http://127.0.0.1:8000`.
            key: An admin key, or for what only reads a predict key.
            timeout: Seconds that each step of an exchange may take.
            patience: Seconds without any sign of life after which to follow no job.
            on_wait: Called with a failure that may pass, before asking again.

        Raises:
            ValueError: The address or the key cannot be used.
        """
        self._patience, self._on_wait = patience, on_wait
        self._stream_timeout = httpx.Timeout(timeout, read=SILENCE_SECONDS)
        self._options: Mapping[str, Any] = {
            "base_url": address(base_url),
            "headers": authorization(key),
            "timeout": timeout,
            "trust_env": False,  # no proxy sees the key of a loopback connection
        }


class Client(_Settings):
    """A server, or several behind one address."""

    predict = _waiting(calls.predict)
    predict_batch = _waiting(calls.predict_batch)
    train_csv = _waiting(calls.train_csv)
    train_json = _waiting(calls.train_json)
    job = _waiting(calls.job)
    cancel = _waiting(calls.cancel)
    models = _waiting(calls.models)
    model = _waiting(calls.model)
    active = _waiting(calls.active)
    activate = _waiting(calls.activate)
    weights = _waiting(calls.weights)

    def __enter__(self) -> Self:
        """Use it until the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        self._http.close()

    @cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(**self._options)

    def train(
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
        job = self._ask(calls.train(people, settings))
        if wait:
            for news in self.watch(job):
                on_progress(job := news)
        return job

    def watch(self, job: Job) -> Iterator[Job]:
        """Yield the job whenever it changes, until it has ended.

        A stream that breaks, ends early or is refused for a time is opened again.
        """
        following, patience = Following(job.id), Patience(self._patience)
        while not following.has_ended:
            try:
                for news in self._news(job, following, patience):
                    patience.renew()
                    yield news
            except ClientError as error:
                time.sleep(patience.pause(error))

    def _news(
        self, job: Job, following: Following, patience: Patience
    ) -> Iterator[Job]:
        """Yield what one stream tells.

        Raises:
            ClientError: There is no stream, or it ends before the job.
        """
        headers, timeout = following.headers(), self._stream_timeout
        stream = connect_sse(
            self._http, "GET", following.path, headers=headers, timeout=timeout
        )
        with translated(), stream as source:
            if not source.response.is_success:
                source.response.read()
            if check(source.response).status_code == HTTPStatus.NO_CONTENT:
                yield following.see(self.job(job.id))
                return
            with patience.steady():
                yield from filter(None, map(following.take, source.iter_sse()))
        if not following.has_ended:
            raise UnreachableError("the event stream ended before the job")

    def _ask(self, call: Call[R]) -> R:
        patience = Patience(call.seconds, self._on_wait)
        while True:
            try:
                with translated():
                    response = self._http.request(
                        call.method, call.path, **call.request
                    )
                return call.read(check(response))
            except ClientError as error:
                time.sleep(patience.pause(error))


class AsyncClient(_Settings):
    """The same for programs with an event loop."""

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

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
        following, patience = Following(job.id), Patience(self._patience)
        while not following.has_ended:
            try:
                async for news in self._news(job, following, patience):
                    patience.renew()
                    yield news
            except ClientError as error:
                await asyncio.sleep(patience.pause(error))

    async def _news(
        self, job: Job, following: Following, patience: Patience
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
                with patience.steady():
                    async for event in source.aiter_sse():
                        news = following.take(event)
                        if news is not None:
                            yield news
        if not following.has_ended:
            raise UnreachableError("the event stream ended before the job")

    async def _ask(self, call: Call[R]) -> R:
        patience = Patience(call.seconds, self._on_wait)
        while True:
            try:
                with translated():
                    response = await self._http.request(
                        call.method, call.path, **call.request
                    )
                return call.read(check(response))
            except ClientError as error:
                await asyncio.sleep(patience.pause(error))
