"""POST /train: what is refused, without a job being stored."""

import math
from typing import Any, Final

import httpx
import numpy as np
import pytest

from app.schemas import TrainQuery
from app.submission import MAX_ROW_EPOCHS, from_csv
from model import OFFSETS, Table
from tests.app.answers import CSV, EMILY, JSON, assert_problem, faults
from tests.app.training import FOUR, FOUR_IN_ALL_SHAPES, SAMPLE, newest


def test_c1_examples_of_one_class_are_refused(client: httpx.Client) -> None:
    before = newest(client)

    response = client.post("/train", json={"examples": [FOUR[0], FOUR[3]]})

    assert_problem(response, 422, "single-class")
    assert newest(client) == before


def test_c1_a_csv_of_one_class_is_refused(client: httpx.Client) -> None:
    before = newest(client)

    response = client.post(
        "/train", content="weight_lb,height_in,label\n1,1,M\n2,2,male\n", headers=CSV
    )

    assert_problem(response, 422, "single-class")
    assert newest(client) == before


def _examples(label: object) -> dict[str, Any]:
    """Write a request whose second person has this label."""
    return {"examples": [FOUR[0], {**FOUR[1], "label": label}]}


LABEL: Final = "/examples/1/label"
REFUSED: Final = [
    pytest.param({"examples": []}, "/examples", "too_short", id="C2-no-rows"),
    pytest.param({"examples": FOUR[:1]}, "/examples", "too_short", id="C2-one-row"),
    pytest.param({"examples": None}, "/examples", "list_type", id="null examples"),
    pytest.param(_examples(True), LABEL, "literal_error", id="C5-true"),  # noqa: FBT003
    pytest.param(_examples(1), LABEL, "literal_error", id="C5-1"),
    pytest.param(_examples(2), LABEL, "literal_error", id="C5-2"),
    pytest.param(_examples(0.5), LABEL, "literal_error", id="C5-half"),
    pytest.param(_examples("1"), LABEL, "literal_error", id="C5-text-1"),
    pytest.param(_examples("Female"), LABEL, "literal_error", id="C5-Female"),
    pytest.param(_examples("f"), LABEL, "literal_error", id="C5-small"),
    pytest.param(_examples(None), LABEL, "literal_error", id="C5-null"),
    pytest.param({"examples": [FOUR[0], EMILY]}, LABEL, "missing", id="label missing"),
    pytest.param(
        {"examples": [FOUR[0], {**FOUR[1], "x": 1}]},
        "/examples/1",
        "extra_forbidden",
        id="unknown key of a person",
    ),
    pytest.param(
        {"examples": [FOUR[0], FOUR_IN_ALL_SHAPES["imperial"][1]]},
        "/examples/1/weight_offset",
        "missing",
        id="two shapes",
    ),
    pytest.param({"x": 1}, "", "extra_forbidden", id="unknown key"),
    pytest.param({"config": {"x": 1}}, "/config", "extra_forbidden", id="setting"),
    pytest.param({"config": None}, "/config", "model_type", id="null config"),
    pytest.param({"promote": "maybe"}, "/promote", "literal_error", id="promote"),
    pytest.param({"note": "x" * 201}, "/note", "string_too_long", id="long note"),
    pytest.param({"note": "a\nb"}, "/note", "printable", id="two-line note"),
    pytest.param({"note": "\x1b[31m"}, "/note", "printable", id="coloured note"),
    pytest.param({"note": 5}, "/note", "string_type", id="number as note"),
    pytest.param([], "", "model_type", id="list"),
]
OUT_OF_RANGE: Final = [
    ("hidden_units", 0),
    ("hidden_units", 65),
    ("hidden_units", 2.0),
    ("hidden_units", True),
    ("hidden_units", "2"),
    ("hidden_units", None),
    ("loss", "mae"),
    ("learning_rate", 0),
    ("learning_rate", -0.1),
    ("learning_rate", math.nextafter(1, 2)),
    ("learning_rate", 1e6),
    ("momentum", -0.1),
    ("momentum", 1),
    ("batch_size", 0),
    ("batch_size", 1_000_001),
    ("epochs", 0),
    ("epochs", -1),
    ("epochs", 10_001),
    ("epochs", 1e308),
    ("epochs", 2.0),
    ("epochs", None),
    ("patience", 0),
    ("patience", 10_001),
    ("patience", "null"),
    ("standardize", 1),
    ("standardize", "true"),
    ("shuffle", None),
    ("holdout", -0.1),
    ("holdout", 0.51),
    ("seed", -1),
    ("seed", 2**32),
    ("seed", 1.5),
]


@pytest.mark.parametrize(("request_body", "pointer", "code"), REFUSED)
def test_c2_c5_a_request_that_breaks_a_rule_stores_no_job(
    client: httpx.Client, request_body: object, pointer: str, code: str
) -> None:
    before = newest(client)

    response = client.post("/train", json=request_body)

    assert_problem(response, 422, "invalid")
    assert (pointer, code) in faults(response)
    assert newest(client) == before


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE, ids=str)
def test_c6_c7_a_setting_out_of_its_range_stores_no_job(
    client: httpx.Client, name: str, value: object
) -> None:
    before = newest(client)

    response = client.post("/train", json={"config": {name: value}})

    assert_problem(response, 422, "invalid")
    assert [pointer for pointer, _ in faults(response)] == [f"/config/{name}"]
    assert newest(client) == before


@pytest.mark.parametrize("name", ["learning_rate", "momentum", "holdout"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_c6_a_setting_is_finite(client: httpx.Client, name: str, value: str) -> None:
    body = f'{{"config": {{"{name}": {value}}}}}'

    response = client.post("/train", content=body, headers=JSON)

    assert_problem(response, 422, "invalid")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        pytest.param("epochs=0", "epochs", id="epochs"),
        pytest.param("epochs=many", "epochs", id="text"),
        pytest.param("epochs=", "epochs", id="nothing"),
        pytest.param("patience=0", "patience", id="patience"),
        pytest.param("learning_rate=nan", "learning_rate", id="NaN"),
        pytest.param("seed=4294967296", "seed", id="seed"),
        pytest.param("promote=maybe", "promote", id="promote"),
        pytest.param("note=%00", "note", id="note"),
        pytest.param("standardize=perhaps", "standardize", id="bool"),
    ],
)
def test_a_bad_query_parameter_of_a_csv_is_named(
    client: httpx.Client, query: str, parameter: str
) -> None:
    response = client.post(f"/train?{query}", content=SAMPLE, headers=CSV)

    assert_problem(response, 422, "invalid")
    assert [where for where, _ in faults(response)] == [parameter]


@pytest.mark.parametrize(
    "headers", [pytest.param(CSV, id="CSV"), pytest.param(JSON, id="JSON")]
)
def test_an_unknown_query_parameter_stores_no_job(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    before = newest(client)

    response = client.post(
        "/train?epoch=5", content=SAMPLE if headers is CSV else "{}", headers=headers
    )

    assert_problem(response, 422, "invalid")
    assert faults(response) == [("extra_forbidden",)]
    assert newest(client) == before


@pytest.mark.parametrize("body", ["", "{}"], ids=["empty", "JSON"])
def test_settings_of_a_json_request_do_not_stand_in_the_query(
    client: httpx.Client, body: str
) -> None:
    response = client.post("/train?epochs=5", content=body, headers=JSON)

    assert_problem(response, 422, "invalid")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param("1,1\n", (2, None, "columns"), id="cell missing"),
        pytest.param("1,1,F\n1,1,X\n", (3, "label", "label"), id="C5-label"),
        pytest.param("1,1,1\n", (2, "label", "label"), id="C5-number"),
        pytest.param("1,1,\n", (2, "label", "label"), id="C5-nothing"),
        pytest.param("1,,F\n", (2, "height_in", "float_parsing"), id="no height"),
        pytest.param("0,1,F\n", (2, "weight_lb", "out_of_range"), id="no weight"),
    ],
)
def test_c5_a_bad_csv_stores_no_job(
    client: httpx.Client, rows: str, expected: tuple[int, str | None, str]
) -> None:
    before = newest(client)

    response = client.post(
        "/train", content=f"weight_lb,height_in,label\n{rows}", headers=CSV
    )

    assert_problem(response, 422, "invalid")
    assert faults(response) == [expected]
    assert newest(client) == before


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "=cmd()",
        "\x1b[31m",
        "w" * 9_999,
    ],
    ids=["markup", "path", "formula", "colour", "long"],
)
def test_c17_a_column_of_another_name_is_refused_without_it(
    client: httpx.Client, name: str
) -> None:
    before = newest(client)

    response = client.post(
        "/train", content=f"weight_lb,height_in,{name},label\n1,1,1,F\n", headers=CSV
    )

    assert_problem(response, 422, "invalid")
    assert name not in response.text
    assert newest(client) == before


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_c5_no_number_is_a_label(client: httpx.Client, number: str) -> None:
    person = '{"weight_offset": 1, "height_offset": 1, "label": %s}'
    body = f'{{"examples": [{person % number}, {person % number}]}}'

    response = client.post("/train", content=body, headers=JSON)

    assert_problem(response, 422, "invalid")
    assert (LABEL, "literal_error") in faults(response)


def test_c2_an_empty_csv_stores_no_job(client: httpx.Client) -> None:
    response = client.post("/train", headers=CSV)

    assert_problem(response, 422, "invalid")


def test_c2_a_csv_of_one_person_stores_no_job(client: httpx.Client) -> None:
    before = newest(client)

    response = client.post(
        "/train", content="weight_lb,height_in,label\n1,1,F\n", headers=CSV
    )

    assert_problem(response, 422, "single-class")
    assert newest(client) == before


@pytest.mark.parametrize("epochs", [1, 10_000])
def test_c7_epochs_may_be_as_few_and_as_many_as_their_bounds(
    client: httpx.Client, epochs: int
) -> None:
    body = {"examples": FOUR, "config": {"epochs": epochs}}

    response = client.post("/train?dry_run=true", json=body)

    assert response.status_code == 200


def test_a_csv_without_labels_stores_no_job(client: httpx.Client) -> None:
    response = client.post("/train", content="weight_lb,height_in\n1,1\n", headers=CSV)

    assert faults(response) == [(1, None, "header")]


def test_a_csv_with_a_byte_order_mark_is_malformed(client: httpx.Client) -> None:
    response = client.post("/train", content="\ufeff" + SAMPLE, headers=CSV)

    assert_problem(response, 400, "malformed")


def test_a_csv_with_line_ends_of_old_macs_is_refused(client: httpx.Client) -> None:
    response = client.post(
        "/train",
        content=SAMPLE.replace("\n", "\r"),
        headers={**CSV, "Connection": "close"},
    )

    assert_problem(response, 422, "invalid")


def test_c8_work_over_the_budget_stores_no_job(client: httpx.Client) -> None:
    before = newest(client)
    body = "weight_offset,height_offset,label\n1,1,F\n" + "2,2,M\n" * 100_000

    response = client.post("/train?epochs=10000", content=body, headers=CSV)

    assert_problem(response, 422, "work-budget")
    assert newest(client) == before


def test_c8_exactly_the_work_budget_may_be_spent() -> None:
    rows = MAX_ROW_EPOCHS // 10_000
    table = Table(
        header=OFFSETS.columns,
        units=OFFSETS,
        values=np.arange(2.0 * rows).reshape(rows, 2),
        y=np.arange(1.0 * rows)[:, None] % 2,
    )

    submission = from_csv(table, TrainQuery(epochs=10_000))

    assert len(submission.data) * submission.config.epochs == MAX_ROW_EPOCHS


@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param(None, id="none"),
        pytest.param("text/plain", id="text"),
        pytest.param("application/x-www-form-urlencoded", id="curl"),
        pytest.param("multipart/form-data; boundary=x", id="multipart"),
        pytest.param("application/octet-stream", id="bytes"),
        pytest.param("application/json; charset=latin-1", id="charset"),
        pytest.param("text/csv; charset=utf-16", id="csv-charset"),
    ],
)
def test_a14_another_media_type_is_refused(
    client: httpx.Client, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}

    response = client.post("/train", content=b"{}", headers=headers)

    assert_problem(response, 415, "media-type")
    assert response.headers["Accept-Post"] == "application/json, text/csv"


@pytest.mark.parametrize("headers", [JSON, CSV], ids=["JSON", "CSV"])
def test_b5_a_compressed_body_is_refused(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    response = client.post(
        "/train", content=b"{}", headers={**headers, "Content-Encoding": "gzip"}
    )

    assert_problem(response, 415, "content-coding")
    assert response.headers["Accept-Encoding"] == "identity"


def test_json_over_256_kib_is_too_large(client: httpx.Client) -> None:
    response = client.post("/train", content=b"{}".ljust(256 * 1024 + 1), headers=JSON)

    assert_problem(response, 413, "too-large")
