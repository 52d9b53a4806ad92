"""The one table from exceptions to problems (RFC 9457)."""

from typing import Final, NamedTuple

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.requests import ClientDisconnect

from app.auth import (
    ForbiddenError,
    ForeignHostError,
    ForeignOriginError,
    UnauthenticatedError,
)
from app.bodies import (
    BodyTooLargeError,
    ContentCodingError,
    Header,
    MediaTypeError,
    TransferCodingError,
    UploadBusyError,
)
from app.conditions import IdempotencyKeyError, PreconditionRequiredError
from app.drain import DrainingError
from app.inference_errors import InferenceError, UnknownModelError, UnsupportedError
from app.jobs import (
    CallerLimitError,
    FinishedJobError,
    KeyReusedError,
    QueueFullError,
    UnknownJobError,
)
from app.registry import NotReadyError
from app.store import StoreError
from app.streams import CallerStreamLimitError, StreamLimitError
from app.submission import SingleClassError, WorkBudgetError
from app.versions import (
    NoVersionError,
    StaleGenerationError,
    UnknownVersionError,
    VersionInUseError,
)
from app.wrong_keys import MEMORY_SECONDS, WrongKeysError
from model import ArtifactError, CsvEncodingError, CsvError


class NoPageError(Exception):
    """There is no such page."""


class Problem(NamedTuple):
    """One kind of problem; its page is /problems/<slug>.

    Names of headers are in lower case.
    """

    status: int
    slug: str
    title: str
    headers: tuple[Header, ...] = ()


_RETRY: Final = ((b"retry-after", b"1"),)
_RETRY_LATER: Final = ((b"retry-after", b"%d" % MEMORY_SECONDS),)
_CLOSE: Final = ((b"connection", b"close"),)

STORAGE: Final = Problem(503, "storage", "The database does not answer", _RETRY)
NOT_READY: Final = Problem(503, "not-ready", "No version is loaded", _RETRY)
NOT_FOUND: Final = Problem(404, "not-found", "Nothing is here")
INVALID: Final = Problem(422, "invalid", "The request breaks a rule")
MALFORMED: Final = Problem(400, "malformed", "The body cannot be read")
METHOD: Final = Problem(405, "method-not-allowed", "The method is not allowed here")
NOT_HTTP: Final = Problem(400, "not-http", "This is no request of HTTP/1.1")
TOO_SLOW: Final = Problem(408, "too-slow", "The request came too slowly")
HEAD_TOO_LARGE: Final = Problem(431, "head-too-large", "The head is too large")
TOO_MUCH_OVERHEAD: Final = Problem(400, "too-much-overhead", "Mostly chunks, no body")
OVERLOADED: Final = Problem(503, "overloaded", "Too much comes at once", _RETRY)
INTERNAL: Final = Problem(500, "internal", "This is a bug")

PROBLEMS: Final[dict[type[Exception], Problem]] = {
    ForeignHostError: Problem(
        400, "foreign-host", "The Host is not answered here", _CLOSE
    ),
    ClientDisconnect: Problem(400, "disconnected", "The client left"),
    TransferCodingError: Problem(
        400, "transfer-coding", "The body is coded on its way", _CLOSE
    ),
    CsvEncodingError: MALFORMED,
    InferenceError: Problem(400, "inference", "The request breaks the protocol"),
    IdempotencyKeyError: Problem(400, "idempotency-key", "This is no key"),
    UnauthenticatedError: Problem(
        401, "unauthenticated", "A key is needed", ((b"www-authenticate", b"Bearer"),)
    ),
    ForbiddenError: Problem(403, "forbidden", "The key does not reach this far"),
    ForeignOriginError: Problem(403, "foreign-origin", "Another site sent this"),
    NoPageError: NOT_FOUND,
    UnknownModelError: NOT_FOUND,
    UnknownJobError: NOT_FOUND,
    UnknownVersionError: NOT_FOUND,
    FinishedJobError: Problem(409, "job-finished", "The job has ended"),
    VersionInUseError: Problem(409, "version-in-use", "The version must stay"),
    StaleGenerationError: Problem(
        412, "stale-generation", "The active version was set meanwhile"
    ),
    BodyTooLargeError: Problem(413, "too-large", "The body is too large", _CLOSE),
    MediaTypeError: Problem(
        415,
        "media-type",
        "The body's type is not read here",
        ((b"accept-post", b"application/json, text/csv"),),
    ),
    ContentCodingError: Problem(
        415,
        "content-coding",
        "The body may not be compressed",
        ((b"accept-encoding", b"identity"),),
    ),
    CsvError: INVALID,
    ValidationError: INVALID,
    RequestValidationError: INVALID,
    SingleClassError: Problem(422, "single-class", "Both labels are needed"),
    WorkBudgetError: Problem(422, "work-budget", "The training would take too long"),
    KeyReusedError: Problem(422, "key-reused", "The key belongs to another request"),
    PreconditionRequiredError: Problem(
        428, "precondition-required", "If-Match is needed"
    ),
    CallerLimitError: Problem(429, "caller-limit", "Too many jobs of this key", _RETRY),
    CallerStreamLimitError: Problem(
        429, "caller-stream-limit", "Too many streams of this key", _RETRY
    ),
    WrongKeysError: Problem(
        429,
        "wrong-keys",
        "Too many wrong keys",
        _RETRY_LATER,
    ),
    QueueFullError: Problem(503, "queue-full", "Too many jobs wait", _RETRY),
    StreamLimitError: Problem(503, "stream-limit", "Too many streams", _RETRY),
    UploadBusyError: Problem(503, "upload-busy", "Another upload is read", _RETRY),
    NotReadyError: NOT_READY,
    NoVersionError: NOT_READY,
    DrainingError: Problem(503, "draining", "The process stops", _RETRY),
    ArtifactError: Problem(503, "damaged-version", "The version is damaged", _RETRY),
    DBAPIError: STORAGE,
    PoolTimeoutError: STORAGE,
    StoreError: STORAGE,
    UnsupportedError: Problem(501, "unsupported", "This is not served"),
    Exception: INTERNAL,
}
SPEAKING: Final = tuple(  # whose messages are written for the client
    kind for kind in PROBLEMS if kind.__module__.startswith("app.")
)

BY_SLUG: Final = {
    problem.slug: problem
    for problem in (
        *PROBLEMS.values(),
        METHOD,
        NOT_HTTP,
        TOO_SLOW,
        HEAD_TOO_LARGE,
        TOO_MUCH_OVERHEAD,
        OVERLOADED,
    )
}
SHEDS: Final = sorted(
    slug for slug, p in BY_SLUG.items() if p.status in {429, STORAGE.status}
)


def problem_of(error: Exception) -> Problem:
    """Return the problem of the nearest class in the table."""
    return next(PROBLEMS[base] for base in type(error).__mro__ if base in PROBLEMS)


def is_bug(error: Exception) -> bool:
    """Tell whether nothing of the table but the last line fits."""
    return problem_of(error) is INTERNAL
