"""What `rawhttp` makes of its messages: parts, damage, and names that nobody knows."""

from collections.abc import Iterator
from random import Random
from typing import Final, NamedTuple

from tests.faults.messages import request

SPLIT_BYTES: Final = 600  # of messages that are split at each byte
TOKENS: Final = (
    *(b"\r\n", b"\n", b"\r", b"\0", b"\xff\xfe", b"%00", b"%0d%0a", b"\xe2\x80\xa8"),
    *(b"NaN", b"1e999", b"9" * 400, b"[" * 300, b'"', b"\\ud800", b"{", b",", b":"),
    *(b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    *(b"Connection: close\r\n", b"X-Request-ID: \x1b[31m\r\n", b"-0", b"../"),
)

Statuses = tuple[int, ...]


class Case(NamedTuple):
    """What is sent, in parts, and the statuses that must come, where they are known."""

    parts: tuple[bytes, ...]
    expected: Statuses | None


def damaged(content: bytes, messages: list[bytes], choice: Random) -> bytes:
    """Return the message with one kind of damage."""
    at = choice.randrange(len(content))
    end = min(len(content), at + choice.randint(1, 40))
    other = choice.choice(messages)
    cut = choice.randrange(len(other))
    return choice.choice(
        (
            content[:at] + content[end:],
            content[:at] + content[at:end] * choice.randint(2, 30) + content[end:],
            content[:at] + choice.randbytes(end - at) + content[end:],
            content[:at] + choice.choice(TOKENS) + content[at:],
            content[:at] + other[cut:],
            content + other,
            content[:at],
        )
    )


def flipped(content: bytes, choice: Random) -> bytes:
    """Return the message with one bit turned."""
    bit = choice.randrange(8 * len(content))
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def splits(known: dict[bytes, Statuses]) -> list[Case]:
    """Return every way to send each message in two parts."""
    return [
        Case((content[:at], content[at:]), statuses)
        for content, statuses in known.items()
        if len(content) <= SPLIT_BYTES
        for at in range(1, len(content))
    ]


def random_cases(messages: list[bytes], choice: Random) -> Iterator[Case]:
    """Yield messages with damage, without end, some of them in two parts."""
    while True:
        message = choice.choice(messages)
        if choice.random() < 0.5:
            content = flipped(message, choice)
        else:
            content = damaged(message, messages, choice) or b"\0"
        at = choice.randrange(len(content))
        yield Case((content[:at], content[at:]) if at % 4 == 0 else (content,), None)


def made_up(choice: Random) -> Iterator[Case]:
    """Yield requests of made-up methods, paths, versions and user agents."""
    methods = [b"GET", b"POST", b"PUT", b"HEAD", b"PATCH", b"TRACE", b"LOCK", b"FOO"]
    while True:
        name = b"%x" % choice.getrandbits(64)
        places = (
            b"/",
            b"/models/",
            b"/train/",
            b"/static/",
            b"/v2/models/",
            b"/problems/",
        )
        line = choice.choice(methods) + b" " + choice.choice(places) + name
        fields = b"User-Agent: " + name, b"X-Request-ID: " + name
        yield Case((request(line, b"", *fields),), None)
