"""The client that waits for each answer: typed, and tried again where that is safe.

What can be asked is in `app.calls`, the errors that are raised in `app.protocol`.
`AsyncClient` is the same for programs with an event loop.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, wraps
from http import HTTPStatus
from typing import Any, Concatenate, ParamSpec, Self

import httpx
from httpx_sse import connect_sse

from app import calls
from app.async_client import AsyncClient
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

__all__ = ["AsyncClient", "Client"]

P = ParamSpec("P")


def _waiting(make: Callable[P, Call[R]]) -> "Callable[Concatenate[Client, P], R]":
    """Return a call as a method of the client that waits."""

    @wraps(make)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._ask(make(*args, **kwargs))

    return method


class Client(ClientSettings):
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

    def __exit__(self, *_: object) -> None:
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
        following, tries = Following(job.id), Tries(self._patience)
        while not following.has_ended:
            try:
                for news in self._news(job, following, tries):
                    tries.renew()
                    yield news
            except ClientError as error:
                time.sleep(tries.pause(error))

    def _news(self, job: Job, following: Following, tries: Tries) -> Iterator[Job]:
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
            with tries.steady():
                yield from filter(None, map(following.take, source.iter_sse()))
        if not following.has_ended:
            raise UnreachableError("the event stream ended before the job")

    def _ask(self, call: Call[R]) -> R:
        tries = Tries(call.seconds, self._on_wait)
        while True:
            try:
                with translated():
                    response = self._http.request(
                        call.method, call.path, **call.request
                    )
                return call.read(check(response))
            except ClientError as error:
                time.sleep(tries.pause(error))
