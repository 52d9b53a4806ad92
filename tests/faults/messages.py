"""Requests as bytes, well and badly formed: what `rawhttp` begins with."""

import json
import struct
from typing import Final

GET: Final = (
    *("/", "/livez", "/readyz", "/version", "/metrics", "/docs", "/static/docs.js"),
    *(
        "/models",
        "/models/1",
        "/models/active",
        "/models/1/weights",
        "/problems/invalid",
    ),
    *("/train", "/train/1", "/train?limit=2&state=succeeded", "/train/1/events"),
    *("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v1/models"),
    *("/v2/models/offsetnet", "/v2/models/offsetnet/stats", "/v1/models/offsetnet"),
    *("/v2/models/offsetnet/versions/1/config", "/nowhere", "/%00%ff/../etc"),
)
EMILY: Final = b'{"weight_offset":-7,"height_offset":-3}'
CSV: Final = b"weight_lb,height_in\n128,63\n155,68\n"
PEOPLE: Final = b"height_cm,weight_kg,label\r\n160,60,F\r\n180,90,M\r\n"
BRIEF: Final = b'{"config":{"epochs":1},"promote":"never","note":"x"}'
TENSOR: Final = {"name": "features", "shape": [1, 2], "datatype": "FP64"}
INFER: Final = json.dumps({"inputs": [{**TENSOR, "data": [-7, -3]}]}).encode()
BINARY: Final = json.dumps(
    {"inputs": [{**TENSOR, "parameters": {"binary_data_size": 16}}]}
).encode()
JSON_TYPE: Final = b"Content-Type: application/json"
CSV_TYPE: Final = b"Content-Type: text/csv"
LENGTH: Final = b"Inference-Header-Content-Length: "

BODIES: Final[tuple[tuple[bytes, bytes, tuple[bytes, ...]], ...]] = (
    (b"POST /predict", EMILY, ()),
    (b"POST /predict?explain=true", b'{"weight_lb":128,"height_in":63}', ()),
    (b"POST /predict?model_version=1", b'{"weight_kg":58,"height_cm":160}', ()),
    (b"POST /predict/batch", b'{"instances":[%b,%b]}' % (EMILY, EMILY), (JSON_TYPE,)),
    (b"POST /predict/batch", CSV, (CSV_TYPE,)),
    (b"POST /train?dry_run=true", BRIEF, (JSON_TYPE,)),
    (b"POST /train?dry_run=true&epochs=5&patience=null", PEOPLE, (CSV_TYPE,)),
    (b"POST /v2/models/offsetnet/infer", INFER, (JSON_TYPE,)),
    (
        b"POST /v2/models/offsetnet/versions/1/infer",
        BINARY + struct.pack("<2d", -7, -3),
        (LENGTH + b"%d" % len(BINARY),),
    ),
    (b"POST /v2/models/offsetnet/infer", struct.pack("<2d", 20, 2), (LENGTH + b"0",)),
    (b"POST /v1/models/offsetnet:predict", b'{"instances":[[-7,-3]]}', ()),
    (b"POST /v2/repository/index", b'{"ready":true}', ()),
    (b"PUT /models/active", b'{"version":1}', (JSON_TYPE,)),  # 428
)
CHANGES: Final[tuple[tuple[bytes, bytes, tuple[bytes, ...]], ...]] = (
    (b"POST /train", BRIEF, (JSON_TYPE, b"Idempotency-Key: one")),
    (b"POST /train?epochs=1&promote=never", PEOPLE, (CSV_TYPE,)),
    (b"PUT /models/active", b'{"version":1}', (JSON_TYPE, b"If-Match: *")),
    (b"DELETE /train/1", b"", ()),
    (b"DELETE /models/2", b"", ()),
    (b"POST /v2/repository/models/offsetnet/load", b"", ()),
)
_POST: Final = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
ILL: Final = (
    _POST + b"Content-Length: 39\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _POST + b"Content-Length: 39\r\nContent-Length: 40\r\n\r\n" + EMILY,
    _POST + b"Content-Length: +39\r\n\r\n" + EMILY,
    _POST + b"Content-Length: -1\r\n\r\n" + EMILY,
    _POST + b"Content-Length: 99999999999999999999\r\n\r\n" + EMILY,
    _POST + b"Content-Length: 999999999\r\n\r\n" + EMILY,
    _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + EMILY + b"\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\n27\r\n" + EMILY + b"xx0\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    _POST + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
    _POST.replace(b"\r\n", b"\n") + b"Content-Length: 39\n\n" + EMILY,
    _POST + b"Folded: one\r\n two\r\nContent-Length: 39\r\n\r\n" + EMILY,
    _POST + b"Host: localhost\r\nContent-Length: 39\r\n\r\n" + EMILY,
    _POST + b"Bad name: x\r\nContent-Length: 39\r\n\r\n" + EMILY,
    _POST + b"X: \x00\xff\x7f\r\nContent-Length: 39\r\n\r\n" + EMILY,
    _POST + b"X-API-Key: a\r\nX-API-Key: b\r\nContent-Length: 39\r\n\r\n" + EMILY,
    b"POST /predict HTTP/1.1\r\nContent-Length: 39\r\n\r\n" + EMILY,
    b"GET http://localhost/livez HTTP/1.1\r\nHost: a/../?x\r\n\r\n",
    b"GET /livez\r\n\r\n",
    b"GET /livez HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\n\r\n",
    b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(40)),
    b"FOO /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\r\n\r\n\r\n",
    b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /livez HTTP/1.1\r\n" + b"X: y\r\n" * 70 + b"Host: localhost\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nX: " + b"y" * 17_000 + b"\r\nHost: localhost\r\n\r\n",
)


def request(line: bytes, body: bytes, *fields: bytes, version: bytes = b"1.1") -> bytes:
    """Return a request whose body has a length."""
    head = [line + b" HTTP/" + version, b"Host: localhost", *fields]
    head += [b"Content-Length: %d" % len(body)] if body else []
    return b"\r\n".join([*head, b"", body])


def chunked(line: bytes, body: bytes, *fields: bytes) -> bytes:
    """Return a request in chunks, with an extension and a trailer."""
    head = [line + b" HTTP/1.1", b"Host: localhost", *fields]
    head += [b"Transfer-Encoding: chunked", b"Trailer: X-Sum"]
    first, rest = body[:7], body[7:]
    chunks = b"7;x=y\r\n%b\r\n%X\r\n%b\r\n" % (first, len(rest), rest)
    return b"\r\n".join([*head, b"", chunks + b"0\r\nX-Sum: 1\r\n\r\n"])


def harmless() -> list[bytes]:
    """Return what is answered alike however often it is sent."""
    reads = [b"GET " + path.encode() for path in GET]
    heads = [line.replace(b"GET", b"HEAD") for line in reads[:10]]
    found = [request(line, b"") for line in (*reads, *heads)]
    for line, body, fields in BODIES:
        whole = request(line, body, *fields)
        found += [whole, chunked(line, body, *fields), whole + whole]
        found.append(request(line, body, *fields, b"Expect: 100-continue"))
        found.append(request(line, body, *fields, version=b"1.0"))
    return [*found, *ILL]


def changing() -> list[bytes]:
    """Return what changes something, and may be answered otherwise next time."""
    return [request(line, body, *fields) for line, body, fields in CHANGES]
