"""What operators and platforms see: health, versions, methods, headers."""

import re
from typing import Final

import httpx
import pytest

from app import __version__
from app.errors import BY_SLUG
from tests.app.answers import EMILY, assert_problem
from tests.app.wire import exchange
from tests.server import Server

PAGES: Final = (
    *("/", "/livez", "/readyz", "/version", "/docs", "/openapi.json"),
    *("/static/docs.js", "/problems/invalid"),
    *("/train", "/models", "/models/active", "/models/1", "/models/1/weights"),
)
BROWSER: Final = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FORGED: Final = {
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Script-Name": "/evil",
    "Forwarded": "host=evil.example;proto=https",
}
ANSWERS: Final[dict[str, tuple[str, str, int]]] = {
    "success": ("GET", "/livez", 200),
    "file": ("GET", "/static/docs.js", 200),
    "page": ("GET", "/docs", 200),
    "dry run": ("POST", "/train?dry_run=true", 200),
    "malformed": ("POST", "/predict", 400),
    "not found": ("GET", "/nowhere", 404),
    "no such file": ("GET", "/static/nowhere", 404),
    "method": ("PUT", "/predict", 405),
    "invalid": ("GET", "/train?limit=0", 422),
}


def test_a_live_process_says_so(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"live": True}


def test_a_ready_process_says_so(client: httpx.Client) -> None:
    assert client.get("/readyz").json() == {"ready": True, "degraded": False}


def test_the_version_names_program_and_network(client: httpx.Client) -> None:
    active = client.get("/models/active").json()["version"]

    answer = client.get("/version").json()

    assert answer == {"version": __version__, "model_version": active}


def test_the_index_links_to_what_is_here(client: httpx.Client) -> None:
    index = client.get("/").json()

    assert index.pop("status") == "alive"
    for link in index.values():
        assert client.get(link).status_code in {200, 405}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        pytest.param("*/*", "application/json", id="curl"),
        pytest.param("", "application/json", id="nothing"),
        pytest.param("application/json", "application/json", id="JSON"),
        pytest.param("text/*", "application/json", id="no name"),
        pytest.param("text/htmlx", "application/json", id="another name"),
        pytest.param("text/html;q=0, */*", "application/json", id="refused"),
        pytest.param("text/html; Q = 0.00", "application/json", id="refused at length"),
        pytest.param(BROWSER, "text/html; charset=utf-8", id="browser"),
        pytest.param("a/b, TEXT/HTML ;q=0.1", "text/html; charset=utf-8", id="last"),
    ],
)
def test_who_accepts_html_gets_the_page_and_others_the_index(
    client: httpx.Client, method: str, accept: str, media_type: str
) -> None:
    response = client.request(method, "/", headers={"Accept": accept})

    assert response.status_code == 200
    assert response.headers["Content-Type"] == media_type
    assert response.headers["Vary"] == "Accept"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert int(response.headers["Content-Length"]) > 0
    caching = "no-cache" if "html" in media_type else None
    assert response.headers.get("Cache-Control") == caching
    is_html = response.headers.get("Content-Security-Policy") == POLICY
    assert is_html == (media_type != "application/json")


def test_a_browser_asks_again_whether_a_file_has_changed(client: httpx.Client) -> None:
    first = client.get("/static/docs.js")

    again = client.get(
        "/static/docs.js", headers={"If-None-Match": first.headers["ETag"]}
    )

    assert (first.status_code, again.status_code) == (200, 304)
    assert first.headers["Cache-Control"] == "no-cache"
    assert again.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-9", "bytes=9999999-", "bytes=9-1", "lines=1-2", "x", "bytes=0-1,"],
)
def test_a_file_is_sent_whole_whatever_part_is_asked_for(
    client: httpx.Client, asked: str
) -> None:
    whole = client.get("/static/docs.js")

    response = client.get("/static/docs.js", headers={"Range": asked})

    assert (response.status_code, response.content) == (200, whole.content)
    assert response.headers["Accept-Ranges"] == "none"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_f10_f12_a_page_is_closed_to_other_sites(
    client: httpx.Client, path: str
) -> None:
    headers = client.get(path, headers={"Accept": "text/html"}).headers

    policy = dict(
        part.strip().split(" ", 1)
        for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["form-action"] == policy["base-uri"] == "'none'"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/train", "/models"])
def test_f16_nobody_makes_up_under_which_address_this_is(
    client: httpx.Client, path: str
) -> None:
    page = {"Accept": "text/html"}

    plain = client.get(path, headers=page)
    forged = client.get(path, headers=page | FORGED)

    assert (forged.status_code, forged.text) == (200, plain.text)


def test_another_site_may_not_load_our_files(client: httpx.Client) -> None:
    headers = client.get("/static/docs.js").headers

    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_prediction_has_no_header_that_nobody_needs(client: httpx.Client) -> None:
    response = client.post("/predict", json=EMILY)

    assert {*response.headers} == {
        "date",
        "content-length",
        "content-type",
        "x-request-id",
        "x-content-type-options",
    }


@pytest.mark.parametrize("path", PAGES)
def test_b16_head_is_get_without_a_body(client: httpx.Client, path: str) -> None:
    got = client.get(path)

    head = client.head(path)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert head.headers["Content-Length"] == got.headers["Content-Length"]


def test_head_of_a_problem_has_no_body(client: httpx.Client) -> None:
    response = client.head("/models/999999")

    assert (response.status_code, response.content) == (404, b"")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("HEAD", "/predict", "POST"),
        ("OPTIONS", "/predict", "POST"),
        ("PUT", "/predict/batch", "POST"),
        ("PATCH", "/train", "GET, HEAD, POST"),
        ("POST", "/train/1", "DELETE, GET, HEAD"),
        ("POST", "/train/1/events", "GET, HEAD"),
        ("POST", "/models/active", "GET, HEAD, PUT"),
        ("DELETE", "/models/active", "GET, HEAD, PUT"),
        ("PUT", "/models/1", "DELETE, GET, HEAD"),
        ("POST", "/models", "GET, HEAD"),
        ("TRACE", "/livez", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
        ("POST", "/static/docs.js", "GET, HEAD"),
    ],
)
def test_b16_another_method_is_told_which_are_allowed(
    client: httpx.Client, method: str, path: str, allowed: str
) -> None:
    response = client.request(method, path)

    assert response.status_code == 405
    assert response.headers["Allow"] == allowed
    assert method == "HEAD" or response.json()["code"] == "method-not-allowed"


@pytest.mark.parametrize(
    "path", ["/predict/", "/train/", "/models/", "/docs/", "/livez/x", "/LIVEZ"]
)
def test_b17_a_path_that_is_almost_one_is_not_found(
    client: httpx.Client, path: str
) -> None:
    response = client.post(path) if "predict" in path else client.get(path)

    assert_problem(response, 404, "not-found")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapi.py",
        "/static/%2e%2e/%2e%2e/api.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/",
        "/static/swagger-ui",
        "/static/swagger-ui/../docs.html/..",
        "/%FF",
        "//livez",
        "/livez;x",
    ],
)
def test_f3_a_disguised_path_leads_nowhere(server: Server, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    answer = exchange(server.port, request.encode())

    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("slug", BY_SLUG)
def test_every_problem_has_its_page(client: httpx.Client, slug: str) -> None:
    page = client.get(f"/problems/{slug}").json()

    problem = BY_SLUG[slug]
    assert page == {"code": slug, "title": problem.title, "status": problem.status}


def test_an_unknown_problem_is_not_found(client: httpx.Client) -> None:
    assert_problem(client.get("/problems/none"), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "status"), ANSWERS.values(), ids=list(ANSWERS)
)
def test_every_answer_has_a_request_id_and_forbids_sniffing(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    response = client.request(method, path)

    assert response.status_code == status
    assert re.fullmatch("[0-9a-f]{16}", response.headers["X-Request-ID"])
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("request_id", ["a", "job-7.retry_2", "0" * 64])
@pytest.mark.parametrize("path", ["/livez", "/nowhere"])
def test_a_plain_request_id_is_kept(
    client: httpx.Client, path: str, request_id: str
) -> None:
    response = client.get(path, headers={"X-Request-ID": request_id})

    assert response.headers["X-Request-ID"] == request_id


@pytest.mark.parametrize(
    "request_id",
    [
        pytest.param(b"0" * 65, id="too long"),
        pytest.param(b"", id="empty"),
        pytest.param(b"a b", id="space"),
        pytest.param(b"<script>", id="markup"),
        pytest.param(b'"a"', id="quotes"),
        pytest.param(b"\xe9", id="latin-1"),
        pytest.param("é".encode(), id="UTF-8"),
        pytest.param(b"a\tb", id="tab"),
    ],
)
def test_f8_another_request_id_is_replaced(
    client: httpx.Client, request_id: bytes
) -> None:
    response = client.get("/livez", headers={b"X-Request-ID": request_id})

    assert re.fullmatch("[0-9a-f]{16}", response.headers["X-Request-ID"])


def test_two_requests_have_two_ids(client: httpx.Client) -> None:
    first, second = client.get("/livez"), client.get("/livez")

    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]


def test_a_problem_s_instance_is_its_request(client: httpx.Client) -> None:
    response = client.get("/nowhere", headers={"X-Request-ID": "mine"})

    assert response.json()["instance"] == "urn:offsetnet:request:mine"


def test_the_server_does_not_name_its_software(client: httpx.Client) -> None:
    assert "Server" not in client.get("/livez").headers


def test_a_range_of_the_page_is_answered_like_everything(client: httpx.Client) -> None:
    response = client.get("/docs", headers={"Range": "bytes=9999999-"})

    assert response.headers["X-Request-ID"]


def test_of_a_header_that_stands_twice_the_first_counts(client: httpx.Client) -> None:
    twice = [("Content-Encoding", "gzip"), ("Content-Encoding", "identity")]

    response = client.post("/predict", content=b"{}", headers=twice)

    assert response.json()["code"] == "content-coding"
