"""POST /predict: one person in, one probability out."""

import math
from collections.abc import Mapping
from typing import Any, Final

import httpx
import numpy as np
import pytest

from model import load, predict_proba
from tests.app.answers import CSV, EMILY, assert_problem, faults
from tests.app.wire import exchange
from tests.server import Server

KG, CM = 0.45359237, 2.54
FRANK: Final = {"weight_offset": 20, "height_offset": 2}
EMILY_IN_ALL_SHAPES: Final = {
    "offsets": EMILY,
    "imperial": {"weight_lb": 128, "height_in": 63},
    "metric": {"weight_kg": 128 * KG, "height_cm": 63 * CM},
}


def _predict(client: httpx.Client, weight: float, height: float) -> dict[str, Any]:
    person = {"weight_offset": weight, "height_offset": height}
    answer: dict[str, Any] = client.post("/predict", json=person).json()
    return answer


@pytest.mark.parametrize(
    ("person", "label"),
    [pytest.param(EMILY, "F", id="Emily"), pytest.param(FRANK, "M", id="Frank")],
)
def test_the_article_s_strangers_get_their_labels(
    client: httpx.Client, person: Mapping[str, float], label: str
) -> None:
    response = client.post("/predict", json=person)

    assert response.json()["label"] == label


def test_an_answer_has_exactly_the_documented_members(client: httpx.Client) -> None:
    answer = client.post("/predict", json=EMILY).json()

    assert {name: type(value) for name, value in answer.items()} == {
        "probability": float,
        "label": str,
        "model_version": int,
        "extrapolating": bool,
    }


@pytest.mark.parametrize(
    "person", EMILY_IN_ALL_SHAPES.values(), ids=EMILY_IN_ALL_SHAPES
)
def test_the_three_shapes_agree(
    client: httpx.Client, person: Mapping[str, float]
) -> None:
    expected = client.post("/predict", json=EMILY).json()["probability"]

    answer = client.post("/predict", json=person).json()

    assert answer["probability"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "person",
    [
        pytest.param(EMILY, id="Emily"),
        pytest.param(FRANK, id="Frank"),
        pytest.param({"weight_offset": 0, "height_offset": 0}, id="origin"),
        pytest.param({"weight_offset": 1.1, "height_offset": -2.7}, id="fractions"),
        pytest.param({"weight_offset": -1e4, "height_offset": 1e3}, id="far away"),
    ],
)
def test_a_probability_can_be_recomputed_offline_bit_for_bit(
    client: httpx.Client, person: Mapping[str, float]
) -> None:
    params = load(client.get("/models/1/weights").content).params

    answer = client.post("/predict?model_version=1", json=person).json()

    expected = predict_proba(params, np.array([list(person.values())], np.float64))
    assert answer["probability"] == expected.item()


def test_the_label_turns_where_the_probability_passes_one_half(
    client: httpx.Client,
) -> None:
    female, male = -7.0, 20.0

    while female < (middle := (female + male) / 2) < male:
        if _predict(client, middle, 0)["label"] == "F":
            female = middle
        else:
            male = middle

    assert _predict(client, female, 0)["probability"] >= 0.5
    assert _predict(client, male, 0)["probability"] < 0.5


@pytest.mark.parametrize(
    ("weight", "height", "is_outside"),
    [
        pytest.param(0, 0, False, id="inside"),
        pytest.param(-15, -6, False, id="lowest corner"),
        pytest.param(25, 6, False, id="highest corner"),
        pytest.param(math.nextafter(25, 26), 0, True, id="heavier"),
        pytest.param(math.nextafter(-15, -16), 0, True, id="lighter"),
        pytest.param(0, math.nextafter(6, 7), True, id="taller"),
        pytest.param(0, math.nextafter(-6, -7), True, id="shorter"),
    ],
)
def test_extrapolating_says_that_nobody_in_training_was_out_there(
    client: httpx.Client, weight: float, height: float, *, is_outside: bool
) -> None:
    answer = _predict(client, weight, height)

    assert answer["extrapolating"] is is_outside


@pytest.mark.parametrize(
    "person",
    [*EMILY_IN_ALL_SHAPES.values(), FRANK, {"weight_offset": 0, "height_offset": 0}],
    ids=[*EMILY_IN_ALL_SHAPES, "Frank", "origin"],
)
def test_an_explanation_sums_to_the_probability(
    client: httpx.Client, person: Mapping[str, float]
) -> None:
    answer = client.post("/predict?explain=true", json=person).json()

    assert answer["explanation"].keys() == {"baseline", "weight", "height"}
    assert sum(answer["explanation"].values()) == pytest.approx(
        answer["probability"], abs=1e-12
    )


def test_an_explanation_holds_the_shapley_values(client: httpx.Client) -> None:
    neither, both = _predict(client, 0, 0), _predict(client, 20, 2)
    weight, height = _predict(client, 20, 0), _predict(client, 0, 2)
    f0, fw, fh, fwh = (one["probability"] for one in (neither, weight, height, both))

    answer = client.post("/predict?explain=true", json=FRANK).json()

    assert answer["explanation"] == pytest.approx(
        {
            "baseline": f0,
            "weight": ((fw - f0) + (fwh - fh)) / 2,
            "height": ((fh - f0) + (fwh - fw)) / 2,
        },
        abs=1e-12,
    )


def test_a_malformed_explain_is_refused(client: httpx.Client) -> None:
    response = client.post("/predict?explain=perhaps", json=EMILY)

    assert_problem(response, 422, "invalid")
    assert faults(response) == [("explain", "bool_parsing")]


def test_unknown_query_parameters_are_ignored(client: httpx.Client) -> None:
    response = client.post("/predict?utm_source=mail&key=x", json=EMILY)

    assert response.status_code == 200


def test_a_pinned_version_answers(client: httpx.Client) -> None:
    response = client.post("/predict?model_version=1", json=EMILY)

    assert response.json()["model_version"] == 1


@pytest.mark.parametrize(
    "pin",
    [
        pytest.param("999", id="unknown"),
        pytest.param("0", id="zero"),
        pytest.param("-1", id="negative"),
        pytest.param("abc", id="malformed"),
        pytest.param("1.0", id="decimal"),
        pytest.param("%201", id="space"),
        pytest.param("%2B1", id="plus"),
        pytest.param("1_0", id="underscore"),
        pytest.param("%D9%A1", id="arabic-digit"),
        pytest.param("", id="empty"),
        pytest.param("../../etc/passwd", id="path"),
        pytest.param("%2e%2e%2f%2e%2e%2fetc%2fpasswd", id="encoded-path"),
        pytest.param("%00", id="nul"),
        pytest.param("%FF", id="not-utf8"),
        pytest.param("2147483648", id="beyond-32-bits"),
        pytest.param("9223372036854775808", id="beyond-64-bits"),
        pytest.param("9" * 4_000, id="4-KB"),
    ],
)
def test_a16_a_pin_that_names_no_version_is_not_found(
    client: httpx.Client, pin: str
) -> None:
    response = client.post(f"/predict?model_version={pin}", json=EMILY)

    assert_problem(response, 404, "not-found")


def test_a16_a_pin_of_100_kb_is_too_much_of_a_head(server: Server) -> None:
    line = f"POST /predict?model_version={'9' * 100_000} HTTP/1.1\r\n"

    answer = exchange(server.port, line.encode())

    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", b'{"weight_offset": -7, "height_offset": -3}'),
        ("/predict/batch", b'{"instances": [{"weight_lb": 128, "height_in": 63}]}'),
    ],
    ids=["one", "batch"],
)
@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param("application/json", id="json"),
        pytest.param("application/json; charset=UTF-8", id="json-utf8"),
        pytest.param('application/json; charset="utf-8"', id="quoted-utf8"),
        pytest.param("text/plain", id="text"),
        pytest.param("application/x-www-form-urlencoded", id="curl"),
        pytest.param("multipart/form-data; boundary=x", id="multipart"),
        pytest.param("application/octet-stream", id="bytes"),
        pytest.param("nonsense", id="nonsense"),
    ],
)
def test_a14_json_is_read_under_any_content_type(
    client: httpx.Client, path: str, body: bytes, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}

    response = client.post(path, content=body, headers=headers)

    assert response.status_code == 200
    assert b'"label":"F"' in response.content


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "us-ascii", ""])
def test_a14_another_charset_than_utf8_is_refused(
    client: httpx.Client, path: str, charset: str
) -> None:
    headers = {"Content-Type": f"application/json; charset={charset}"}

    response = client.post(path, json=EMILY, headers=headers)

    assert_problem(response, 415, "media-type")
    assert response.headers["Accept-Post"] == "application/json, text/csv"


def test_a14_one_person_is_not_read_from_csv(client: httpx.Client) -> None:
    response = client.post("/predict", json=EMILY, headers=CSV)

    assert_problem(response, 415, "media-type")


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip", "x"])
def test_b5_a_content_coding_is_refused(client: httpx.Client, coding: str) -> None:
    response = client.post("/predict", json=EMILY, headers={"Content-Encoding": coding})

    assert_problem(response, 415, "content-coding")
    assert response.headers["Accept-Encoding"] == "identity"


def test_the_identity_coding_is_none(client: httpx.Client) -> None:
    response = client.post(
        "/predict", json=EMILY, headers={"Content-Encoding": "identity"}
    )

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("bounded", "bound", "other"),
    [
        ("weight_offset", 10_000.0, {"height_offset": 0}),
        ("weight_offset", -10_000.0, {"height_offset": 0}),
        ("height_offset", 1_000.0, {"weight_offset": 0}),
        ("height_offset", -1_000.0, {"weight_offset": 0}),
        ("weight_lb", 10_135.0, {"height_in": 66}),
        ("height_in", 1_066.0, {"weight_lb": 135}),
        ("weight_kg", 10_135 * KG, {"height_cm": 168}),
        ("height_cm", 1_066 * CM, {"weight_kg": 61}),
    ],
)
def test_a6_a_number_is_taken_up_to_its_bound(
    client: httpx.Client, bounded: str, bound: float, other: Mapping[str, float]
) -> None:
    beyond = math.nextafter(bound, math.copysign(math.inf, bound))

    at_bound = client.post("/predict", json={bounded: bound, **other})
    past_bound = client.post("/predict", json={bounded: beyond, **other})

    assert 0 <= at_bound.json()["probability"] <= 1
    assert_problem(past_bound, 422, "invalid")
    assert faults(past_bound)[0][0] == f"/{bounded}"


@pytest.mark.parametrize("number", [0, 0.0, -0.0, -1, -5e-324], ids=repr)
@pytest.mark.parametrize("zeroed", ["weight_lb", "height_in", "weight_kg", "height_cm"])
def test_a_whole_weight_or_height_is_above_zero(
    client: httpx.Client, zeroed: str, number: float
) -> None:
    units = ("weight_lb", "height_in")
    if zeroed not in units:
        units = ("weight_kg", "height_cm")

    response = client.post(
        "/predict", json={**dict.fromkeys(units, 100), zeroed: number}
    )

    assert_problem(response, 422, "invalid")
    assert faults(response) == [(f"/{zeroed}", "greater_than")]


def test_a6_the_smallest_weight_and_height_are_taken(client: httpx.Client) -> None:
    response = client.post("/predict", json={"weight_lb": 5e-324, "height_in": 5e-324})

    assert response.status_code == 200


@pytest.mark.parametrize("stray", ["weight_offset", "x_offset", "height_offset"])
def test_a8_a_stray_key_is_the_only_fault(client: httpx.Client, stray: str) -> None:
    person = {"weight_lb": 128, "height_in": 63, stray: 1}

    response = client.post("/predict", json=person)

    assert [error["code"] for error in response.json()["errors"]] == ["extra_forbidden"]
