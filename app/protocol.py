"""What a client does without a connection: read answers, be patient, keep its place.

ClientError
    UnreachableError    no answer came, or not the whole of it
    ForeignAnswerError  the answer is none of this service's
    ProblemError        the server refuses, and says why (RFC 9457)
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import httpx
from httpx_sse import ServerSentEvent, SSEError
from pydantic import BaseModel, ValidationError

from app.job_views import Job
from app.job_words import FINAL
from app.views import FieldError, ProblemBody

TEMPORARY: Final = frozenset({429, 502, 503, 504})
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 4.0
MAX_PORT: Final = 65_535
STEADY_SHARE: Final = 0.25  # of the patience, which a stream must last to renew it

_EXPECTED: Final = "expected an address such as http://127.0.0.1:8000"
_KEY: Final = re.compile(rb"[!-~\x80-\xff]([ -~\x80-\xff]*[!-~\x80-\xff])?")

T = TypeVar("T", bound=BaseModel)


class ClientError(Exception):
    """What was asked was not done, as far as the client knows."""

    is_temporary = False
    retry_after = 0.0


class UnreachableError(ClientError):
    """No answer came, or not the whole of it."""

    is_temporary = True


class ForeignAnswerError(ClientError):
    """The answer is none of this service's."""


class ProblemError(ClientError):
    """The server refuses.

    Attributes:
        status: Of HTTP.
        code: The problem's slug; "" where something before the server answers.
        detail: A sentence.
        errors: The first faults, where there are several.
        retry_after: Seconds that the server asks to wait.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        retry_after: float = 0.0,
    ) -> None:
        """Keep what the answer says."""
        super().__init__(f"{detail} ({f'{status} {code}'.strip()})")
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.retry_after = tuple(errors), retry_after
        self.is_temporary = status in TEMPORARY


class Tries:
    """How long to go on trying without any sign of life, and when to try next."""

    def __init__(
        self, seconds: float, on_wait: Callable[[ClientError], None] = lambda _: None
    ) -> None:
        """Start now.

        Args:
            seconds: Without any sign of life.
            on_wait: Called with what may pass, before each wait for it.
        """
        self._seconds, self._on_wait = seconds, on_wait
        self.renew()

    def renew(self) -> None:
        """Start anew, after a sign of life."""
        self._since, self._pause = time.monotonic(), FIRST_PAUSE

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Take for a sign of life what lasts, however it ends."""
        begin = time.monotonic()
        try:
            yield
        finally:
            if time.monotonic() - begin > self._seconds * STEADY_SHARE:
                self.renew()

    def pause(self, error: ClientError) -> float:
        """Return the seconds to wait before the next try.

        Raises:
            ClientError: The one given, where it will not pass, or not in time.
        """
        seconds = max(self._pause, error.retry_after)
        if (
            not error.is_temporary
            or time.monotonic() + seconds > self._since + self._seconds
        ):
            raise error
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._on_wait(error)
        return seconds


class Following:
    """Where a client is in a job's events."""

    def __init__(self, job_id: int) -> None:
        """Start before the first."""
        self.path = f"/train/{job_id}/events"
        self.has_ended = False
        self._last_event_id = ""

    def headers(self) -> dict[str, str]:
        """Return what asks for the events that were not seen."""
        return {"Last-Event-ID": self._last_event_id} if self._last_event_id else {}

    def take(self, event: ServerSentEvent) -> Job | None:
        """Return an event's job; one such as `draining` has none."""
        if event.event not in {"progress", *FINAL}:
            return None
        self._last_event_id = event.id
        return self.see(parse(Job, event.data))

    def see(self, job: Job) -> Job:
        """Return the job, having noticed whether it has ended."""
        self.has_ended = job.state in FINAL
        return job


def address(text: str) -> httpx.URL:
    """Return a server's address.

    Raises:
        ValueError: It is none, or has a password, which would go in a key's place.
    """
    try:
        url = httpx.URL(text)
        url.host.encode("idna")  # as connecting does
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ValueError(_EXPECTED) from error
    is_complete = url.scheme in {"http", "https"} and url.host
    if not is_complete or url.userinfo or (url.port or 0) > MAX_PORT:
        raise ValueError(_EXPECTED)
    return url


def authorization(key: str | bytes | None) -> dict[bytes, bytes]:
    """Return the header that carries a key.

    Raises:
        ValueError: No header may carry it.
    """
    if key is None:
        return {}
    content = key.encode() if isinstance(key, str) else key
    if not _KEY.fullmatch(content):
        raise ValueError("the key has characters that no header may carry")
    return {b"Authorization": b"Bearer " + content}


def parse(kind: type[T], content: bytes | str) -> T:
    """Return the value that an answer holds.

    Raises:
        ForeignAnswerError: It holds no such value.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise ForeignAnswerError("the answer is none of offsetnet's") from error


def check(response: httpx.Response) -> httpx.Response:
    """Return an answer that has been read, where it is a good one.

    Raises:
        ProblemError: It is a problem.
    """
    if response.is_success:
        return response
    status, wait = response.status_code, response.headers.get("Retry-After", "")
    retry_after = float(wait) if wait.isascii() and wait.isdigit() else 0.0
    try:
        problem = ProblemBody.model_validate_json(response.content)
    except ValidationError:
        raise ProblemError(
            status, "", response.reason_phrase, (), retry_after
        ) from None
    raise ProblemError(
        status, problem.code, problem.detail, problem.errors or (), retry_after
    )


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the connection's errors mean here.

    Raises:
        ForeignAnswerError: A stream was expected, and something else came.
        UnreachableError: The exchange broke, or never began.
    """
    try:
        yield
    except SSEError as error:
        raise ForeignAnswerError("the answer is no event stream") from error
    except httpx.RequestError as error:
        reason = str(error) or type(error).__name__
        raise UnreachableError(f"the server cannot be reached: {reason}") from error
