"""Idempotency-Key and If-Match, as they are read from a request's headers."""

import pytest
from starlette.requests import HTTPConnection

from app.conditions import (
    MAX_KEY_LENGTH,
    IdempotencyKeyError,
    PreconditionRequiredError,
    expected_generations,
    idempotency_key,
)


def _request(name: bytes, *values: bytes) -> HTTPConnection:
    """Make a request that sends a header so often."""
    return HTTPConnection(
        {"type": "http", "headers": [(name, value) for value in values]}
    )


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        pytest.param(b"abc", "abc", id="bare"),
        pytest.param(b'"abc"', "abc", id="quoted"),
        pytest.param(b' \t"abc" ', "abc", id="in-blanks"),
        pytest.param(b'" abc "', " abc ", id="blanks-in-quotes"),
        pytest.param(b'""a""', '"a"', id="quotes-in-quotes"),
        pytest.param(b'"', '"', id="one-quote"),
        pytest.param(b'"a', '"a', id="open-quote"),
        pytest.param(b'a"', 'a"', id="quote-at-the-end"),
        pytest.param(b"aba", "aba", id="ends-as-it-begins"),
        pytest.param(b"~ !", "~ !", id="first-and-last-of-ascii"),
        pytest.param(b"k" * 255, "k" * 255, id="255-characters"),
        pytest.param(b'"' + b"k" * 255 + b'"', "k" * 255, id="255-in-quotes"),
    ],
)
def test_a_key_is_what_stands_between_its_quotes(sent: bytes, key: str) -> None:
    assert idempotency_key(_request(b"idempotency-key", sent)) == key


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param([b""], id="empty"),
        pytest.param([b'""'], id="empty-in-quotes"),
        pytest.param([b"k" * 256], id="256-characters"),
        pytest.param([b"k\xe9"], id="not-ascii"),
        pytest.param([b"k\x7f"], id="not-printable"),
        pytest.param([b"k", b"k"], id="twice"),
    ],
)
def test_what_is_no_key_is_refused_with_what_is_one(sent: list[bytes]) -> None:
    with pytest.raises(IdempotencyKeyError) as refusal:
        idempotency_key(_request(b"idempotency-key", *sent))

    expected = f"Idempotency-Key is 1 to {MAX_KEY_LENGTH} printable ASCII characters"
    assert str(refusal.value) == expected


def test_without_the_header_there_is_no_key() -> None:
    assert idempotency_key(_request(b"x-idempotency-key", b"abc")) is None


@pytest.mark.parametrize(
    ("sent", "generations"),
    [
        pytest.param([b'"7"'], {7}, id="one"),
        pytest.param([b' "7"\t'], {7}, id="in-blanks"),
        pytest.param([b'"7", "12"'], {7, 12}, id="two"),
        pytest.param([b'"7"', b'"12"'], {7, 12}, id="two-headers"),
        pytest.param([b'"999999999"'], {999_999_999}, id="nine-digits"),
        pytest.param([b'"1000000000"'], set(), id="ten-digits"),
        pytest.param([b"7"], set(), id="bare"),
        pytest.param([b'W/"7"'], set(), id="weak"),
        pytest.param([b'W/"7", "8"'], {8}, id="weak-and-strong"),
        pytest.param([b'"07"'], set(), id="another-spelling"),
        pytest.param([b'"0"'], set(), id="zero"),
        pytest.param([b'"*"'], set(), id="star-in-quotes"),
        pytest.param([b""], set(), id="empty"),
    ],
)
def test_strong_tags_name_generations(sent: list[bytes], generations: set[int]) -> None:
    assert expected_generations(_request(b"if-match", *sent)) == frozenset(generations)


@pytest.mark.parametrize(
    "sent",
    [[b"*"], [b" * "], [b'"7", *'], [b'"7"', b"*"]],
    ids=["alone", "in-blanks", "beside-a-tag", "beside-a-header"],
)
def test_a_star_names_any_generation(sent: list[bytes]) -> None:
    assert expected_generations(_request(b"if-match", *sent)) is None


def test_without_if_match_the_refusal_says_what_to_send() -> None:
    with pytest.raises(PreconditionRequiredError) as refusal:
        expected_generations(_request(b"if-none-match", b'"7"'))

    expected = "send If-Match with the ETag of GET /models/active, or *"
    assert str(refusal.value) == expected
