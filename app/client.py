"""A client of the service: typed answers, and new tries where these are safe.

It raises the errors of `app.protocol`, where it has its patience from as well.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import httpx
from httpx_sse import EventSource, connect_sse

from app.protocol import (
    ClientError,
    Following,
    Patience,
    T,
    UnreachableError,
    address,
    authorization,
    check,
    parse,
    translated,
)
from app.views import ActiveModel, Job, Model, ModelList, Prediction, Predictions

SUBMIT_SECONDS: Final = 10.0  # to go on asking what may be asked again
BESIDE_CONFIG: Final = {"promote", "note"}
SILENCE_SECONDS: Final = 45.0  # three pings of an event stream


class Client:
    """A server, or several behind one address."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | bytes | None = None,
        timeout: float = 60.0,
        patience: float = 60.0,
    ) -> None:
        """Make it; nothing is connected yet, and the environment is not read.

        Args:
            base_url: Such as `http://127.0.0.1:8000`.
            key: An admin key, or for what only reads a predict key.
            timeout: Seconds that each step of an exchange may take.
            patience: Seconds without any sign of life after which to follow no job.

        Raises:
            ValueError: The address or the key cannot be used.
        """
        self._timeout, self._patience = timeout, patience
        self._http = httpx.Client(
            base_url=address(base_url),
            headers=authorization(key),
            timeout=timeout,
            trust_env=False,  # no proxy sees the key of a loopback connection
        )

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

    def predict(
        self,
        *,
        explain: bool = False,
        model_version: int | None = None,
        **person: float,
    ) -> Prediction:
        """Predict one person.

        Args:
            explain: Whether to add the exact Shapley values.
            model_version: Which version shall answer; the active one by default.
            person: In one of the three shapes, such as `weight_lb=128, height_in=63`.
        """
        params = _given(model_version=model_version, explain=explain or None)
        response = self._insist("POST", "/predict", json=person, params=params)
        return parse(Prediction, response.content)

    def predict_batch(
        self,
        people: Sequence[Mapping[str, float]],
        *,
        model_version: int | None = None,
    ) -> Predictions:
        """Predict up to 1,000 people, in order, all in one of the three shapes."""
        response = self._insist(
            "POST",
            "/predict/batch",
            json={"instances": [*people]},
            params=_given(model_version=model_version),
        )
        return parse(Predictions, response.content)

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
        if isinstance(people, bytes):
            job = self.train_csv(people, **settings)
        else:
            request = {n: settings.pop(n) for n in BESIDE_CONFIG & settings.keys()}
            examples = {} if people is None else {"examples": [*people]}
            job = self.train_json({**examples, **request, "config": settings})
        if wait:
            for news in self.watch(job):
                on_progress(job := news)
        return job

    def train_csv(self, content: bytes | Iterable[bytes], **query: Any) -> Job:
        """Submit a training on the people of a CSV.

        Args:
            content: The CSV; what is not in bytes is sent once and never again.
            query: Training settings, `promote` and `note`; None is the default, but for
                `patience`, where it is null.
        """
        params = {k: v for k, v in query.items() if v is not None}
        if "patience" in query:
            params.setdefault("patience", "null")
        return self._submit(content, "text/csv", params)

    def train_json(self, request: Mapping[str, Any]) -> Job:
        """Submit a training request; without `examples`, on the article's people."""
        return self._submit(json.dumps(request).encode(), "application/json", {})

    def job(self, job_id: int) -> Job:
        """Return a job as it stands."""
        return self._get(Job, f"/train/{job_id}")

    def cancel(self, job_id: int) -> Job:
        """Cancel a job."""
        return parse(Job, self._send("DELETE", f"/train/{job_id}").content)

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

    def models(self) -> ModelList:
        """Return every version, newest first."""
        return self._get(ModelList, "/models")

    def model(self, version: int) -> Model:
        """Return one version."""
        return self._get(Model, f"/models/{version}")

    def active(self) -> tuple[ActiveModel, str]:
        """Return the version that serves, and the ETag to replace it with."""
        response = self._send("GET", "/models/active")
        return parse(ActiveModel, response.content), response.headers.get("ETag", "")

    def activate(self, version: int, etag: str) -> ActiveModel:
        """Let a version serve.

        Args:
            version: Its number.
            etag: Of the active version that the caller has seen; `*` for any.
        """
        response = self._send(
            "PUT",
            "/models/active",
            headers={"If-Match": etag},
            json={"version": version},
        )
        return parse(ActiveModel, response.content)

    def weights(self, version: int) -> bytes:
        """Return the bytes of a version's artifact."""
        return self._send("GET", f"/models/{version}/weights").content

    def _submit(
        self, content: bytes | Iterable[bytes], media_type: str, params: dict[str, Any]
    ) -> Job:
        """Submit a job once, by as many tries as it takes: they all have one key."""
        response = self._insist(
            "POST",
            "/train",
            seconds=SUBMIT_SECONDS if isinstance(content, bytes) else 0.0,
            content=content,
            params=params,
            headers={"Content-Type": media_type, "Idempotency-Key": uuid.uuid4().hex},
        )
        return parse(Job, response.content)

    def _insist(
        self,
        method: str,
        path: str,
        *,
        seconds: float = SUBMIT_SECONDS,
        **request: Any,
    ) -> httpx.Response:
        """Ask, again and again for a time where a failure may pass.

        Only for what is the same however often it is asked.
        """
        patience = Patience(seconds)
        while True:
            try:
                return self._send(method, path, **request)
            except ClientError as error:
                time.sleep(patience.pause(error))

    def _news(
        self, job: Job, following: Following, patience: Patience
    ) -> Iterator[Job]:
        """Yield what one stream tells.

        Raises:
            ClientError: There is no stream, or it ends before the job.
        """
        with translated(), self._open(following) as source:
            if not source.response.is_success:
                source.response.read()
            if check(source.response).status_code == HTTPStatus.NO_CONTENT:
                yield following.see(self.job(job.id))
                return
            with patience.steady():
                yield from filter(None, map(following.take, source.iter_sse()))
        if not following.has_ended:
            raise UnreachableError("the event stream ended before the job")

    def _open(self, following: Following) -> AbstractContextManager[EventSource]:
        return connect_sse(
            self._http,
            "GET",
            following.path,
            headers=following.headers(),
            timeout=httpx.Timeout(self._timeout, read=SILENCE_SECONDS),
        )

    def _get(self, kind: type[T], path: str) -> T:
        return parse(kind, self._send("GET", path).content)

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        with translated():
            return check(self._http.request(method, path, **request))


def _given(**parameters: Any) -> dict[str, Any]:
    """Return the parameters that are given."""
    return {name: value for name, value in parameters.items() if value is not None}
