"""POST /train: what is accepted, and the job that comes of it."""

import math
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import httpx
import pytest

from model import ARTICLE_CONFIG, TrainingConfig
from tests.app.answers import EMILY
from tests.app.training import (
    BRIEF,
    FOUR,
    FOUR_IN_ALL_SHAPES,
    SAMPLE,
    model_of,
    train,
    train_on_csv,
)
from tests.server import Server

JOB_MEMBERS: Final = {
    *("id", "state", "outcome", "reason", "attempt", "epoch", "epochs", "progress"),
    *("train_loss", "holdout_loss", "eta_seconds", "history", "rows"),
    *("dataset_sha256", "config", "warnings", "metrics", "model_version"),
    *("created_at", "started_at", "finished_at", "links"),
}


@pytest.fixture(scope="module")
def client(trainer: Server) -> httpx.Client:
    """A client of the server that tests train on."""
    return trainer.client


def test_an_empty_request_is_accepted(client: httpx.Client) -> None:
    response = client.post("/train")

    job = response.json()
    assert response.status_code == 202
    assert response.headers["Location"] == job["links"]["self"] == f"/train/{job['id']}"
    assert response.headers["Retry-After"] == "1"


def test_a_new_job_has_the_documented_members(client: httpx.Client) -> None:
    job = client.post("/train", json=BRIEF).json()

    assert job.keys() >= JOB_MEMBERS
    assert (job["state"], job["progress"], job["history"]) == ("queued", 0, [])


def test_an_empty_request_trains_the_article_s_network(
    article_job: dict[str, Any],
) -> None:
    assert article_job["config"] == ARTICLE_CONFIG.to_dict()
    assert article_job["rows"] == 4


def test_four_people_replace_what_was_trained_on_four(
    article_job: dict[str, Any],
) -> None:
    told = {name: article_job[name] for name in ("state", "outcome", "reason")}

    assert told == {"state": "succeeded", "outcome": "promoted", "reason": None}


def test_a_finished_job_has_done_all_its_epochs(article_job: dict[str, Any]) -> None:
    assert (article_job["epoch"], article_job["progress"]) == (1000, 1)
    assert article_job["eta_seconds"] is None


def test_a_job_s_times_are_in_order(article_job: dict[str, Any]) -> None:
    names = ("created_at", "started_at", "finished_at")
    times = [datetime.fromisoformat(article_job[name]) for name in names]

    assert times == sorted(times)
    assert all(time.tzinfo is not None for time in times)


def test_a_new_version_serves_without_a_restart(trainer: Server) -> None:
    job = train(trainer, promote="always")

    trainer.wait_for_version(job["model_version"])

    answer = trainer.client.post("/predict", json=EMILY).json()
    assert answer["label"] == "F"


def test_the_article_trained_again_is_the_shipped_version_bit_for_bit(
    client: httpx.Client, article_job: dict[str, Any]
) -> None:
    shipped = client.get("/models/1").json()

    assert model_of(client, article_job)["sha256"] == shipped["sha256"]


@pytest.mark.parametrize(
    "examples", FOUR_IN_ALL_SHAPES.values(), ids=FOUR_IN_ALL_SHAPES
)
def test_examples_in_each_shape_are_trained_on(
    trainer: Server, examples: list[dict[str, Any]]
) -> None:
    job = train(trainer, examples=examples, **BRIEF)

    assert (job["state"], job["rows"]) == ("succeeded", 4)


def test_equal_people_in_two_shapes_are_one_dataset(client: httpx.Client) -> None:
    offsets, imperial = (
        client.post("/train", json={"examples": FOUR_IN_ALL_SHAPES[name], **BRIEF})
        for name in ("offsets", "imperial")
    )

    assert offsets.json()["dataset_sha256"] == imperial.json()["dataset_sha256"]


def test_examples_are_trained_on_with_the_defaults_for_data(
    client: httpx.Client,
) -> None:
    job = client.post("/train", json={"examples": FOUR, "promote": "never"}).json()

    assert job["config"] == TrainingConfig(holdout=0.0).to_dict()


def test_given_settings_are_used_and_told(trainer: Server) -> None:
    settings = {
        "hidden_units": 3,
        "loss": "mse",
        "learning_rate": 1,
        "momentum": 0,
        "batch_size": 2,
        "epochs": 7,
        "patience": None,
        "standardize": False,
        "shuffle": False,
        "holdout": 0,
        "seed": 4_294_967_295,
    }

    job = train(trainer, examples=FOUR, config=settings, promote="never")

    assert (job["state"], job["config"], job["epochs"]) == ("succeeded", settings, 7)
    assert model_of(trainer.client, job)["config"] == settings


def test_a_setting_overrides_the_article_s(client: httpx.Client) -> None:
    job = client.post("/train", json=BRIEF).json()

    assert job["config"] == {**ARTICLE_CONFIG.to_dict(), "epochs": 5}


def test_a_note_stays_with_the_job_and_its_version(trainer: Server) -> None:
    note = "Für Ada: 100 % <b>bold</b> 🎉"

    job = train(trainer, note=note, **BRIEF)

    assert job["note"] == note
    assert model_of(trainer.client, job)["note"] == note


def test_a_csv_is_trained_on_with_its_query_parameters(trainer: Server) -> None:
    job = train_on_csv(
        trainer,
        SAMPLE,
        hidden_units=3,
        epochs=5,
        patience="null",
        standardize="false",
        learning_rate=0.5,
        loss="mse",
        promote="never",
        note="sampled",
    )

    expected = TrainingConfig(
        hidden_units=3,
        epochs=5,
        patience=None,
        standardize=False,
        learning_rate=0.5,
        loss="mse",
    )
    assert (job["state"], job["rows"], job["note"]) == ("succeeded", 2000, "sampled")
    assert job["config"] == expected.to_dict()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            "label,height_in,weight_lb\nFemale,65,133\nMALE,72,160\n", id="imperial"
        ),
        pytest.param("weight_kg,label,height_cm\r\n60,f,165\r\n80,m,180", id="metric"),
        pytest.param(
            "weight_offset,height_offset,label\n-2,-1,F\n25,6,M\n", id="offsets"
        ),
    ],
)
def test_csv_columns_come_in_any_order_and_labels_in_any_case(
    trainer: Server, content: str
) -> None:
    job = train_on_csv(trainer, content, epochs=5, promote="never")

    assert (job["state"], job["rows"]) == ("succeeded", 2)


def test_promote_never_keeps_the_active_version(trainer: Server) -> None:
    before = trainer.client.get("/models/active").json()["version"]

    job = train(trainer, **BRIEF)

    assert job["outcome"] == "kept"
    assert trainer.client.get("/models/active").json()["version"] == before


def test_a_kept_version_is_stored_inactive_and_can_be_pinned(trainer: Server) -> None:
    job = train(trainer, **BRIEF)

    version = job["model_version"]
    answer = trainer.client.post(f"/predict?model_version={version}", json=EMILY)
    assert model_of(trainer.client, job)["active"] is False
    assert answer.json()["model_version"] == version


def test_c3_conflicting_rows_are_warned_of(trainer: Server) -> None:
    twins = [{**FOUR[0], "label": label} for label in "FMF"]

    job = train(trainer, examples=[*twins, *FOUR[1:]], **BRIEF)

    assert job["warnings"] == ["3 conflicting rows", "no holdout: too few rows"]
    assert math.isfinite(job["train_loss"])


def test_c4_a_constant_column_is_warned_of(trainer: Server) -> None:
    people = [{**person, "height_offset": 3} for person in FOUR]

    job = train(
        trainer, examples=people, config={"epochs": 5, "holdout": 0}, promote="never"
    )

    assert job["warnings"] == ["height_offset is constant"]
    assert job["state"] == "succeeded"


def test_a_holdout_of_too_few_rows_is_warned_of(client: httpx.Client) -> None:
    job = client.post(
        "/train",
        json={"examples": FOUR, "config": {"holdout": 0.5}, "promote": "never"},
    ).json()

    assert job["warnings"] == ["no holdout: too few rows"]
    assert job["config"]["holdout"] == 0


def test_the_article_s_training_warns_of_nothing(article_job: dict[str, Any]) -> None:
    assert article_job["warnings"] == []


def test_a_history_is_thinned_to_200_points(article_job: dict[str, Any]) -> None:
    epochs = [point[0] for point in article_job["history"]]

    assert 100 <= len(epochs) <= 200
    assert epochs[-1] == 1000
    assert all(earlier < later for earlier, later in pairwise(epochs))


def test_a_short_history_is_whole(sample_job: dict[str, Any]) -> None:
    history = sample_job["history"]

    assert [point[0] for point in history] == list(range(1, 21))
    assert history[-1][1:] == [sample_job["train_loss"], sample_job["holdout_loss"]]
