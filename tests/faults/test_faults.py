"""The proofs in their shortest form, and that they can fail."""

from pathlib import Path

import pytest

from tests.databases import URL, Databases
from tests.faults import controls, hotswap, interleavings, killpoints, race
from tests.faults.statemachine import bounds, play


@pytest.mark.parametrize("name", ["K2", "K10"])
def test_a_kill_loses_and_doubles_nothing(
    databases: Databases, engine: str, name: str
) -> None:
    (point,) = (point for point in killpoints.POINTS if point.name == name)

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

    steps = play(bounds(data_dir=tmp_path, database_url=url), examples=6, steps=50)

    assert steps > 200


def test_no_order_of_steps_does_harm(
    databases: Databases, engine: str, tmp_path: Path
) -> None:
    url = databases.new(engine).get(URL)
    sessions = interleavings.SESSIONS["finish, roll back, cancel"]

    orders, anomalies = interleavings.play(
        bounds(data_dir=tmp_path, database_url=url), sessions
    )

    assert (orders, anomalies) == (60, [])


def test_of_clients_with_the_same_etag_one_wins(
    databases: Databases, engine: str, tmp_path: Path
) -> None:
    won, seen = race.play(5, databases.new(engine), tmp_path)

    assert won == 5, seen


def test_swaps_under_load_fail_and_mix_nothing(
    databases: Databases, engine: str, tmp_path: Path
) -> None:
    seen = hotswap.play(1, databases.new(engine), tmp_path)

    assert (seen.failures, seen.violations) == (0, [])
    assert seen.versions > 1
