"""Several servers on one data folder and one database."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.app.processes import children, is_alive, lag, only_child, zombies
from tests.app.training import train
from tests.databases import Databases
from tests.server import UNMEASURED, Server, wait_for

UVICORN: Final = (sys.executable, "-m", "uvicorn", "app.main:create_app", "--factory")
# As in a container without an init: what loses its parent becomes the first's child.
ADOPT: Final = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
for _ in range(1_000):  # end, and wait to be let go of
    if not os.fork():
        os._exit(0)
os.execv(sys.executable, [sys.executable, "-m", "app", "serve", *sys.argv[1:]])
"""
ADOPTING: Final = (sys.executable, "-c", ADOPT)
PROMOTED: Final = {"promote": "always", "config": {"epochs": 5}}


@pytest.fixture(scope="module")
def plain(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Iterator[Server]:
    """A server under plain uvicorn, whose runner has the folder's lock."""
    data_dir = tmp_path_factory.mktemp("plain") / "data"
    environment = UNMEASURED | {"OFFSETNET_POLL_SECONDS": "0.2"} | databases.new(engine)
    with Server(data_dir, command=UVICORN, environment=environment) as running:
        train(running, promote="never", config={"epochs": 1})
        yield running


@pytest.fixture(scope="module")
def neighbour(
    plain: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Two processes of `offsetnet serve` on the same folder, with their own log."""
    log = tmp_path_factory.mktemp("neighbour") / "log"
    folder = ("--data-dir", str(plain.data_dir))
    with Server(
        log, "--workers", "2", *folder, environment=plain.environment, command=ADOPTING
    ) as running:
        yield running


def test_plain_uvicorn_retrains_too(plain: Server) -> None:
    job = train(plain, **PROMOTED)

    plain.wait_for_version(job["model_version"])

    assert job["state"] == "succeeded"


def test_d20_servers_on_one_folder_share_jobs_and_versions(
    plain: Server, neighbour: Server
) -> None:
    job = train(neighbour, **PROMOTED)

    assert plain.client.get(f"/train/{job['id']}").json() == job
    plain.wait_for_version(job["model_version"])


def test_d20_only_one_runner_of_a_folder_works(
    plain: Server, neighbour: Server
) -> None:
    jobs = [train(server, **PROMOTED) for server in (plain, neighbour)]

    for job in jobs:
        assert f"job {job['id']}: attempt 1" in plain.log()
    assert "attempt" not in neighbour.log()


def test_e6_every_process_answers_with_a_trained_version_within_2_s(
    neighbour: Server,
) -> None:
    job = train(neighbour, **PROMOTED)

    assert lag(neighbour, job["model_version"]) < 2


def test_d17_a_frozen_runner_ends_with_its_server_and_the_other_s_takes_over(
    plain: Server, neighbour: Server
) -> None:
    os.kill(only_child(plain.process.pid), signal.SIGSTOP)
    plain.stop()

    job = train(neighbour, **PROMOTED)

    assert job["state"] == "succeeded"
    assert f"job {job['id']}: attempt 1" in neighbour.log()


def test_d18_a_thousand_children_that_have_ended_leave_no_zombies(
    neighbour: Server,
) -> None:
    wait_for(lambda: not zombies(neighbour.process.pid))


def test_d18_a_killed_worker_is_replaced_and_its_runner_leaves_no_zombie(
    neighbour: Server,
) -> None:
    parent = neighbour.process.pid
    killed = next(worker for worker in children(parent) if children(worker))
    runner = only_child(killed)

    os.kill(killed, signal.SIGKILL)

    for pid in (killed, runner):
        wait_for(lambda: not Path(f"/proc/{pid}").exists())  # noqa: B023
    wait_for(lambda: len(list(filter(children, children(parent)))) == 2)


def test_d1_workers_and_runners_end_with_the_process_that_started_them(
    neighbour: Server,
) -> None:
    workers = children(neighbour.process.pid)
    runners = [runner for worker in workers for runner in children(worker)]
    assert len(runners) == 2

    neighbour.process.kill()

    wait_for(lambda: not any(map(is_alive, workers + runners)))
