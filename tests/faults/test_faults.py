"""The proofs in their shortest form, and that they can fail."""

from pathlib import Path

import pytest

from tests.databases import URL, Databases
from tests.faults import controls, drain, interleavings, killpoints, secrets
from tests.faults.planted import Secrets
from tests.faults.statemachine import bounds, play


def test_d1_a_kill_loses_and_doubles_nothing(databases: Databases, engine: str) -> None:
    (point,) = (point for point in killpoints.POINTS if point.name == "K10")

    _, _, kills, violations = killpoints.play(databases, engine, point, 0)

    assert (kills, violations) == (1, [])


@pytest.mark.parametrize("name", controls.CONTROLS)
def test_a_broken_protection_is_found(databases: Databases, name: str) -> None:
    violations = controls.play(name, databases, is_broken=True)

    assert [one for one in violations if one.startswith("I2")]


def test_jobs_and_versions_follow_their_model(
    databases: Databases, engine: str, tmp_path: Path
) -> None:
    url = databases.new(engine).get(URL)

    steps = play(bounds(data_dir=tmp_path, database_url=url), examples=3, steps=50)

    assert steps > 100


def test_no_order_of_steps_does_harm(
    databases: Databases, engine: str, tmp_path: Path
) -> None:
    url = databases.new(engine).get(URL)
    sessions = interleavings.SESSIONS["finish, roll back, cancel"]

    orders, anomalies = interleavings.play(
        bounds(data_dir=tmp_path, database_url=url), sessions
    )

    assert (orders, anomalies) == (60, [])


def test_f6_no_planted_secret_comes_out(tmp_path: Path) -> None:
    (setting,) = (one for one in secrets.SERVERS if one.is_traced)

    seen = secrets.play(setting, Secrets(), tmp_path, every=53)

    assert secrets.wrong(setting.name, seen) == []
    assert {200, 401, 403, 404, 413, 422, 431, 503} <= seen.statuses.keys()


def test_d16_what_is_in_flight_at_a_stop_is_answered(tmp_path: Path) -> None:
    stop = drain.play(tmp_path, {}, requests=50)

    assert drain.wrong(stop) == []
