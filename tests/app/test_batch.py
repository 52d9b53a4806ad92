"""POST /predict/batch: up to 1,000 people, from JSON or CSV, in order."""

from collections.abc import Sequence
from typing import Any, Final

import httpx
import pytest

from tests.app.answers import CSV, EMILY, assert_problem, faults

KG, CM = 0.45359237, 2.54
PEOPLE: Final = [
    {"weight_offset": (7 * n) % 61 - 30.5, "height_offset": (5 * n) % 17 - 8.25}
    for n in range(1000)
]
HEADERS: Final = [
    "weight_offset,height_offset",
    "height_offset,weight_offset",
    "weight_lb,height_in",
    "height_in,weight_lb",
    "weight_kg,height_cm",
    "height_cm,weight_kg",
]


def _predictions(
    client: httpx.Client, people: Sequence[dict[str, float]]
) -> list[dict[str, Any]]:
    response = client.post("/predict/batch", json={"instances": people})
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


def _post_csv(client: httpx.Client, content: str | bytes) -> httpx.Response:
    """Send a CSV on a connection of its own."""
    headers = {**CSV, "Connection": "close"}
    return client.post("/predict/batch", content=content, headers=headers)


def _in_units(person: dict[str, float], header: str) -> str:
    """Write a person given in offsets as a row below the header."""
    pounds, inches = person["weight_offset"] + 135, person["height_offset"] + 66
    cells = {
        **person,
        "weight_lb": pounds,
        "height_in": inches,
        "weight_kg": pounds * KG,
        "height_cm": inches * CM,
    }
    return ",".join(str(cells[name]) for name in header.split(","))


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_a11_there_is_one_prediction_for_each_row(
    client: httpx.Client, rows: int
) -> None:
    predictions = _predictions(client, PEOPLE[:rows])

    assert len(predictions) == rows


def test_an_answer_has_exactly_the_documented_members(client: httpx.Client) -> None:
    response = client.post("/predict/batch", json={"instances": [EMILY]})

    answer = response.json()
    assert answer.keys() == {"predictions", "model_version"}
    assert answer["predictions"][0].keys() == {"probability", "label", "extrapolating"}


def test_the_order_is_kept(client: httpx.Client) -> None:
    forwards = _predictions(client, PEOPLE)

    backwards = _predictions(client, PEOPLE[::-1])

    assert [one["label"] for one in backwards[::-1]] == [
        one["label"] for one in forwards
    ]
    assert [one["probability"] for one in backwards[::-1]] == pytest.approx(
        [one["probability"] for one in forwards], abs=1e-15
    )


def test_a_row_does_not_depend_on_its_batch(client: httpx.Client) -> None:
    alone = [client.post("/predict", json=one).json() for one in PEOPLE[:50]]

    together = _predictions(client, PEOPLE)[:50]

    assert [one["probability"] for one in together] == pytest.approx(
        [one["probability"] for one in alone], rel=0, abs=1e-15
    )


def test_the_label_is_f_from_one_half(client: httpx.Client) -> None:
    predictions = _predictions(client, PEOPLE)

    assert {(one["probability"] >= 0.5, one["label"]) for one in predictions} == {
        (True, "F"),
        (False, "M"),
    }


def test_a_pinned_version_answers_a_batch(client: httpx.Client) -> None:
    body = {"instances": [EMILY]}

    known = client.post("/predict/batch?model_version=1", json=body)
    unknown = client.post("/predict/batch?model_version=999", json=body)

    assert known.json()["model_version"] == 1
    assert_problem(unknown, 404, "not-found")


@pytest.mark.parametrize(
    ("instances", "expected"),
    [
        pytest.param([], [("/instances", "too_short")], id="empty"),
        pytest.param([EMILY] * 1001, [("/instances", "too_long")], id="1001 rows"),
        pytest.param({}, [("/instances", "list_type")], id="no list"),
        pytest.param([5], [("/instances/0", "dict_type")], id="no person"),
        pytest.param(
            [EMILY, {"weight_offset": "x", "height_offset": 0}],
            [("/instances/1/weight_offset", "float_type")],
            id="text in the second row",
        ),
        pytest.param(
            [EMILY, {"weight_lb": 128, "height_in": 63}],
            [
                ("/instances/1/weight_offset", "missing"),
                ("/instances/1/height_offset", "missing"),
                ("/instances/1", "extra_forbidden"),
                ("/instances/1", "extra_forbidden"),
            ],
            id="second row of another shape",
        ),
    ],
)
def test_a10_a11_a_bad_batch_is_refused_with_pointers(
    client: httpx.Client, instances: object, expected: list[tuple[str, str]]
) -> None:
    response = client.post("/predict/batch", json={"instances": instances})

    assert_problem(response, 422, "invalid")
    assert faults(response) == expected


def test_a11_25_thousand_rows_are_refused(client: httpx.Client) -> None:
    body = b'{"instances":[' + b",".join([b"{}"] * 25_000) + b"]}"

    response = client.post("/predict/batch", content=body)

    assert_problem(response, 422, "invalid")
    assert ("/instances", "too_long") in faults(response)


def test_a11_100_thousand_rows_are_too_large(client: httpx.Client) -> None:
    body = b'{"instances":[' + b",".join([b"{}"] * 100_000) + b"]}"

    response = client.post("/predict/batch", content=body)

    assert_problem(response, 413, "too-large")


@pytest.mark.parametrize("header", HEADERS)
def test_a_csv_comes_back_with_its_columns_and_ours(
    client: httpx.Client, header: str
) -> None:
    rows = [_in_units(person, header) for person in PEOPLE]

    response = _post_csv(client, "\n".join([header, *rows]) + "\n")

    first, *lines = response.text.splitlines()
    assert first == f"{header},probability,label,extrapolating"
    assert [_floats(line, 2) for line in lines] == [_floats(row, 2) for row in rows]


@pytest.mark.parametrize("header", HEADERS)
def test_a_csv_gets_the_answers_that_json_gets(
    client: httpx.Client, header: str
) -> None:
    expected = _predictions(client, PEOPLE)
    rows = [_in_units(person, header) for person in PEOPLE]

    response = _post_csv(client, "\n".join([header, *rows]))

    answers = [line.split(",")[2:] for line in response.text.splitlines()[1:]]
    assert [answer[1] for answer in answers] == [one["label"] for one in expected]
    assert [float(answer[0]) for answer in answers] == pytest.approx(
        [one["probability"] for one in expected], abs=1e-12
    )


def test_a_csv_tells_who_is_far_out(client: httpx.Client) -> None:
    response = _post_csv(client, "weight_offset,height_offset\n0,0\n900,0\n")

    _, inside, outside = response.text.splitlines()
    assert (inside.split(",")[-1], outside.split(",")[-1]) == ("false", "true")


def test_a_csv_answer_says_which_version_and_type_it_is(client: httpx.Client) -> None:
    response = _post_csv(client, "weight_offset,height_offset\n0,0\n")

    assert response.headers["X-Model-Version"] == "1"
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("height_in,weight_lb\r\n63,128\r\n", id="line ends of Windows"),
        pytest.param("height_in,weight_lb\n63,128", id="no last line end"),
        pytest.param("height_in,weight_lb\n\n63,128\n\n", id="blank lines"),
        pytest.param('"height_in","weight_lb"\n"63","128"\n', id="quotes"),
        pytest.param("height_in , weight_lb\n 63 ,128\n", id="spaces"),
        pytest.param("height_in,weight_lb\n6.3e1,+128.0\n", id="exponents and signs"),
    ],
)
def test_csv_dialects_are_read(client: httpx.Client, content: str) -> None:
    response = _post_csv(client, content)

    assert response.text.splitlines()[1].startswith("63,128,0.9")


@pytest.mark.parametrize("media_type", ["TEXT/CSV", "text/csv; charset=utf-8"])
def test_csv_is_known_by_its_media_type(client: httpx.Client, media_type: str) -> None:
    response = client.post(
        "/predict/batch",
        content="weight_offset,height_offset\n0,0\n",
        headers={"Content-Type": media_type},
    )

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("", (1, None, "header"), id="empty"),
        pytest.param("weight_lb\n1\n", (1, None, "header"), id="one column"),
        pytest.param("weight_lb,height_cm\n1,1\n", (1, None, "header"), id="mixed"),
        pytest.param("a,b\n1,1\n", (1, None, "header"), id="other columns"),
        pytest.param(
            "weight_lb,height_in,label\n1,1,F\n", (1, None, "header"), id="label"
        ),
        pytest.param("1,1\n1,1\n", (1, None, "header"), id="no header"),
        pytest.param(
            "weight_lb,height_in\n1\n", (2, None, "columns"), id="a cell missing"
        ),
        pytest.param(
            "weight_lb,height_in\n1,1,1\n", (2, None, "columns"), id="a cell too many"
        ),
        pytest.param(
            "height_in,weight_lb\n1,1\n1,x\n",
            (3, "weight_lb", "float_parsing"),
            id="text",
        ),
        pytest.param(
            "weight_lb,height_in\n1,\n", (2, "height_in", "float_parsing"), id="nothing"
        ),
        pytest.param(
            "weight_lb,height_in\n1_0,1\n",
            (2, "weight_lb", "float_parsing"),
            id="underscore",
        ),
        pytest.param(
            "weight_lb,height_in\nnan,1\n", (2, "weight_lb", "out_of_range"), id="NaN"
        ),
        pytest.param(
            "weight_lb,height_in\n1e999,1\n",
            (2, "weight_lb", "out_of_range"),
            id="overflow",
        ),
        pytest.param(
            "weight_lb,height_in\n0,1\n", (2, "weight_lb", "out_of_range"), id="zero"
        ),
        pytest.param(
            "weight_offset,height_offset\n1,1000.1\n",
            (2, "height_offset", "out_of_range"),
            id="past the bound",
        ),
        pytest.param(
            'weight_lb,height_in\n"1,1\n', (2, None, "csv"), id="quote not closed"
        ),
    ],
)
def test_a_bad_csv_is_refused_with_row_and_column(
    client: httpx.Client, content: str, expected: tuple[int, str | None, str]
) -> None:
    response = _post_csv(client, content)

    assert_problem(response, 422, "invalid")
    assert faults(response) == [expected]


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        pytest.param(0, "too_short", id="none"),
        pytest.param(1001, "too_long", id="1001"),
    ],
)
def test_a10_a11_a_csv_has_from_1_to_1000_rows(
    client: httpx.Client, rows: int, code: str
) -> None:
    response = _post_csv(client, "weight_lb,height_in\n" + "1,1\n" * rows)

    assert_problem(response, 422, "invalid")
    assert response.json()["errors"][0]["code"] == code


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"weight_lb,height_in\r128,63\r", id="line ends of old Macs"),
        pytest.param(b"w" * 140_000 + b"\n1,1\n", id="header of 140 KB"),
        pytest.param(b"weight_lb,height_in\n" + b"1" * 140_000, id="cell of 140 KB"),
        pytest.param(b"weight_lb,height_in\n1\x00,1\n", id="NUL"),
    ],
)
def test_a_csv_that_cannot_be_split_is_refused(
    client: httpx.Client, content: bytes
) -> None:
    response = _post_csv(client, content)

    assert_problem(response, 422, "invalid")


def test_a8_the_first_20_faults_of_a_csv_are_told(client: httpx.Client) -> None:
    response = _post_csv(client, "weight_lb,height_in\n" + "x,1\n" * 30)

    assert_problem(response, 422, "invalid")
    assert faults(response) == [
        (row, "weight_lb", "float_parsing") for row in range(2, 22)
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            b"\xef\xbb\xbfweight_lb,height_in\n1,1\n",
            (1, None, "byte_order_mark"),
            id="BOM",
        ),
        pytest.param(
            b"weight_lb,height_in\n1,1\n\xff,1\n", (3, None, "not_utf8"), id="bad-UTF-8"
        ),
        pytest.param(
            "weight_lb,height_in\n1,1\n".encode("utf-16"),
            (1, None, "not_utf8"),
            id="UTF-16",
        ),
    ],
)
def test_a12_a_csv_in_another_encoding_is_malformed(
    client: httpx.Client, content: bytes, expected: tuple[int, None, str]
) -> None:
    response = _post_csv(client, content)

    assert_problem(response, 400, "malformed")
    assert faults(response) == [expected]


def _floats(line: str, count: int) -> list[float]:
    return [float(cell) for cell in line.split(",")[:count]]
