"""The versions that come of training, and GET /models."""

import hashlib
import math
from typing import Any

import httpx
import pytest

from model import load
from tests.app.training import BRIEF, SAMPLE, model_of, train, train_on_csv
from tests.server import Server


@pytest.fixture(scope="module")
def client(trainer: Server) -> httpx.Client:
    """A client of the server that tests train on."""
    return trainer.client


def test_a_version_names_its_job_and_the_one_before(trainer: Server) -> None:
    active = trainer.client.get("/models/active").json()["version"]

    job = train(trainer, **BRIEF)

    model = model_of(trainer.client, job)
    assert (model["job"], model["parent"]) == (job["id"], active)


def test_activation_moves_the_generation_and_the_etag(trainer: Server) -> None:
    before = trainer.client.get("/models").json()["generation"]

    job = train(trainer, promote="always", config={"epochs": 5})

    active = trainer.client.get("/models/active")
    assert active.headers["ETag"] == f'"{before + 1}"'
    assert active.json()["version"] == job["model_version"]
    assert active.json()["previous"] == active.json()["parent"]


def test_exactly_one_version_is_active(
    client: httpx.Client, article_job: dict[str, Any]
) -> None:
    models = client.get("/models").json()["models"]

    versions = [model["version"] for model in models]
    assert article_job["model_version"] in versions
    assert versions == sorted(versions, reverse=True)
    assert sum(model["active"] for model in models) == 1


def test_below_20_rows_there_is_nothing_to_compare(article_job: dict[str, Any]) -> None:
    assert article_job["metrics"] is None


def test_both_networks_are_measured_on_the_holdout(sample_job: dict[str, Any]) -> None:
    metrics = sample_job["metrics"]

    assert metrics.keys() == {"challenger", "champion", "rows"}
    assert 300 < metrics["rows"] < 500
    for one in (metrics["challenger"], metrics["champion"]):
        assert one.keys() == {"mse", "log_loss", "accuracy", "calibration_error"}
        assert all(math.isfinite(value) for value in one.values())


def test_real_data_beats_the_article_s_network(sample_job: dict[str, Any]) -> None:
    metrics = sample_job["metrics"]

    assert metrics["challenger"]["mse"] < metrics["champion"]["mse"]


def test_a_version_keeps_the_challenger_s_metrics(
    client: httpx.Client, sample_job: dict[str, Any]
) -> None:
    model = model_of(client, sample_job)

    assert model["metrics"] == sample_job["metrics"]["challenger"]


def test_c16_equal_data_and_seed_give_equal_bits(
    trainer: Server, sample_job: dict[str, Any]
) -> None:
    again = train_on_csv(trainer, SAMPLE, epochs=20, promote="never")

    first, second = (model_of(trainer.client, job) for job in (sample_job, again))
    assert first["sha256"] == second["sha256"]
    assert first["dataset_sha256"] == second["dataset_sha256"]


def test_another_seed_gives_other_bits(
    trainer: Server, sample_job: dict[str, Any]
) -> None:
    other = train_on_csv(trainer, SAMPLE, epochs=20, promote="never", seed=1)

    first, second = (model_of(trainer.client, job) for job in (sample_job, other))
    assert first["sha256"] != second["sha256"]


def test_weights_are_what_their_etag_and_model_promise(
    client: httpx.Client, sample_job: dict[str, Any]
) -> None:
    model = model_of(client, sample_job)

    response = client.get(f"/models/{model['version']}/weights")

    sha256 = hashlib.sha256(response.content).hexdigest()
    assert response.headers["ETag"] == f'"{sha256}"'
    assert sha256 == model["sha256"]


def test_downloaded_weights_are_a_whole_artifact(
    client: httpx.Client, sample_job: dict[str, Any]
) -> None:
    version = sample_job["model_version"]

    response = client.get(f"/models/{version}/weights")

    artifact = load(response.content)
    assert artifact.rows == 2000
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert f"offsetnet-{version}." in response.headers["Content-Disposition"]
