"""Wrong keys: after some of them from one address the next are put off."""

from typing import Final, NamedTuple

import httpx
import pytest

from app.wrong_keys import MAX_ADDRESSES, MEMORY_SECONDS, WrongKeys, WrongKeysError
from tests.app.answers import EMILY, assert_problem
from tests.server import Server

LIMIT: Final = 20
READER: Final = {"X-API-Key": "reader"}
FORGED: Final = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
WRONG: Final = {"X-API-Key": "wrong"}


class Guessed(NamedTuple):
    """What was answered within the minute in which somebody guessed keys.

    Attributes:
        guesses: To 25 wrong keys, in turn.
        without: To no key.
        right: To the right keys, from the same address.
        elsewhere: To further wrong keys on other routes.
        stranger: To a wrong key from another address of loopback.
        forged: To a wrong key that claims to come from elsewhere.
        protocol: To a wrong key on a route of a standard protocol.
        metrics: What the metrics say.
    """

    guesses: list[httpx.Response]
    without: httpx.Response
    right: list[httpx.Response]
    elsewhere: list[httpx.Response]
    stranger: httpx.Response
    forged: httpx.Response
    protocol: httpx.Response
    metrics: str


@pytest.fixture(scope="module")
def guessed(tmp_path_factory: pytest.TempPathFactory) -> Guessed:
    """Guess keys of a server."""
    environment = {
        "OFFSETNET_ADMIN_KEY": "admin",
        "OFFSETNET_PREDICT_KEY": "reader",
        "OFFSETNET_PUBLIC_DOCS": "false",
    }
    data_dir = tmp_path_factory.mktemp("guessed") / "data"
    with Server(data_dir, environment=environment) as server:
        ask = server.client
        return Guessed(
            guesses=[
                ask.post(path, json=EMILY, headers={"X-API-Key": f"guess-{number}"})
                for number, path in enumerate(["/predict", "/train"] * 12 + ["/train"])
            ],
            without=ask.post("/predict", json=EMILY),
            right=[
                ask.post("/predict", json=EMILY, headers=READER),
                ask.delete("/train/99", headers={"Authorization": "Bearer admin"}),
            ],
            elsewhere=[
                ask.get(path, headers=WRONG) for path in ("/models", "/metrics")
            ],
            stranger=_from("127.0.0.2", server),
            forged=ask.get("/models", headers=WRONG | FORGED),
            protocol=ask.get("/v2/models/offsetnet", headers=WRONG),
            metrics=ask.get("/metrics", headers=READER).text,
        )


def test_f5_twenty_wrong_keys_are_401_and_the_next_429(guessed: Guessed) -> None:
    statuses = [one.status_code for one in guessed.guesses]

    assert statuses == [401] * LIMIT + [429] * 5
    assert_problem(guessed.guesses[-1], 429, "wrong-keys")
    assert guessed.guesses[-1].headers["Retry-After"] == "60"


def test_f5_a_right_key_passes_from_the_same_address(guessed: Guessed) -> None:
    assert [one.status_code for one in guessed.right] == [200, 404]


def _from(address: str, server: Server) -> httpx.Response:
    transport = httpx.HTTPTransport(local_address=address)
    with httpx.Client(transport=transport, base_url=server.client.base_url) as client:
        return client.get("/models", headers=WRONG)


def test_f5_another_address_is_another_matter(guessed: Guessed) -> None:
    assert_problem(guessed.stranger, 401, "unauthenticated")


def test_f5_f16_an_address_cannot_be_made_up(guessed: Guessed) -> None:
    assert_problem(guessed.forged, 429, "wrong-keys")


def test_f5_who_sends_no_key_is_told_that_one_is_needed(guessed: Guessed) -> None:
    assert_problem(guessed.without, 401, "unauthenticated")


def test_f5_every_route_that_wants_a_key_counts(guessed: Guessed) -> None:
    for answer in guessed.elsewhere:
        assert_problem(answer, 429, "wrong-keys")


def test_f5_the_standard_protocols_say_it_their_way(guessed: Guessed) -> None:
    body = guessed.protocol.json()

    assert (guessed.protocol.status_code, body["code"]) == (429, "wrong-keys")
    assert guessed.protocol.headers["Retry-After"] == "60"


def test_f5_the_metrics_count_what_was_put_off(guessed: Guessed) -> None:
    assert 'offsetnet_sheds_total{reason="wrong-keys"} 9.0' in guessed.metrics


@pytest.fixture
def now() -> list[float]:
    """What the clock says."""
    return [0.0]


@pytest.fixture
def wrong_keys(now: list[float]) -> WrongKeys:
    """What a process remembers, with a clock of ours."""
    return WrongKeys(limit=LIMIT, clock=lambda: now[0])


def _taken(wrong_keys: WrongKeys, *hosts: str | None) -> int:
    """Return how many keys are taken until the first is put off."""
    for number, host in enumerate(hosts):
        try:
            wrong_keys.count((host, 1) if host is not None else None)
        except WrongKeysError:
            return number
    return len(hosts)


@pytest.mark.parametrize(
    "hosts",
    [
        pytest.param(["192.0.2.1"], id="one"),
        pytest.param(["192.0.2.1", "::ffff:192.0.2.1"], id="written in two ways"),
        pytest.param([f"2001:db8::{n:x}" for n in range(50)], id="one network"),
        pytest.param(["fe80::1%eth0", "fe80::1%eth1"], id="with a zone"),
        pytest.param(["unknown", "?", "x" * 9999], id="no address"),
        pytest.param([None], id="nobody knows"),
    ],
)
def test_f5_what_is_one_address_has_one_share(
    wrong_keys: WrongKeys, hosts: list[str | None]
) -> None:
    assert _taken(wrong_keys, *(hosts * 50)) == LIMIT


@pytest.mark.parametrize("other", ["192.0.2.2", "2001:db8:0:1::1", "::1", "unknown"])
def test_f5_another_address_has_a_share_of_its_own(
    wrong_keys: WrongKeys, other: str
) -> None:
    _taken(wrong_keys, *["192.0.2.1", "2001:db8::1"] * 50)

    assert _taken(wrong_keys, *[other] * 50) == LIMIT


def test_f5_all_is_forgotten_after_a_minute(
    wrong_keys: WrongKeys, now: list[float]
) -> None:
    _taken(wrong_keys, *["192.0.2.1"] * 50)

    now[0] = MEMORY_SECONDS
    before = _taken(wrong_keys, "192.0.2.1")
    now[0] += 0.001
    after = _taken(wrong_keys, *["192.0.2.1"] * 50)

    assert (before, after) == (0, LIMIT)


def test_f5_who_has_many_addresses_has_one_share_in_the_end(
    wrong_keys: WrongKeys,
) -> None:
    addresses = [f"2001:db8:{n >> 16:x}:{n & 0xFFFF:x}::1" for n in range(70_000)]

    taken = _taken(wrong_keys, *addresses)

    assert taken == MAX_ADDRESSES + LIMIT
    assert _taken(wrong_keys, *addresses[:1] * 50) == LIMIT - 1
