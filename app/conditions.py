"""The request headers that make a change safe: Idempotency-Key and If-Match.

References:
    RFC 9110, section 13.1.1 (If-Match); draft-ietf-httpapi-idempotency-key-header.
"""

import re
from typing import Final

from starlette.requests import HTTPConnection

MAX_KEY_LENGTH: Final = 255
_GENERATION: Final = re.compile(r'\s*"([1-9][0-9]{0,8})"\s*')  # no weak tag matches


class IdempotencyKeyError(Exception):
    """The key is none."""


class PreconditionRequiredError(Exception):
    """The request must say which state it has seen."""


def idempotency_key(request: HTTPConnection) -> str | None:
    """Return the key, without its quotes, None where none is sent.

    Raises:
        IdempotencyKeyError: It is empty, too long, not printable ASCII, or twice there.
    """
    sent = request.headers.getlist("idempotency-key")
    if not sent:
        return None
    key = sent[0].strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    is_plain = key.isascii() and key.isprintable()
    if len(sent) > 1 or not 0 < len(key) <= MAX_KEY_LENGTH or not is_plain:
        raise IdempotencyKeyError(
            f"Idempotency-Key is 1 to {MAX_KEY_LENGTH} printable ASCII characters"
        )
    return key


def expected_generations(request: HTTPConnection) -> frozenset[int] | None:
    """Return the generations that If-Match names; None for any.

    Raises:
        PreconditionRequiredError: There is no If-Match.
    """
    sent = request.headers.getlist("if-match")
    if not sent:
        raise PreconditionRequiredError(
            "send If-Match with the ETag of GET /models/active, or *"
        )
    parts = ",".join(sent).split(",")
    if "*" in map(str.strip, parts):
        return None
    tags = [match[1] for part in parts if (match := _GENERATION.fullmatch(part))]
    return frozenset(map(int, tags))
