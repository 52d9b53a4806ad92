"""POST /train?dry_run=true: everything is checked and measured, nothing is stored."""

from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import func, select

from app.store import Store
from app.tables import datasets, jobs, models
from model import ARTICLE_CONFIG, ARTICLE_PEOPLE, CsvReader, evaluate, load
from tests.app.answers import CSV, JSON, assert_problem, faults
from tests.app.training import FOUR, FOUR_IN_ALL_SHAPES, SAMPLE, train_on_csv
from tests.server import Server

HEADER: Final = "weight_lb,height_in,label\n"
CONFLICT: Final = [
    {"weight_offset": 1, "height_offset": 2, "label": label} for label in "FMF"
]


@pytest.fixture
def client(trainer: Server) -> httpx.Client:
    """A client of the server that tests train on, with each engine in turn."""
    return trainer.client


@pytest.fixture
def store(trainer: Server) -> Iterator[Store]:
    """That server's database."""
    opened = Store(trainer.settings())
    yield opened
    opened.close()


def _count(store: Store) -> list[int | None]:
    """Count the jobs, datasets and versions."""
    with store.read() as connection:
        return [
            connection.scalar(select(func.count()).select_from(table))
            for table in (jobs, datasets, models)
        ]


def _dry_json(client: httpx.Client, **request: Any) -> httpx.Response:
    return client.post("/train?dry_run=true", json=request)


def _dry_csv(client: httpx.Client, content: str, query: str = "") -> httpx.Response:
    return client.post(f"/train?dry_run=true{query}", content=content, headers=CSV)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param({}, id="empty body"),
        pytest.param({"json": {"examples": FOUR[::-1]}}, id="JSON"),
        pytest.param({"content": HEADER + "1,2,F\n3,4,M\n", "headers": CSV}, id="CSV"),
    ],
)
def test_a_dry_run_stores_nothing(
    client: httpx.Client, store: Store, request_: dict[str, Any]
) -> None:
    before = _count(store)

    response = client.post("/train?dry_run=true", **request_)

    assert response.status_code == 200
    assert response.headers.keys().isdisjoint({"location", "retry-after"})
    assert _count(store) == before


def test_an_empty_dry_run_describes_the_article_s_training(
    client: httpx.Client,
) -> None:
    answer = client.post("/train?dry_run=true").json()

    assert answer == {
        "rows": 4,
        "labels": {"F": 2, "M": 2},
        "split": {"training": 4, "holdout": 0},
        "conflicting_rows": 0,
        "dataset_sha256": ARTICLE_PEOPLE.sha256,
        "config": ARTICLE_CONFIG.to_dict(),
        "promote": "if_better",
        "warnings": [],
        "champion": None,
    }


@pytest.mark.parametrize("shape", FOUR_IN_ALL_SHAPES)
def test_people_in_every_shape_are_counted(client: httpx.Client, shape: str) -> None:
    answer = _dry_json(client, examples=FOUR_IN_ALL_SHAPES[shape][1:]).json()

    assert (answer["rows"], answer["labels"]) == (3, {"F": 1, "M": 2})


def test_rows_under_both_labels_are_counted(client: httpx.Client) -> None:
    answer = _dry_json(client, examples=FOUR + CONFLICT).json()

    assert answer["conflicting_rows"] == 3
    assert "3 conflicting rows" in answer["warnings"]


def test_json_says_what_would_be_done(client: httpx.Client) -> None:
    config = {"epochs": 7, "seed": 3, "holdout": 0}

    answer = _dry_json(client, examples=FOUR, config=config, promote="never").json()

    assert config.items() <= answer["config"].items()
    assert answer["promote"] == "never"


def test_a_csv_is_counted_and_split(client: httpx.Client) -> None:
    rows = SAMPLE.splitlines()[1:]

    answer = _dry_csv(client, SAMPLE, "&holdout=0.3&seed=5").json()

    females = sum(row.endswith(",F") for row in rows)
    assert (answer["rows"], len(rows)) == (2000, 2000)
    assert answer["labels"] == {"F": females, "M": 2000 - females}
    assert sum(answer["split"].values()) == 2000
    assert 500 < answer["split"]["holdout"] < 700
    assert (answer["config"]["holdout"], answer["config"]["seed"]) == (0.3, 5)


def test_the_champion_is_measured_on_the_holdout(client: httpx.Client) -> None:
    reader = CsvReader(labelled=True, max_rows=2000)
    reader.feed(SAMPLE.encode())
    _, holdout = reader.finish().to_dataset().split(0.2, 5)
    version = client.get("/models/active").json()["version"]
    champion = load(client.get(f"/models/{version}/weights").content)
    assert holdout is not None

    answer = _dry_csv(client, SAMPLE, "&seed=5").json()

    measured = evaluate(champion.params, holdout)._asdict()
    assert answer["split"]["holdout"] == len(holdout)
    assert answer["champion"] == pytest.approx(measured, rel=1e-12)


def test_a_dry_run_foretells_the_job(trainer: Server) -> None:
    foretold = _dry_csv(trainer.client, SAMPLE, "&epochs=1&promote=never").json()

    job = train_on_csv(trainer, SAMPLE, epochs=1, promote="never")

    for name in ("rows", "dataset_sha256", "config", "promote", "warnings"):
        assert foretold[name] == job[name]
    assert foretold["champion"] == job["metrics"]["champion"]
    assert foretold["split"]["holdout"] == job["metrics"]["rows"]


def test_without_a_holdout_there_is_nothing_to_measure(client: httpx.Client) -> None:
    answer = _dry_csv(client, SAMPLE, "&holdout=0").json()

    assert answer["champion"] is None
    assert answer["split"] == {"training": 2000, "holdout": 0}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        pytest.param({"examples": FOUR[:1] + FOUR[3:]}, "single-class", id="one class"),
        pytest.param({"examples": FOUR[:1]}, "invalid", id="one row"),
        pytest.param({"examples": []}, "invalid", id="no rows"),
        pytest.param({"config": {"epochs": 0}}, "invalid", id="no epochs"),
        pytest.param({"promote": "maybe"}, "invalid", id="promote"),
        pytest.param({"dry_run": True}, "invalid", id="dry_run in the body"),
    ],
)
def test_c1_c2_c7_bad_json_is_refused_in_a_dry_run_too(
    client: httpx.Client, request_: dict[str, Any], code: str
) -> None:
    response = _dry_json(client, **request_)

    assert_problem(response, 422, code)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param("1,2,F\n", None, id="one class"),
        pytest.param("1,2,F\n1,x,M\n", (3, "height_in"), id="no number"),
        pytest.param("1,2,F\n1,2,?\n", (3, "label"), id="no label"),
    ],
)
def test_a_bad_csv_is_refused_in_a_dry_run_too(
    client: httpx.Client, content: str, fault: tuple[int, str] | None
) -> None:
    response = _dry_csv(client, HEADER + content)

    assert response.status_code == 422
    if fault:
        assert faults(response)[0][:2] == fault


def test_c8_too_much_work_is_refused_in_a_dry_run_too(client: httpx.Client) -> None:
    rows = "1,2,F\n3,4,M\n" * 50_001

    response = _dry_csv(client, HEADER + rows, "&epochs=10000")

    assert_problem(response, 422, "work-budget")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("dry_run=perhaps", "dry_run"), ("dry_run=", "dry_run"), ("dryrun=true", None)],
)
@pytest.mark.parametrize("headers", [JSON, CSV], ids=["JSON", "CSV"])
def test_another_word_is_no_dry_run_and_no_job(
    client: httpx.Client,
    store: Store,
    query: str,
    parameter: str | None,
    headers: dict[str, str],
) -> None:
    before = _count(store)
    content = HEADER + "1,2,F\n3,4,M\n" if headers == CSV else b"{}"

    response = client.post(f"/train?{query}", content=content, headers=headers)

    assert_problem(response, 422, "invalid")
    assert parameter is None or faults(response)[0][0] == parameter
    assert _count(store) == before


def test_false_is_a_job(client: httpx.Client) -> None:
    request = {"promote": "never", "config": {"epochs": 1}}

    response = client.post("/train?dry_run=false", json=request)

    assert (response.status_code, response.json()["state"]) == (202, "queued")


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml"])
def test_a_dry_run_reads_what_a_training_reads(
    client: httpx.Client, media_type: str
) -> None:
    headers = {"Content-Type": media_type}

    response = client.post("/train?dry_run=true", content=b"{}", headers=headers)

    assert_problem(response, 415, "media-type")
