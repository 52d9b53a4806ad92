"""The gate: what a newly trained version replaces, and what it does not."""

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from itertools import cycle, islice
from struct import pack
from typing import Any, Final

import numpy as np
import pytest
from sqlalchemy import Table, delete, func, select, update

from app.claims import Claim, Claims, LostJobError, Progress, Result, StaleChampionError
from app.gate import PROMOTED, Comparison, Decision, compare, decide
from app.job_words import Promote
from app.jobs import Jobs, Submission
from app.settings import Settings
from app.store import Store
from app.tables import active, jobs, models
from app.versions import Versions
from model import (
    ARTICLE_CONFIG,
    ARTICLE_PEOPLE,
    Artifact,
    CsvReader,
    Dataset,
    Metrics,
    evaluate,
    load,
    load_shipped,
    sample_csv,
)
from tests.app.answers import CSV, EMILY
from tests.app.training import FOUR, SAMPLE, activate, model_of, train, train_on_csv
from tests.databases import URL, Databases
from tests.server import Server, wait_for

TOLERANCE: Final = 1.01
PEOPLE: Final = "".join(sample_csv(10_000, 1))
HARDLY: Final = {"epochs": 1, "learning_rate": 1e-6}  # ends where it starts
MEDIOCRE: Final = {"epochs": 3}  # better than the article's, worse than the good one
SLOWLY: Final[dict[str, str | float]] = {
    "epochs": 300,
    "learning_rate": 1e-4,
    "patience": "null",
}  # as good
PROGRESS: Final = Progress(3, 0.5, None, ((3, 0.5, None),))
CONFLICTING: Final = [
    {"weight_offset": weight, "height_offset": height, "label": label}
    for weight, height in ((20, 4), (-20, -4))
    for label in "FM" * 5
]


@pytest.fixture(scope="module")
def shipped() -> Artifact:
    """The artifact that comes with the package, trained on four people."""
    return load(load_shipped())


@pytest.fixture(scope="module")
def server(trainer: Server) -> Server:
    """The server that tests train on."""
    return trainer


@pytest.fixture
def good(server: Server) -> int:
    """The active version, trained on 10,000 people; made where there is none."""
    listed = server.client.get("/models").json()["models"]
    found = [model["version"] for model in listed if model["note"] == "good"]
    version: int = found[0] if found else _train_well(server)
    activate(server, version)
    return version


def _train_well(server: Server) -> int:
    job = train_on_csv(server, PEOPLE, epochs=20, promote="always", note="good")
    assert job["rows"] == 10_000
    version: int = job["model_version"]
    return version


@pytest.fixture
def article(server: Server) -> int:
    """The active version, trained on the article's four people."""
    activate(server, 1)
    return 1


def _active(server: Server) -> tuple[int, str]:
    """Return the active version and its ETag."""
    answer = server.client.get("/models/active")
    return answer.json()["version"], answer.headers["ETag"]


def _artifact(server: Server, version: int) -> Artifact:
    """Download a version."""
    return load(server.client.get(f"/models/{version}/weights").content)


def _dataset(csv: str) -> Dataset:
    reader = CsvReader(labelled=True, max_rows=10_000)
    reader.feed(csv.encode())
    return reader.finish().to_dataset()


def _held_out(csv: str, job: dict[str, Any]) -> Dataset:
    """Return the people of a job's CSV that were held out."""
    config = job["config"]
    _, holdout = _dataset(csv).split(config["holdout"], config["seed"])
    assert holdout is not None
    return holdout


def _brier(artifact: Artifact, data: Dataset) -> float:
    """Score a network by hand, person by person."""
    W1, b1, W2, b2 = artifact.params
    logits = 1 / (1 + np.exp(-(data.X @ W1 + b1))) @ W2 + b2
    P = 1 / (1 + np.exp(-logits))
    return math.fsum(((P - data.y) ** 2).flat) / len(data)


def _metrics(mse: float) -> Metrics:
    return Metrics(mse=mse, log_loss=0.5, accuracy=0.9, calibration_error=0.1)


def _compared(challenger: float, champion: float | None) -> Comparison:
    measured = None if champion is None else _metrics(champion)
    return Comparison(_metrics(challenger), measured, 2000)


BOUND: Final = TOLERANCE * 0.1
BARELY: Final = float(np.nextafter(BOUND, 1))


@pytest.mark.parametrize(
    ("promote", "challenger", "champion", "outcome", "reason"),
    [
        pytest.param("if_better", 0.05, 0.1, "promoted", None, id="better"),
        pytest.param("if_better", 0.1, 0.1, "promoted", None, id="equal"),
        pytest.param("if_better", BOUND, 0.1, "promoted", None, id="at the bound"),
        pytest.param(
            "if_better", BARELY, 0.1, "rejected", "not-better", id="above the bound"
        ),
        pytest.param("if_better", 0.0, 0.0, "promoted", None, id="both perfect"),
        pytest.param(
            "if_better", 5e-324, 0.0, "rejected", "not-better", id="not quite perfect"
        ),
        pytest.param(
            "if_better", math.nan, 0.1, "rejected", "not-better", id="no number"
        ),
        pytest.param("always", 0.9, 0.1, "promoted", None, id="worse, always"),
        pytest.param("never", 0.05, 0.1, "kept", None, id="better, never"),
    ],
)
def test_with_a_holdout_the_squared_errors_decide(  # noqa: PLR0913, PLR0917 - a table
    shipped: Artifact,
    promote: Promote,
    challenger: float,
    champion: float,
    outcome: str,
    reason: str | None,
) -> None:
    comparison = _compared(challenger, champion)

    decision = decide(promote, shipped, shipped, comparison, TOLERANCE)

    assert decision == (outcome, reason)


@pytest.mark.parametrize(
    ("promote", "challenger", "champion", "outcome", "reason"),
    [
        pytest.param("if_better", 4, 4, "promoted", None, id="few on few"),
        pytest.param("if_better", 19, 19, "promoted", None, id="19 on 19"),
        pytest.param("if_better", 19, 20, "kept", "too-few-rows", id="19 on 20"),
        pytest.param("if_better", 4, 10_000, "kept", "too-few-rows", id="few on many"),
        pytest.param("if_better", 20, 4, "kept", "no-holdout", id="unmeasured on few"),
        pytest.param("if_better", 99, 99, "kept", "no-holdout", id="unmeasured"),
        pytest.param("always", 4, 10_000, "promoted", None, id="few on many, always"),
        pytest.param("never", 4, 4, "kept", None, id="few on few, never"),
    ],
)
def test_without_a_holdout_the_rows_decide(  # noqa: PLR0913, PLR0917 - a table
    shipped: Artifact,
    promote: Promote,
    challenger: int,
    champion: int,
    outcome: str,
    reason: str | None,
) -> None:
    new, old = replace(shipped, rows=challenger), replace(shipped, rows=champion)

    decision = decide(promote, new, old, None, TOLERANCE)

    assert decision == (outcome, reason)


@pytest.mark.parametrize(
    ("promote", "comparison", "outcome"),
    [
        pytest.param("if_better", _compared(0.9, None), "promoted", id="measured"),
        pytest.param("if_better", None, "promoted", id="unmeasured"),
        pytest.param("always", None, "promoted", id="always"),
        pytest.param("never", _compared(0.1, None), "kept", id="never"),
    ],
)
def test_a_damaged_champion_is_replaced_where_that_is_wanted(
    shipped: Artifact, promote: Promote, comparison: Comparison | None, outcome: str
) -> None:
    decision = decide(promote, shipped, None, comparison, TOLERANCE)

    assert decision == (outcome, None)


def test_the_tolerance_is_a_setting(shipped: Artifact) -> None:
    decision = decide("if_better", shipped, shipped, _compared(0.2, 0.1), 2.0)

    assert decision == PROMOTED


def test_nobody_is_compared_where_nobody_is_held_out(shipped: Artifact) -> None:
    assert compare(shipped, shipped, _dataset(SAMPLE)) is None


def test_both_are_measured_on_the_people_that_the_challenger_has_not_seen(
    shipped: Artifact,
) -> None:
    data, config = _dataset(SAMPLE), replace(shipped.config, holdout=0.5, seed=3)
    params = shipped.params._replace(b2=shipped.params.b2 + 1)
    challenger = replace(shipped, params=params, config=config)
    _, holdout = data.split(0.5, 3)
    assert holdout is not None

    comparison = compare(challenger, shipped, data)

    assert comparison is not None
    assert comparison.to_dict() == {
        "challenger": evaluate(params, holdout)._asdict(),
        "champion": evaluate(shipped.params, holdout)._asdict(),
        "rows": len(holdout),
    }


def test_a_damaged_champion_is_not_measured(shipped: Artifact) -> None:
    config = replace(shipped.config, holdout=0.5)

    comparison = compare(replace(shipped, config=config), None, _dataset(SAMPLE))

    assert comparison is not None
    assert comparison.champion is None
    assert comparison.to_dict()["champion"] is None


def test_a_better_network_is_promoted(server: Server, article: int) -> None:
    job = train_on_csv(server, SAMPLE, epochs=20)

    version, _ = _active(server)
    assert (job["outcome"], job["reason"]) == ("promoted", None)
    assert version == job["model_version"] != article


def test_an_empty_post_never_replaces_a_network_trained_on_10000_people(
    server: Server, good: int
) -> None:
    before = _active(server)

    job = server.wait_for_job(server.client.post("/train").json()["id"])

    assert (job["state"], job["outcome"]) == ("succeeded", "kept")
    assert (job["reason"], job["metrics"]) == ("too-few-rows", None)
    assert _active(server) == before
    assert before[0] == good


def test_an_empty_post_replaces_a_network_trained_on_few(
    server: Server, article: int
) -> None:
    job = server.wait_for_job(server.client.post("/train").json()["id"])

    assert (job["outcome"], job["reason"]) == ("promoted", None)
    assert _active(server)[0] == job["model_version"] != article


@pytest.mark.usefixtures("good")
def test_a_worse_network_is_rejected(server: Server) -> None:
    before = _active(server)

    job = train_on_csv(server, SAMPLE, **HARDLY)

    metrics = job["metrics"]
    assert (job["state"], job["outcome"]) == ("succeeded", "rejected")
    assert job["reason"] == "not-better"
    assert metrics["challenger"]["mse"] > TOLERANCE * metrics["champion"]["mse"]
    assert _active(server) == before


@pytest.mark.usefixtures("good")
def test_a_rejected_network_is_an_inactive_version_that_can_be_pinned(
    server: Server,
) -> None:
    job = train_on_csv(server, SAMPLE, **HARDLY)

    model = model_of(server.client, job)
    path = f"/predict?model_version={model['version']}"
    answer = server.client.post(path, json=EMILY).json()
    W1, b1, W2, b2 = _artifact(server, model["version"]).params
    (logit,) = 1 / (1 + np.exp(-(np.array([-7, -3]) @ W1 + b1))) @ W2 + b2
    assert not model["active"]
    assert answer["model_version"] == model["version"]
    assert answer["probability"] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-12)


@pytest.mark.usefixtures("article")
def test_never_keeps_a_better_network_aside(server: Server) -> None:
    before = _active(server)

    job = train_on_csv(server, SAMPLE, epochs=20, promote="never")

    metrics = job["metrics"]
    assert metrics["challenger"]["mse"] < metrics["champion"]["mse"]
    assert (job["outcome"], job["reason"]) == ("kept", None)
    assert _active(server) == before
    assert not model_of(server.client, job)["active"]


@pytest.mark.usefixtures("good")
def test_always_promotes_a_worse_network(server: Server) -> None:
    job = train_on_csv(server, SAMPLE, **HARDLY, promote="always")

    metrics = job["metrics"]
    assert metrics["challenger"]["mse"] > TOLERANCE * metrics["champion"]["mse"]
    assert (job["outcome"], job["reason"]) == ("promoted", None)
    assert _active(server)[0] == job["model_version"]


@pytest.mark.usefixtures("good")
def test_always_promotes_what_nobody_could_measure(server: Server) -> None:
    job = train(server, promote="always", config={"epochs": 5})

    assert (job["outcome"], job["metrics"]) == ("promoted", None)
    assert _active(server)[0] == job["model_version"]


@pytest.mark.usefixtures("article")
def test_an_unmeasured_network_of_many_people_does_not_serve(server: Server) -> None:
    before = _active(server)

    job = train_on_csv(server, SAMPLE, epochs=5, holdout=0)

    assert (job["outcome"], job["reason"]) == ("kept", "no-holdout")
    assert job["metrics"] is None
    assert _active(server) == before


@pytest.fixture
def damaged(server: Server) -> Iterator[int]:
    """The active version, whose bytes are damaged."""
    job = train(server, promote="always", config={"epochs": 5})
    version: int = job["model_version"]
    store = Store(server.settings())
    with store.write() as connection:
        is_it = models.c.version == version
        connection.execute(update(models).where(is_it).values(weights=b"damaged"))
    store.close()
    yield version
    server.client.delete(f"/models/{version}")


def test_a_damaged_champion_does_not_stand_in_the_way(
    server: Server, damaged: int
) -> None:
    job = train_on_csv(server, SAMPLE, **HARDLY)

    assert (job["outcome"], job["metrics"]["champion"]) == ("promoted", None)
    assert _active(server)[0] == job["model_version"] != damaged


@pytest.mark.usefixtures("article")
def test_retraining_on_the_same_people_ten_times_drifts_nowhere(server: Server) -> None:
    first, *others = [train_on_csv(server, SAMPLE, epochs=5) for _ in range(10)]

    mse = first["metrics"]["challenger"]["mse"]
    assert [job["outcome"] for job in others] == ["promoted"] * 9
    for job in others:
        assert job["metrics"]["champion"]["mse"] == mse
        assert job["metrics"]["challenger"]["mse"] == mse


def test_both_networks_measure_what_their_weights_do_on_the_holdout(
    server: Server, good: int
) -> None:
    job = train_on_csv(server, SAMPLE, epochs=3, promote="never")

    holdout = _held_out(SAMPLE, job)
    champion, challenger = (
        _artifact(server, version) for version in (good, job["model_version"])
    )
    assert job["metrics"]["rows"] == len(holdout)
    for name, artifact in (("challenger", challenger), ("champion", champion)):
        measured = job["metrics"][name]
        assert measured == pytest.approx(evaluate(artifact.params, holdout)._asdict())
        assert measured["mse"] == pytest.approx(_brier(artifact, holdout), rel=1e-9)


def test_the_loss_that_training_minimised_does_not_matter_to_the_gate(
    server: Server, good: int
) -> None:
    job = train_on_csv(server, SAMPLE, epochs=3, loss="mse", promote="never")

    champion = _artifact(server, good)
    assert champion.config.loss == "bce"
    assert job["metrics"]["champion"]["mse"] == pytest.approx(
        _brier(champion, _held_out(SAMPLE, job)), rel=1e-9
    )


def test_a_version_tells_where_it_comes_from(server: Server, good: int) -> None:
    data = _dataset(SAMPLE)
    rows = zip(data.X[:, 0], data.X[:, 1], data.y[:, 0], strict=True)
    content = b"".join(
        pack("<ddB", weight, height, int(y)) for weight, height, y in rows
    )

    job = train_on_csv(server, SAMPLE, epochs=1, promote="never", note="lineage")

    model = model_of(server.client, job)
    assert (model["parent"], model["job"], model["rows"]) == (good, job["id"], 2000)
    assert (model["note"], model["config"]) == ("lineage", job["config"])
    assert model["dataset_sha256"] == sha256(content).hexdigest()
    assert job["dataset_sha256"] == model["dataset_sha256"]


@pytest.mark.parametrize(
    ("before", "meanwhile", "outcome"),
    [
        pytest.param("article", "good", "rejected", id="to a better one"),
        pytest.param("good", "article", "promoted", id="to a worse one"),
    ],
)
def test_a_job_is_compared_with_what_is_active_at_its_end(
    server: Server, good: int, before: str, meanwhile: str, outcome: str
) -> None:
    versions = {"article": 1, "good": good}
    activate(server, versions[before])
    job_id = _submit(server, PEOPLE, SLOWLY)
    wait_for(lambda: _is_running(server, job_id))

    activate(server, versions[meanwhile])

    job = server.wait_for_job(job_id)
    assert job["outcome"] == outcome
    _assert_decided_against_the_parent(server, PEOPLE, job)


def test_each_decision_is_about_one_champion_however_often_that_changes(
    server: Server, good: int
) -> None:
    jobs = [_submit(server, SAMPLE, MEDIOCRE) for _ in range(6)]

    for version in islice(cycle([1, good]), 20):
        server.client.put(
            "/models/active", json={"version": version}, headers={"If-Match": "*"}
        )

    for job_id in jobs:
        job = server.wait_for_job(job_id)
        _assert_decided_against_the_parent(server, SAMPLE, job)


def _is_running(server: Server, job_id: int) -> bool:
    return bool(server.client.get(f"/train/{job_id}").json()["state"] == "running")


def _submit(server: Server, csv: str, config: Mapping[str, str | float]) -> int:
    answer = server.client.post("/train", content=csv, params=config, headers=CSV)
    job_id: int = answer.json()["id"]
    return job_id


def _assert_decided_against_the_parent(
    server: Server, csv: str, job: dict[str, Any]
) -> None:
    """Check that a decision follows from the version that was active before it."""
    parent = model_of(server.client, job)["parent"]
    errors = {name: job["metrics"][name]["mse"] for name in ("challenger", "champion")}
    of_parent = _brier(_artifact(server, parent), _held_out(csv, job))
    is_good_enough = errors["challenger"] <= TOLERANCE * errors["champion"]
    assert errors["champion"] == pytest.approx(of_parent, rel=1e-9)
    assert job["outcome"] == ("promoted" if is_good_enough else "rejected")


def test_c3_conflicting_rows_are_trained_on_with_a_warning(server: Server) -> None:
    config = {"epochs": 300, "holdout": 0, "patience": None}

    job = train(server, examples=CONFLICTING, promote="never", config=config)

    assert (job["state"], job["warnings"]) == ("succeeded", ["20 conflicting rows"])
    assert job["train_loss"] == pytest.approx(math.log(2), abs=0.01)


@pytest.mark.parametrize("column", ["weight_offset", "height_offset"])
def test_c4_a_constant_feature_is_trained_on_with_a_warning(
    server: Server, column: str
) -> None:
    examples = [example | {column: 1.1} for example in FOUR]

    job = train(server, examples=examples, promote="never", config={"epochs": 9})

    params = _artifact(server, job["model_version"]).params
    assert job["state"] == "succeeded"
    assert f"{column} is constant" in job["warnings"]
    assert all(np.isfinite(values).all() for values in params)


def test_warnings_come_with_the_first_answer(server: Server) -> None:
    answer = server.client.post(
        "/train", json={"examples": CONFLICTING, "config": {"epochs": 1}}
    )

    assert answer.json()["warnings"] == ["20 conflicting rows"]


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Settings:
    """Settings with a database of their own, on each engine."""
    folder, url = tmp_path_factory.mktemp("store"), databases.new(engine).get(URL)
    return Settings.model_validate({"data_dir": folder, "database_url": url})


@pytest.fixture(scope="module")
def store(settings: Settings) -> Iterator[Store]:
    """An open store with the shipped version."""
    opened = Store(settings)
    Versions(opened, settings).prepare()
    yield opened
    opened.close()


@pytest.fixture
def generation(store: Store, settings: Settings) -> int:
    """The generation of the active version."""
    return Versions(store, settings).champion().generation


@pytest.fixture
def claim(store: Store, settings: Settings, claims: Claims) -> Claim:
    """A job that is claimed, the only one."""
    submission = Submission(
        data=ARTICLE_PEOPLE,
        config=ARTICLE_CONFIG,
        promote="if_better",
        note=None,
        warnings=(),
    )
    with store.write() as connection:
        connection.execute(delete(jobs))
    Jobs(store, settings).enqueue(submission)
    taken = claims.take("me")
    assert taken is not None
    return taken


def _result(generation: int, decision: Decision = PROMOTED) -> Result:
    return Result(load_shipped(), None, decision, generation)


def _rows(store: Store, *tables: Table) -> list[list[Any]]:
    """Return all that stands in these tables."""
    with store.read() as connection:
        return [list(map(tuple, connection.execute(select(one)))) for one in tables]


def _activate_shipped(store: Store, settings: Settings, _: Claim) -> None:
    Versions(store, settings).activate(1, None)


def _cancel(store: Store, settings: Settings, claim: Claim) -> None:
    Jobs(store, settings).cancel(claim.id)


@pytest.mark.parametrize(
    "decision",
    [PROMOTED, Decision("rejected", "not-better"), Decision("kept")],
    ids=lambda decision: decision.outcome,
)
@pytest.mark.parametrize(
    ("meanwhile", "error"),
    [
        pytest.param(_activate_shipped, StaleChampionError, id="version activated"),
        pytest.param(_cancel, LostJobError, id="job cancelled"),
    ],
)
def test_a_success_that_comes_too_late_changes_nothing(  # noqa: PLR0913, PLR0917
    store: Store,
    settings: Settings,
    claims: Claims,
    claim: Claim,
    generation: int,
    decision: Decision,
    meanwhile: Callable[[Store, Settings, Claim], None],
    error: type[Exception],
) -> None:
    meanwhile(store, settings, claim)
    before = _rows(store, jobs, models, active)

    with pytest.raises(error):
        claims.succeed(claim, PROGRESS, _result(generation, decision))

    assert _rows(store, jobs, models, active) == before


def test_a_stale_decision_can_be_made_anew(
    store: Store, settings: Settings, claims: Claims, claim: Claim, generation: int
) -> None:
    _activate_shipped(store, settings, claim)

    claims.succeed(claim, PROGRESS, _result(generation + 1))

    job = Jobs(store, settings).get(claim.id)
    row, after = Versions(store, settings).describe_active()
    assert (row["version"], row["parent"]) == (job["model_version"], 1)
    assert after == generation + 2


def test_nobody_sees_half_a_success(
    store: Store, claims: Claims, claim: Claim, generation: int
) -> None:
    query = select(
        jobs.c.state,
        jobs.c.model_version.is_not(None),
        select(func.count()).where(models.c.job == claim.id).scalar_subquery(),
        select(active.c.generation).scalar_subquery(),
    )

    def look() -> tuple[Any, ...]:
        with store.read() as connection:
            return tuple(connection.execute(query).one())

    with ThreadPoolExecutor(1) as pool:
        success = pool.submit(claims.succeed, claim, PROGRESS, _result(generation))
        seen = [look()]
        while not success.done():
            seen.append(look())
        seen.append(look())

    success.result()
    nothing, everything = (
        ("running", False, 0, generation),
        ("succeeded", True, 1, generation + 1),
    )
    assert set(seen) <= {nothing, everything}
    assert seen[-1] == everything
