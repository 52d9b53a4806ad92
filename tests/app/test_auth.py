"""Keys, origins and hosts: who may do what."""

import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import httpx
import pytest

from app.auth import (
    ForbiddenError,
    ForeignHostError,
    Guard,
    Scope,
    UnauthenticatedError,
)
from app.settings import Settings
from tests.app.answers import EMILY, assert_problem
from tests.app.processes import only_child
from tests.app.training import BRIEF
from tests.app.wire import exchange
from tests.server import Server, wait_for

ADMIN_KEYS: Final = ("admin-one", "admin-two", "admin-from-file", "schlüssel")
PREDICT_KEYS: Final = ("reader-one", "reader-from-file")
BAD_KEYS: Final[dict[str, Any]] = {
    "none": {},
    "empty": {"X-API-Key": ""},
    "wrong": {"X-API-Key": "wrong"},
    "prefix": {"X-API-Key": "admin-on"},
    "longer": {"X-API-Key": "admin-one-"},
    "other case": {"X-API-Key": "ADMIN-ONE"},
    "all of the setting": {"X-API-Key": "admin-one,admin-two"},
    "15 KB": {"X-API-Key": "a" * 15_000},
    "non-ASCII": {"X-API-Key": "ключ".encode()},
    "not UTF-8": {"X-API-Key": b"\xff\xfe"},
    "bearer alone": {"Authorization": "Bearer"},
    "bearer, wrong": {"Authorization": "Bearer wrong"},
    "bearer, non-ASCII": {"Authorization": "Bearer ключ".encode()},
    "basic": {"Authorization": "Basic admin-one"},
    "another scheme": {"Authorization": "ApiKey admin-one"},
    "bearer in the other header": {"X-API-Key": "Bearer admin-one"},
    "doubled, right first": [("X-API-Key", "admin-one"), ("X-API-Key", "wrong")],
    "doubled, wrong first": [("X-API-Key", "wrong"), ("X-API-Key", "admin-one")],
    "doubled bearer": [("Authorization", "Bearer admin-one")] * 2,
    "no scheme": {"Authorization": "admin-one"},
    "other name": {"X_API_Key": "admin-one"},
    "cookie": {"Cookie": "key=admin-one"},
}
CHANGES: Final = [
    ("POST", "/train"),
    ("DELETE", "/train/1"),
    ("PUT", "/models/active"),
    ("DELETE", "/models/1"),
]
FOREIGN: Final = {
    "another site": {"Origin": "https://evil.example"},
    "null": {"Origin": "null"},
    "empty": {"Origin": ""},
    "another port": {"Origin": "http://127.0.0.1:1"},
    "another name of this machine": {"Origin": "http://localhost"},
    "a name that begins like this one": {"Origin": "http://127.0.0.1.evil.example"},
    "fetched by another site": {"Sec-Fetch-Site": "cross-site"},
}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with both kinds of key, in settings and in files."""
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "admin").write_text("admin-from-file\n\nschlüssel\n", encoding="utf-8")
    (folder / "predict").write_text("  reader-from-file  \n")
    environment = {
        "OFFSETNET_ADMIN_KEY": "admin-one, admin-two",
        "OFFSETNET_ADMIN_KEY_FILE": str(folder / "admin"),
        "OFFSETNET_PREDICT_KEY": "reader-one",
        "OFFSETNET_PREDICT_KEY_FILE": str(folder / "predict"),
        "OFFSETNET_ALLOWED_HOSTS": "offsetnet.test,Capital.Test",
        "OFFSETNET_PUBLIC_DOCS": "false",
        "OFFSETNET_WRONG_KEYS_LIMIT": "100000",
    }
    with Server(folder / "data", "--access-log", environment=environment) as running:
        yield running


def test_f6_the_runner_is_not_given_the_keys(keyed: Server) -> None:
    runner = Path(f"/proc/{only_child(keyed.process.pid)}")
    wait_for(lambda: "app.runner" in (runner / "cmdline").read_text())  # it is one now

    environment = (runner / "environ").read_text()

    assert "OFFSETNET_DATA_DIR" in environment
    assert not re.search("OFFSETNET_[A-Z_]*KEY|admin-one", environment)


@pytest.fixture(scope="module")
def address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(type=socket.SOCK_DGRAM) as asking:  # which sends nothing
        try:
            asking.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("this machine has no other address than loopback")
        return str(asking.getsockname()[0])


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on every address, without keys."""
    data_dir = tmp_path_factory.mktemp("exposed") / "data"
    with Server(data_dir, "--host", "0.0.0.0") as running:  # noqa: S104 - on purpose
        yield running


def _train(server: Server, headers: Any) -> httpx.Response:
    return server.client.post("/train", json=BRIEF, headers=headers)


def _predict(server: Server, headers: Any) -> httpx.Response:
    return server.client.post("/predict", json=EMILY, headers=headers)


@pytest.mark.parametrize("key", ADMIN_KEYS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_f1_an_admin_key_trains_as_bearer(keyed: Server, scheme: str, key: str) -> None:
    response = _train(keyed, {"Authorization": f"{scheme} {key}".encode()})

    assert response.status_code == 202


@pytest.mark.parametrize("key", ADMIN_KEYS)
def test_an_admin_key_trains_as_api_key(keyed: Server, key: str) -> None:
    response = _train(keyed, {"X-API-Key": key.encode()})

    assert response.status_code == 202


@pytest.mark.parametrize("headers", BAD_KEYS.values(), ids=BAD_KEYS)
def test_f1_without_a_right_key_nobody_trains(keyed: Server, headers: Any) -> None:
    response = _train(keyed, headers)

    assert_problem(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_f1_without_a_key_nothing_is_changed(
    keyed: Server, method: str, path: str
) -> None:
    response = keyed.client.request(method, path)

    assert_problem(response, 401, "unauthenticated")


@pytest.mark.parametrize("headers", BAD_KEYS.values(), ids=BAD_KEYS)
def test_f1_without_a_right_key_nobody_predicts(keyed: Server, headers: Any) -> None:
    response = _predict(keyed, headers)

    assert_problem(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_f1_wrong_keys_are_all_answered_alike(keyed: Server) -> None:
    answers = [_train(keyed, headers).json() for headers in BAD_KEYS.values()]

    for answer in answers:
        del answer["request_id"], answer["instance"]
    assert all(answer == answers[0] for answer in answers)


def test_f1_a_key_of_a_megabyte_is_too_large_a_head(keyed: Server) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nX-API-Key: "

    answer = exchange(keyed.port, head + b"a" * 1_000_000 + b"\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 431 ")


class Untouchable(bytes):
    """A key that fails whoever looks at its characters."""

    __slots__ = ()

    def _fail(self, *_: object) -> NoReturn:
        raise AssertionError("the key itself is looked at")

    __eq__ = __ne__ = __lt__ = __hash__ = __iter__ = __getitem__ = _fail
    __contains__ = startswith = endswith = find = index = _fail


@pytest.mark.parametrize("scope", [Scope.PREDICT, Scope.ADMIN])
@pytest.mark.parametrize("right", range(len("admin") + 1))
def test_f4_a_key_is_known_by_its_digest_alone(scope: Scope, right: int) -> None:
    settings = _settings(predict_key="reader", admin_key="admin")
    key = Untouchable(b"admin"[:right].ljust(len("admin"), b"x"))

    is_taken = _passes(settings, scope, headers={b"x-api-key": key})

    assert is_taken is (right == len("admin"))


def test_f1_a_key_in_the_url_is_ignored(keyed: Server) -> None:
    query = "key=admin-one&api_key=admin-one&X-API-Key=admin-one"

    response = keyed.client.post(f"/predict?{query}", json=EMILY)

    assert response.status_code == 401


def test_the_key_comes_before_the_body(keyed: Server) -> None:
    response = keyed.client.post("/train", content=b"not JSON")

    assert response.status_code == 401


@pytest.mark.parametrize("key", [*PREDICT_KEYS, *ADMIN_KEYS])
def test_either_key_predicts(keyed: Server, key: str) -> None:
    response = _predict(keyed, {"X-API-Key": key.encode()})

    assert response.status_code == 200


@pytest.mark.parametrize("key", PREDICT_KEYS)
@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_f2_a_predict_key_changes_nothing(
    keyed: Server, method: str, path: str, key: str
) -> None:
    headers = {"Authorization": f"Bearer {key}"}

    response = keyed.client.request(method, path, headers=headers)

    assert_problem(response, 403, "forbidden")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/train", 200),
        ("/train/999999", 404),
        ("/train/999999/events", 404),
        ("/models", 200),
        ("/models/active", 200),
        ("/models/1", 200),
        ("/models/1/weights", 200),
    ],
)
def test_c15_reading_follows_predicting(keyed: Server, path: str, status: int) -> None:
    without = keyed.client.get(path)
    with_key = keyed.client.get(path, headers={"X-API-Key": "reader-one"})

    assert (without.status_code, with_key.status_code) == (401, status)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_f14_the_documentation_can_be_closed(keyed: Server, path: str) -> None:
    without = keyed.client.get(path)
    with_key = keyed.client.get(path, headers={"X-API-Key": "reader-one"})

    assert_problem(without, 401, "unauthenticated")
    assert with_key.status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/livez", "/readyz", "/version", "/problems/invalid"]
)
def test_operations_need_no_key(keyed: Server, path: str) -> None:
    response = keyed.client.get(path)

    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/models", "/train"])
def test_f14_without_keys_all_reading_is_open(client: httpx.Client, path: str) -> None:
    response = client.get(path)

    assert response.status_code == 200


def test_f6_keys_are_never_logged(keyed: Server) -> None:
    for headers in ({"X-API-Key": "admin-one"}, {"Authorization": "Bearer admin-two"}):
        _train(keyed, headers)
    _predict(keyed, {"X-API-Key": "reader-one"})

    log = keyed.log().replace("X-API-Key=admin-one", "").replace("key=admin-one", "")

    assert not [key for key in (*ADMIN_KEYS, *PREDICT_KEYS) if key in log]


@pytest.mark.parametrize(
    "path",
    ["//train", "/%74rain", "/train;x", "/train/", "/./train", "/models/../train"],
)
def test_f3_a_disguised_path_reaches_nothing_without_a_key(
    keyed: Server, path: str
) -> None:
    target = httpx.URL(
        keyed.client.base_url, raw_path=path.encode()
    )  # F3, left as it is

    response = httpx.post(target, json=BRIEF)

    assert response.status_code in {401, 404}


@pytest.mark.parametrize(
    "name", ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Uri"]
)
@pytest.mark.parametrize("other", ["/livez", "//livez", "http://localhost/livez"])
def test_f3_no_header_leads_to_another_path(
    keyed: Server, name: str, other: str
) -> None:
    response = _train(keyed, {name: other})

    assert_problem(response, 401, "unauthenticated")


@pytest.mark.parametrize(
    "target", ["http://localhost/train", "http://x/livez/../train"]
)
def test_f3_a_whole_address_as_target_decides_nothing(
    keyed: Server, target: str
) -> None:
    request = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"

    answer = exchange(keyed.port, f"{request}Content-Length: 0\r\n\r\n".encode())

    assert answer[:13] in {b"HTTP/1.1 401 ", b"HTTP/1.1 404 "}


@pytest.mark.parametrize("override", ["X-HTTP-Method-Override", "X-Method-Override"])
def test_f3_a_method_is_not_overridden(keyed: Server, override: str) -> None:
    response = keyed.client.get(
        "/train", headers={override: "POST", "X-API-Key": "reader-one"}
    )

    assert response.json().keys() == {"jobs", "next"}


def test_without_keys_loopback_trains(exposed: Server) -> None:
    response = _train(exposed, {})

    assert response.status_code == 202


def test_f15_without_keys_others_are_told_which_setting_is_missing(
    exposed: Server, address: str
) -> None:
    url = f"http://{address}:{exposed.port}/train"

    response = httpx.post(url, json=BRIEF)

    assert_problem(response, 401, "unauthenticated")
    assert "OFFSETNET_ADMIN_KEY" in response.json()["detail"]


def test_f15_without_keys_others_predict_and_read(
    exposed: Server, address: str
) -> None:
    with httpx.Client(base_url=f"http://{address}:{exposed.port}") as client:
        answers = [client.post("/predict", json=EMILY), client.get("/models")]

    assert [answer.status_code for answer in answers] == [200, 200]


def test_on_another_address_any_host_is_answered(exposed: Server, address: str) -> None:
    url = f"http://{address}:{exposed.port}/livez"

    response = httpx.get(url, headers={"Host": "example.com"})

    assert response.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=203.0.113.9"},
    ],
    ids=str,
)
def test_f16_without_keys_nobody_trains_through_a_proxy(
    server: Server, headers: Mapping[str, str]
) -> None:
    response = _train(server, headers)

    assert_problem(response, 401, "unauthenticated")
    assert "OFFSETNET_ADMIN_KEY" in response.json()["detail"]


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_f11_another_site_does_not_train(
    server: Server, headers: Mapping[str, str]
) -> None:
    response = _train(server, headers)

    assert_problem(response, 403, "foreign-origin")
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_f11_another_site_changes_nothing(
    server: Server, method: str, path: str
) -> None:
    headers = {"Origin": "https://evil.example"}

    response = server.client.request(method, path, headers=headers)

    assert_problem(response, 403, "foreign-origin")


def test_f11_another_site_does_not_train_even_with_a_key(keyed: Server) -> None:
    headers = {"Origin": "https://evil.example", "X-API-Key": "admin-one"}

    response = _train(keyed, headers)

    assert_problem(response, 403, "foreign-origin")


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_f11_another_site_may_ask_but_its_page_cannot_read(
    server: Server, headers: Mapping[str, str]
) -> None:
    response = _predict(server, headers)

    assert response.status_code == 200
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_f11_our_own_page_trains(exposed: Server, site: str) -> None:
    own = {"Origin": f"http://127.0.0.1:{exposed.port}", "Sec-Fetch-Site": site}

    response = _train(exposed, own)

    assert response.status_code == 202


def test_f11_a_preflight_is_not_answered(client: httpx.Client) -> None:
    headers = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
    }

    response = client.options("/train", headers=headers)

    assert response.status_code == 405
    assert not [name for name in response.headers if "access-control" in name]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1@evil.example",
        "localhost:x",
        "",
        "10.0.0.1",
    ],
)
@pytest.mark.parametrize("path", ["/livez", "/predict", "/nowhere"])
def test_f3_f11_a_foreign_host_is_refused_on_loopback(
    client: httpx.Client, path: str, host: str
) -> None:
    response = client.get(path, headers={"Host": host})

    assert_problem(response, 400, "foreign-host")


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8000"],
)
def test_names_of_loopback_are_answered(client: httpx.Client, host: str) -> None:
    response = client.get("/livez", headers={"Host": host})

    assert response.status_code == 200


@pytest.mark.parametrize(
    "host", ["offsetnet.test", "OFFSETNET.test:80", "capital.test"]
)
def test_further_hosts_can_be_allowed(keyed: Server, host: str) -> None:
    response = keyed.client.get("/livez", headers={"Host": host})

    assert response.status_code == 200


def _settings(**values: object) -> Settings:
    """Read settings as they are read from the environment."""
    return Settings.model_validate(values)


def _passes(
    settings: Settings,
    scope: Scope,
    server: tuple[str, int | None] | None = ("127.0.0.1", 80),
    headers: Mapping[bytes, bytes] | None = None,
) -> bool:
    try:
        connection = {"server": server, "client": ("127.0.0.1", 1)}
        Guard(settings).check(scope, connection, headers or {})
    except UnauthenticatedError:
        return False
    return True


@pytest.mark.parametrize(
    ("server", "is_open"),
    [
        pytest.param(("127.0.0.1", 80), True, id="loopback"),
        pytest.param(("127.8.9.1", 80), True, id="all of 127"),
        pytest.param(("::1", 80), True, id="IPv6"),
        pytest.param(("::ffff:127.0.0.1", 80), True, id="IPv4 in IPv6"),
        pytest.param(("::ffff:192.0.2.1", 80), False, id="foreign in IPv6"),
        pytest.param(("192.0.2.1", 80), False, id="foreign"),
        pytest.param(("/run/socket", None), False, id="unix socket"),
        pytest.param(None, False, id="unknown"),
    ],
)
def test_f15_without_keys_the_local_address_decides(
    server: tuple[str, int | None] | None, *, is_open: bool
) -> None:
    assert _passes(Settings(), Scope.ADMIN, server) is is_open


def test_with_a_predict_key_alone_loopback_still_trains() -> None:
    settings = _settings(predict_key="reader")

    assert _passes(settings, Scope.ADMIN)


def test_with_an_admin_key_alone_predicting_is_open() -> None:
    settings = _settings(admin_key="admin")

    assert _passes(settings, Scope.PREDICT)


def test_f3_what_a_host_was_answered_elsewhere_counts_nowhere_else() -> None:
    guard = Guard(Settings())
    for number in range(1_000):
        guard.check_host(("192.0.2.1", 80), b"%d.example" % number)

    for host in (b"999.example", b"localhost.example"):
        for _ in range(2):  # a refusal is not remembered either
            with pytest.raises(ForeignHostError):
                guard.check_host(("127.0.0.1", 80), host)
    guard.check_host(("127.0.0.1", 80), b"localhost")
    assert guard.check_host.cache_info().currsize == 64


def test_f14_with_keys_the_documentation_is_open_as_things_are_set() -> None:
    settings = _settings(admin_key="admin", predict_key="reader")

    assert _passes(settings, Scope.DOCS)
    assert not _passes(settings, Scope.PREDICT)


def test_f14_with_an_admin_key_alone_the_documentation_can_be_closed() -> None:
    settings = _settings(admin_key="admin", public_docs=False)

    assert not _passes(settings, Scope.DOCS)
    assert _passes(settings, Scope.DOCS, headers={b"x-api-key": b"admin"})


def test_a_key_that_is_both_trains() -> None:
    settings = _settings(admin_key="both", predict_key="both")

    assert _passes(settings, Scope.ADMIN, headers={b"x-api-key": b"both"})


def test_the_bearer_key_counts_where_both_headers_are_sent() -> None:
    guard = Guard(_settings(admin_key="admin", predict_key="reader"))
    headers = {b"authorization": b"Bearer reader", b"x-api-key": b"admin"}

    with pytest.raises(ForbiddenError):
        guard.check(Scope.ADMIN, {"server": ("127.0.0.1", 80)}, headers)


def test_a_key_file_without_keys_leaves_the_setting_s(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n \n")

    settings = _settings(admin_key="admin", admin_key_file=tmp_path / "keys")

    assert settings.all_admin_keys() == (b"admin",)
