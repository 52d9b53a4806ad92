"""Databases that hang for some seconds: who is told so, and who notices nothing.

Both hang at the same time, since there is nothing to do but to wait.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.app.training import BRIEF
from tests.databases import ENGINES
from tests.faults.stuck import PLAYS, Seen, locked
from tests.server import Server

HANG_SECONDS = 6.0


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """What was seen of a server with each engine."""
    folders = [tmp_path_factory.mktemp(engine) for engine in ENGINES]
    plays = [PLAYS[engine] for engine in ENGINES]
    with ThreadPoolExecutor(len(ENGINES)) as pool:
        found = pool.map(lambda play, to: play(to, HANG_SECONDS), plays, folders)
        return dict(zip(ENGINES, found, strict=True))


def test_d12_locked_by_another_process_sqlite_holds_up_nobody_for_long(
    seen: dict[str, Seen],
) -> None:
    assert seen["sqlite"].wrong() == []


def test_d12_a_lock_of_a_moment_is_waited_for(
    trainers: Callable[[str], Server],
) -> None:
    server = trainers("sqlite")

    with ThreadPoolExecutor(1) as pool:
        with locked(server):
            asked = pool.submit(server.client.post, "/train", json=BRIEF)
            with pytest.raises(TimeoutError):
                asked.result(timeout=0.5)

        assert asked.result().status_code == 202


def test_d14_frozen_postgresql_holds_up_nobody_for_long(
    seen: dict[str, Seen],
) -> None:
    assert seen["postgresql"].wrong() == []
