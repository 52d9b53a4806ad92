"""The guard by itself: keys, origins and hosts, from the headers to the decision."""

import hashlib
from collections.abc import Mapping
from typing import Final

import pytest

from app.auth import (
    ForbiddenError,
    ForeignHostError,
    ForeignOriginError,
    Guard,
    Scope,
    UnauthenticatedError,
    settle_doubled,
)
from app.settings import Settings
from app.wrong_keys import WrongKeysError

CLIENT: Final = ("198.51.100.7", 50_000)
LOOPBACK: Final = ("127.0.0.1", 8000)
ELSEWHERE: Final = ("192.0.2.1", 8000)
NOBODY: Final[dict[bytes, bytes]] = {}
READER: Final = {b"x-api-key": b"reader"}
ADMIN: Final = {b"x-api-key": b"admin"}
KEYS: Final = {"admin_key": "admin", "predict_key": "reader"}


def _guard(**values: object) -> Guard:
    return Guard(Settings.model_validate(values))


def _refusal(
    guard: Guard,
    scope: Scope,
    headers: Mapping[bytes, bytes],
    server: tuple[str, int] = LOOPBACK,
) -> str | None:
    """Return how a caller is refused, None where it passes."""
    try:
        guard.check(scope, {"server": server, "client": CLIENT}, headers)
    except (ForbiddenError, ForeignOriginError, UnauthenticatedError) as error:
        return f"{type(error).__name__}: {error}"
    return None


NEEDS_A_KEY: Final = "UnauthenticatedError: a valid key is needed"
MAY_ONLY_READ: Final = "ForbiddenError: this key may predict and read only"


@pytest.mark.parametrize(
    ("scope", "headers", "refusal"),
    [
        pytest.param(Scope.OPEN, NOBODY, None, id="open"),
        pytest.param(Scope.DOCS, NOBODY, None, id="documentation"),
        pytest.param(Scope.PREDICT, NOBODY, NEEDS_A_KEY, id="predict-without"),
        pytest.param(Scope.PREDICT, READER, None, id="predict-as-reader"),
        pytest.param(Scope.PREDICT, ADMIN, None, id="predict-as-admin"),
        pytest.param(Scope.ADMIN, NOBODY, NEEDS_A_KEY, id="change-without"),
        pytest.param(Scope.ADMIN, READER, MAY_ONLY_READ, id="change-as-reader"),
        pytest.param(Scope.ADMIN, ADMIN, None, id="change-as-admin"),
        pytest.param(
            Scope.ADMIN, {b"x-api-key": b""}, NEEDS_A_KEY, id="change-with-an-empty-key"
        ),
    ],
)
def test_a_scope_is_open_to_those_whose_key_reaches_it(
    scope: Scope, headers: Mapping[bytes, bytes], refusal: str | None
) -> None:
    assert _refusal(_guard(**KEYS), scope, headers) == refusal


@pytest.mark.parametrize(
    ("values", "closed"),
    [
        pytest.param({}, {Scope.ADMIN}, id="no-keys"),
        pytest.param(
            {"predict_key": "reader"}, {Scope.ADMIN, Scope.PREDICT}, id="predict-key"
        ),
        pytest.param(
            {"public_docs": False}, {Scope.ADMIN, Scope.DOCS}, id="closed-documentation"
        ),
    ],
)
def test_the_settings_say_which_scopes_ask_for_nothing(
    values: Mapping[str, object], closed: set[Scope]
) -> None:
    guard = _guard(**values)

    assert {scope for scope in Scope if not guard.is_open(scope)} == closed


def test_closed_documentation_needs_a_key() -> None:
    guard = _guard(**KEYS, public_docs=False)

    assert _refusal(guard, Scope.DOCS, NOBODY) == NEEDS_A_KEY
    assert _refusal(guard, Scope.DOCS, READER) is None


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        pytest.param({b"authorization": b"Bearer admin"}, True, id="bearer"),
        pytest.param({b"authorization": b"bEARER  admin "}, True, id="any-case"),
        pytest.param({b"authorization": b"Basic admin"}, False, id="basic"),
        pytest.param({b"authorization": b"admin"}, False, id="no-scheme"),
        pytest.param({b"authorization": b"Bearer"}, False, id="no-token"),
        pytest.param({b"authorization": b"Basic x", **ADMIN}, True, id="basic-and-key"),
        pytest.param({b"authorization": b"Bearer x", **ADMIN}, False, id="bearer-wins"),
        pytest.param({b"authorization": b"Bearer admin x"}, False, id="two-tokens"),
    ],
)
def test_a_key_is_a_bearer_s_token_or_a_header(
    headers: Mapping[bytes, bytes], *, passes: bool
) -> None:
    assert (_refusal(_guard(**KEYS), Scope.ADMIN, headers) is None) is passes


@pytest.mark.parametrize(
    ("server", "headers", "passes"),
    [
        pytest.param(LOOPBACK, NOBODY, True, id="loopback"),
        pytest.param(ELSEWHERE, NOBODY, False, id="elsewhere"),
        pytest.param(LOOPBACK, {b"x-forwarded-for": b"192.0.2.9"}, False, id="proxy"),
        pytest.param(LOOPBACK, {b"forwarded": b"for=192.0.2.9"}, False, id="forwarded"),
    ],
)
def test_without_keys_only_this_machine_changes_anything(
    server: tuple[str, int], headers: Mapping[bytes, bytes], *, passes: bool
) -> None:
    refusal = _refusal(_guard(), Scope.ADMIN, headers, server)

    expected = "without OFFSETNET_ADMIN_KEY this works on loopback only"
    assert refusal == (None if passes else f"UnauthenticatedError: {expected}")


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        pytest.param({b"host": b"a:1"}, None, id="no-origin"),
        pytest.param({b"host": b"a:1", b"origin": b"http://a:1"}, None, id="same"),
        pytest.param({b"host": b"a:1", b"origin": b"https://a:1"}, None, id="tls"),
        pytest.param(
            {b"host": b"a:1", b"origin": b"http://a:2"},
            "the Origin is not this server",
            id="another-port",
        ),
        pytest.param(
            {b"host": b"a:1", b"origin": b"null"},
            "the Origin is not this server",
            id="null",
        ),
        pytest.param(
            {b"host": b"a:1", b"origin": b"http://a:1://a:1"},
            "the Origin is not this server",
            id="two-in-one",
        ),
        pytest.param(
            {b"sec-fetch-site": b"cross-site"},
            "a page of another site may not change anything here",
            id="cross-site",
        ),
        pytest.param({b"sec-fetch-site": b"same-origin"}, None, id="same-origin"),
    ],
)
def test_a_page_changes_only_its_own_server(
    headers: Mapping[bytes, bytes], refusal: str | None
) -> None:
    told = _refusal(_guard(), Scope.ADMIN, headers)

    assert told == (refusal and f"ForeignOriginError: {refusal}")


def test_another_site_s_page_may_read() -> None:
    headers = {b"sec-fetch-site": b"cross-site", b"origin": b"https://evil.example"}

    assert _refusal(_guard(), Scope.PREDICT, headers) is None


@pytest.mark.parametrize("key", ["admin", "reader"])
def test_a_caller_s_name_begins_its_key_s_digest(key: str) -> None:
    caller = _guard(**KEYS).caller({b"x-api-key": key.encode()})

    assert caller == hashlib.sha256(key.encode()).hexdigest()[:32]


@pytest.mark.parametrize("headers", [NOBODY, {b"x-api-key": b"x"}], ids=["none", "x"])
def test_a_caller_without_a_right_key_has_no_name(
    headers: Mapping[bytes, bytes],
) -> None:
    assert not _guard(**KEYS).caller(headers)


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        pytest.param(b"localhost", True, id="name"),
        pytest.param(b"LocalHost:80", True, id="any-case-and-port"),
        pytest.param(b"[::1]", True, id="IPv6"),
        pytest.param(b"[::1]:80", True, id="IPv6-and-port"),
        pytest.param(b"offsetnet.test:80", True, id="allowed"),
        pytest.param(b"localhost:", False, id="no-port"),
        pytest.param(b"localhost:80:80", False, id="two-ports"),
        pytest.param(b"localhost:x", False, id="no-number"),
        pytest.param(b"evil.example", False, id="foreign"),
        pytest.param(b"loc\xe4lhost", False, id="not-ascii"),
        pytest.param(b"", False, id="empty"),
    ],
)
def test_loopback_answers_to_its_own_names_and_those_allowed(
    host: bytes, *, passes: bool
) -> None:
    guard = _guard(allowed_hosts="OffsetNet.test")

    if passes:
        guard.check_host(LOOPBACK, host)
    else:
        with pytest.raises(ForeignHostError) as refusal:
            guard.check_host(LOOPBACK, host)
        assert str(refusal.value) == (
            "this Host is not answered on loopback; OFFSETNET_ALLOWED_HOSTS adds names"
        )


@pytest.mark.parametrize("server", [ELSEWHERE, None], ids=["address", "unknown"])
def test_elsewhere_any_name_is_answered(server: tuple[str, int] | None) -> None:
    _guard().check_host(server, b"evil.example")


def test_however_many_names_are_sent_few_are_remembered() -> None:
    guard = _guard()

    for number in range(1_000):
        guard.check_host(ELSEWHERE, b"host-%d" % number)

    assert guard.check_host.cache_info().currsize <= 64


def test_a_request_names_one_host() -> None:
    settle_doubled([(b"host", b"a"), (b"x-host", b"b")], {})

    with pytest.raises(ForeignHostError) as refusal:
        settle_doubled([(b"host", b"a"), (b"host", b"a")], {})
    assert str(refusal.value) == "there must be one Host"


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key"])
def test_two_keys_in_one_header_are_none(name: bytes) -> None:
    headers = {name: b"second", b"accept": b"second"}
    sent = [(name, b"first"), (b"accept", b"first"), *headers.items()]

    settle_doubled(sent, headers)

    assert headers == {name: b"", b"accept": b"second"}


def test_a_key_in_each_header_stays() -> None:
    headers = {b"authorization": b"Bearer a", b"x-api-key": b"b"}

    settle_doubled([*headers.items()], headers)

    assert headers == {b"authorization": b"Bearer a", b"x-api-key": b"b"}


@pytest.mark.parametrize("scope", [Scope.PREDICT, Scope.ADMIN])
def test_wrong_keys_are_counted_by_the_address_that_sent_them(scope: Scope) -> None:
    guard = _guard(**KEYS, wrong_keys_limit=1)
    connection = {"server": LOOPBACK, "client": CLIENT}
    elsewhere = {"server": LOOPBACK, "client": ELSEWHERE}
    wrong = {b"x-api-key": b"wrong"}

    for allowed in (connection, elsewhere):
        with pytest.raises(UnauthenticatedError):
            guard.check(scope, allowed, wrong)

    with pytest.raises(WrongKeysError) as refusal:
        guard.check(scope, connection, wrong)
    assert str(refusal.value) == "too many wrong keys came from this address"


def test_no_key_is_no_wrong_key() -> None:
    guard = _guard(**KEYS, wrong_keys_limit=1)

    refusals = {_refusal(guard, Scope.PREDICT, NOBODY) for _ in range(3)}

    assert refusals == {NEEDS_A_KEY}
