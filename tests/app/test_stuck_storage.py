"""Databases that hang for some seconds: who is told so, and who notices nothing.

Both hang at the same time, since there is nothing to do but to wait.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.app.training import BRIEF
from tests.databases import ENGINES
from tests.faults.stuck import PLAYS, Seen, locked
from tests.server import Server

HANG_SECONDS = 6.0


@pytest.fixture(scope="module")
def seen() -> dict[str, Seen]:
    """What was seen of a server with each engine."""

    def play(engine: str) -> Seen:
        with TemporaryDirectory(prefix="offsetnet-") as folder:  # PostgreSQL's user too
            return PLAYS[engine](Path(folder), HANG_SECONDS)

    with ThreadPoolExecutor(len(ENGINES)) as pool:
        return dict(zip(ENGINES, pool.map(play, ENGINES), strict=True))


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


def test_d14_frozen_postgresql_holds_up_nobody_for_long(seen: dict[str, Seen]) -> None:
    assert seen["postgresql"].wrong() == []
