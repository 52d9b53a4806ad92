"""Input that no honest client sends: every byte sequence gets its proper answer.

The ids of the cases are those of the fault matrix, A1 to A16; A16, the pins, and
most of A11 and A14 stand with the endpoints' other tests.
"""

import socket
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from tests.app.answers import CSV, EMILY, JSON, assert_problem, faults
from tests.app.wire import exchange
from tests.server import Server

CANARY: Final = "c4n4ry"
JSON_LIMIT: Final = 256 * 1024
CSV_LIMIT: Final = 64 * 1024 * 1024

Fault = tuple[str, str]


@pytest.fixture(autouse=True)
def _the_server_lives_on(client: httpx.Client) -> Iterator[None]:
    """After every case the service answers as before."""
    yield
    assert client.get("/livez").json() == {"live": True}


def _post(client: httpx.Client, path: str, body: bytes) -> httpx.Response:
    """Send bytes as JSON on a connection of its own."""
    return client.post(path, content=body, headers={**JSON, "Connection": "close"})


def _weight(number: str) -> bytes:
    """Write a person with this weight."""
    return b'{"weight_offset": %b, "height_offset": 0}' % number.encode()


WEIGHT: Final = "/weight_offset"
REFUSED: Final = [
    pytest.param(_weight("NaN"), WEIGHT, "finite_number", id="A1-NaN"),
    pytest.param(_weight("Infinity"), WEIGHT, "finite_number", id="A1-Infinity"),
    pytest.param(_weight("-Infinity"), WEIGHT, "finite_number", id="A1-minus-Infinity"),
    pytest.param(_weight("1e999"), WEIGHT, "finite_number", id="A2-1e999"),
    pytest.param(_weight("-1e999"), WEIGHT, "finite_number", id="A2-minus-1e999"),
    pytest.param(
        _weight("7" * 400), WEIGHT, "finite_number", id="A3-int-of-400-digits"
    ),
    pytest.param(_weight("true"), WEIGHT, "float_type", id="A5-true"),
    pytest.param(_weight('"1.5"'), WEIGHT, "float_type", id="A5-string"),
    pytest.param(_weight(f'"{CANARY}"'), WEIGHT, "float_type", id="A5-text"),
    pytest.param(_weight("null"), WEIGHT, "float_type", id="A5-null"),
    pytest.param(_weight("[1]"), WEIGHT, "float_type", id="A5-list"),
    pytest.param(_weight('{"a": 1}'), WEIGHT, "float_type", id="A5-object"),
    pytest.param(_weight("10000.000000000002"), WEIGHT, "less_than_equal", id="A6-ulp"),
    pytest.param(
        b'{"weight_offset": 1, "height_offset": 1, "%b": 1}' % CANARY.encode(),
        "",
        "extra_forbidden",
        id="A8-unknown-key",
    ),
    pytest.param(b"{}", WEIGHT, "missing", id="A13-empty-object"),
    pytest.param(b"[]", "", "dict_type", id="A13-list"),
    pytest.param(b"null", "", "dict_type", id="A13-null"),
    pytest.param(b"0", "", "dict_type", id="A13-number"),
    pytest.param(f'"{CANARY}"'.encode(), "", "dict_type", id="A13-string"),
    pytest.param(
        _weight('"<script>alert(1)</script>"'),
        WEIGHT,
        "float_type",
        id="A15-script-value",
    ),
    pytest.param(
        b'{"weight_offset": 1, "height_offset": 1, "<script>": 1}',
        "",
        "extra_forbidden",
        id="A15-script-key",
    ),
    pytest.param(
        b'{"weight_lb": 1, "height_cm": 1}', "/height_in", "missing", id="mixed-shapes"
    ),
]
MALFORMED: Final = [
    pytest.param(_weight("7" * 5000), id="A4-int-of-5000-digits"),
    pytest.param(b"[" * 100_000, id="A9-100k-nested-arrays"),
    pytest.param(b'{"a":' * 50_000, id="A9-50k-nested-objects"),
    pytest.param(_weight("[" * 300 + "]" * 300), id="A9-300-levels"),
    pytest.param(b'{"\xff": 1}', id="A12-invalid-UTF-8"),
    pytest.param(b'{"\xc0\xaf": 1}', id="A12-overlong-UTF-8"),
    pytest.param(b'{"\xed\xa0\x80": 1}', id="A12-surrogate-bytes"),
    pytest.param(b'{"\\ud800": 1}', id="A12-lone-surrogate"),
    pytest.param('{"weight_offset": 1}'.encode("utf-16"), id="A12-UTF-16"),
    pytest.param('{"weight_offset": 1}'.encode("utf-32-be"), id="A12-UTF-32"),
    pytest.param(b"\xef\xbb\xbf" + _weight("1"), id="A12-BOM"),
    pytest.param(b"", id="A13-empty"),
    pytest.param(b"   ", id="A13-spaces"),
    pytest.param(_weight("1") + CANARY.encode(), id="A13-trailing-junk"),
    pytest.param(_weight("1") + _weight("1"), id="A13-two-documents"),
    pytest.param(b"/* c */" + _weight("1"), id="A13-comment"),
    pytest.param(_weight("01"), id="A13-leading-zero"),
    pytest.param(_weight("+1"), id="A13-plus"),
    pytest.param(_weight("0x10"), id="A13-hexadecimal"),
    pytest.param(_weight("1."), id="A13-open-fraction"),
    pytest.param(_weight("1,"), id="A13-comma"),
    pytest.param(b"{'weight_offset': 1}", id="A13-single-quotes"),
    pytest.param(b"weight_offset=1&height_offset=2", id="A13-form"),
    pytest.param(b'{"weight_offset": 1', id="A13-cut-short"),
    pytest.param(b"\x00", id="A13-NUL"),
]


@pytest.mark.parametrize(("body", "pointer", "code"), REFUSED)
def test_a_person_that_breaks_a_rule_is_refused(
    client: httpx.Client, body: bytes, pointer: str, code: str
) -> None:
    response = _post(client, "/predict", body)

    assert_problem(response, 422, "invalid")
    assert (pointer, code) in faults(response)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("body", MALFORMED)
def test_what_is_not_json_is_malformed(
    client: httpx.Client, path: str, body: bytes
) -> None:
    response = _post(client, path, body)

    assert_problem(response, 400, "malformed")


@pytest.mark.parametrize("body", [one for one in MALFORMED if one.id != "A13-empty"])
def test_a_training_request_that_is_not_json_is_malformed(
    client: httpx.Client, body: bytes
) -> None:
    response = _post(client, "/train", body)

    assert_problem(response, 400, "malformed")


@pytest.mark.parametrize(
    "number", ["-0.0", "-0", "1e-400", "5e-324", "10000", "-10000", "1E4"]
)
def test_an_odd_but_finite_number_is_taken(client: httpx.Client, number: str) -> None:
    response = _post(client, "/predict", _weight(number))  # A6

    assert 0 <= response.json()["probability"] <= 1


def test_of_a_key_that_stands_twice_the_last_wins(client: httpx.Client) -> None:
    expected = client.post("/predict", json=EMILY).json()

    response = _post(  # A7
        client,
        "/predict",
        b'{"weight_offset": 20, "height_offset": -3, "weight_offset": -7}',
    )

    assert response.json() == expected


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/train"])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f'{{"{CANARY}": 1}}', id="key"),
        pytest.param(f'{{"weight_offset": "{CANARY}"}}', id="value"),
        pytest.param(f'{{"instances": [{{"{CANARY}": 1}}]}}', id="key in a row"),
        pytest.param(f'{{"instances": "{CANARY}"}}', id="list"),
        pytest.param(
            f'{{"instances": [{{"weight_offset": "{CANARY}"}}]}}', id="value in a row"
        ),
        pytest.param(
            f'{{"examples": [{{"weight_offset": 1, "label": "{CANARY}"}}]}}', id="label"
        ),
        pytest.param(f'{{"config": {{"{CANARY}": 1}}}}', id="setting"),
        pytest.param(f'{{"config": {{"loss": "{CANARY}"}}}}', id="value of a setting"),
        pytest.param(f'{{"promote": "{CANARY}"}}', id="promote"),
        pytest.param(f'{{"note": "{CANARY}\\u0000"}}', id="note"),
        pytest.param(f'{{"weight_offset": 1}} {CANARY}', id="trailing junk"),
    ],
)
def test_an_answer_never_echoes_the_body(
    client: httpx.Client, path: str, body: str
) -> None:
    response = _post(client, path, body.encode())

    assert response.status_code in {400, 422}
    assert CANARY not in response.text


@pytest.mark.parametrize("path", ["/predict/batch", "/train"])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"{CANARY}\n1\n", id="header"),
        pytest.param(f"weight_lb,height_in\n{CANARY},1\n", id="cell"),
        pytest.param(f"weight_lb,height_in,label\n1,1,{CANARY}\n", id="label"),
        pytest.param(f'weight_lb,height_in\n"{CANARY}\n', id="open quote"),
    ],
)
def test_an_answer_never_echoes_a_csv(
    client: httpx.Client, path: str, body: str
) -> None:
    response = client.post(path, content=body, headers=CSV)

    assert response.status_code == 422
    assert CANARY not in response.text


@pytest.mark.parametrize(
    "request_line",
    [
        f"GET /{CANARY}",
        f"GET /models/{CANARY}",
        f"GET /train/{CANARY}",
        f"GET /problems/{CANARY}",
        f"GET /static/{CANARY}",
        f"GET /train?state={CANARY}",
        f"POST /predict?explain={CANARY}",
        f"POST /predict?model_version={CANARY}",
        f"POST /train?{CANARY}=1",
    ],
)
def test_an_answer_never_echoes_the_url(
    client: httpx.Client, request_line: str
) -> None:
    method, _, url = request_line.partition(" ")

    response = client.request(method, url)

    assert response.is_client_error
    assert CANARY not in response.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(
            "/predict",
            b"{" + b",".join(b'"%d":1' % n for n in range(26_000)) + b"}",
            id="A8-predict-26k-unknown-keys",
        ),
        pytest.param(
            "/predict/batch",
            b'{"instances":[{'
            + b",".join(b'"%d":1' % n for n in range(26_000))
            + b"}]}",
            id="A8-batch-26k-unknown-keys",
        ),
        pytest.param(
            "/train",
            b'{"config":{' + b",".join(b'"%d":1' % n for n in range(26_000)) + b"}}",
            id="A8-train-26k-unknown-settings",
        ),
        pytest.param(
            "/train",
            b'{"examples":[' + b",".join([b"{}"] * 80_000) + b"]}",
            id="A8-train-80k-empty-rows",
        ),
    ],
)
def test_many_faults_are_answered_briefly(
    client: httpx.Client, path: str, body: bytes
) -> None:
    response = _post(client, path, body)

    assert_problem(response, 422, "invalid")


@pytest.mark.parametrize(
    ("path", "media_type", "limit"),
    [
        pytest.param("/predict", "application/json", JSON_LIMIT, id="predict"),
        pytest.param("/predict/batch", "application/json", JSON_LIMIT, id="batch"),
        pytest.param("/predict/batch", "text/csv", JSON_LIMIT, id="batch of CSV"),
        pytest.param("/train", "application/json", JSON_LIMIT, id="train"),
        pytest.param("/train", "text/csv", CSV_LIMIT, id="train on CSV"),
    ],
)
def test_b1_a_body_declared_too_large_is_refused_before_it_is_sent(
    server: Server, path: str, media_type: str, limit: int
) -> None:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n"
        f"Content-Length: {limit + 1}\r\n\r\n"
    )

    answer = exchange(server.port, head.encode())

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/train"])
def test_b2_a_chunked_body_is_refused_where_it_passes_the_bound(
    server: Server, path: str
) -> None:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"

    answer = exchange(server.port, head.encode() + 16 * chunk + b"1\r\n \r\n")

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()


def test_a_body_of_exactly_the_bound_is_read(client: httpx.Client) -> None:
    body = _weight("1").ljust(JSON_LIMIT)

    response = client.post("/predict", content=body)

    assert response.status_code == 200


def test_b13_a_client_that_leaves_halfway_is_no_error_of_the_server(
    server: Server, client: httpx.Client
) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"

    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head)
    client.get("/livez")

    assert "ClientDisconnect" not in server.log()
