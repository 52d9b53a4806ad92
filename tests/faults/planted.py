"""Secrets and where they are put: requests for the proof that looks for them."""

import itertools
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from app.api import ROUTES
from app.inference import ROUTES as PROTOCOL_ROUTES
from app.page import ROUTES as PAGE_ROUTES
from app.routing import names

TARGETS: Final = [
    (method, re.sub("{name}", "offsetnet", re.sub("{(job_id|version)}", "1", path)))
    for method, path in names([*ROUTES, *PROTOCOL_ROUTES, *PAGE_ROUTES])
] + [("PATCH", "/predict"), ("GET", "/nowhere"), ("GET", "/v2/nowhere")]
HARMLESS: Final = (
    *("Cookie", "User-Agent", "Referer", "Accept", "Accept-Language", "Last-Event-ID"),
    *("Proxy-Authorization", "If-None-Match", "Range"),
)
ODD: Final = (
    *("Content-Encoding", "Content-Type", "If-Match", "Idempotency-Key", "Origin"),
    *("Host", "Sec-Fetch-Site", "traceparent", "Expect"),
)
BODIES: Final = (
    '{"weight_offset": "%s", "height_offset": -3}',
    '{"weight_offset": 1, "height_offset": 1, "%s": 1}',
    '{"weight_offset": %s',
    '{"instances": ["%s"]}',
    '{"inputs": [{"name": "%s", "shape": [1], "datatype": "FP64", "data": ["%s"]}]}',
    '{"examples": [{"weight_offset": 1, "height_offset": 1, "label": "%s"}]}',
    '{"promote": "%s", "config": {"loss": "%s", "%s": 1}}',
    '{"version": "%s"}',
    '"%s"',
)
CSVS: Final = ("%s,height_in,label\n1,2,F\n", "weight_lb,height_in,label\n%s,2,%s\n")
TRACED: Final = {
    "traceparent": f"00-{'1' * 32}-{'2' * 16}-01",
    "tracestate": "a=%s,a=%s,%s",
    "baggage": "a=%s,%s",
}
CONTROL: Final = "told-on-purpose"


class Secrets:
    """Makes secrets, each with its place and a number."""

    MARK: Final = re.compile(r"s3cret[a-z]+\d+", re.IGNORECASE)

    def __init__(self) -> None:
        """Start with none."""
        self._numbers = itertools.count(1)
        self.made = 0

    def new(self, place: str) -> str:
        """Make one."""
        self.made = next(self._numbers)
        return f"s3cret{re.sub('[^a-z]', '', place.lower())}{self.made}"

    def fill(self, place: str, template: str) -> str:
        """Put a new one wherever the template has room."""
        return re.sub("%s", lambda _: self.new(place), template)


class Case(NamedTuple):
    """A request to be."""

    method: str
    path: str
    media_type: str
    body: str
    odd: str  # a header, or "" for a query in its place
    key: int  # 0 the admin key, 1 the predict key, 2 a wrong one


def cases() -> Iterator[Case]:
    """Yield each route with each body and each odd header under each key."""
    variants = [("application/json", body, "") for body in BODIES]
    variants += [("text/csv", body, "") for body in CSVS]
    variants += [("application/json", "{}", odd) for odd in ODD]
    for (method, path), variant in itertools.product(TARGETS, variants):
        for key in range(3):
            yield Case(method, path, *variant, key)


def request(case: Case, secrets: Secrets, keys: list[str]) -> dict[str, Any]:
    """Return a case with secrets in all its places."""
    key = [*keys, secrets.new("wrongkey")][case.key]
    headers = {name: secrets.new(name) for name in HARMLESS}
    headers |= {name: secrets.fill(name, value) for name, value in TRACED.items()}
    headers |= {"Content-Type": case.media_type, "X-Request-ID": CONTROL}
    headers |= {case.odd: secrets.new(case.odd)} if case.odd else {}
    headers |= {"Authorization": f"Bearer {key}", "X-API-Key": secrets.new("otherkey")}
    query = "" if case.odd else "?api_key=%s&explain=%s&%s=1&model_version=1"
    content = secrets.fill("body", case.body).encode()
    return {
        "method": case.method,
        "url": case.path + secrets.fill("query", query),
        "headers": headers,
        "content": b"" if case.method == "GET" else content,
    }


def raw_requests(secrets: Secrets, key: str) -> Iterator[bytes]:
    """Yield what no client library sends, for the refusals of the transport."""
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n"
    secret = f"Cookie: {secrets.new('transport')}\r\n"
    for rest in (
        "Bad Header\r\n\r\n",
        f"X: {secrets.new('large') * 2_000}\r\n\r\n",
        f"Content-Length: 9\r\n\r\n{secrets.new('half')[:3]}",
        f"Content-Length: 1\r\nContent-Length: {secrets.new('length')}\r\n\r\n",
        f"Transfer-Encoding: chunked\r\n\r\n{secrets.new('chunk')}\r\n\r\n",
        f"Host: {secrets.new('host')}\r\nConnection: close\r\n\r\n",
        f"Transfer-Encoding: {secrets.new('transfer')}\r\n\r\n",
        f"Content-Length: 999999999\r\nX: {secrets.new('declared')}\r\n\r\n",
        f"Host: {secrets.new('host')}",
    ):
        yield (head + secret + rest).encode()
    yield f"{secrets.new('noise')}\r\n\r\n".encode()
