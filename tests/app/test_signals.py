"""Signals that a server gets while a request is in flight and a job runs."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from app.drain import FORCED
from tests.app.answers import EMILY
from tests.app.processes import children, is_alive, only_child
from tests.app.training import ENDLESS, show, start, stored_job
from tests.faults.drain import Flight
from tests.faults.stuck import locked
from tests.server import UNMEASURED, Server, wait_for

TERM, INT, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
NOT_NOHUP: Final = pytest.mark.skipif(
    signal.getsignal(HUP) is signal.SIG_IGN, reason="nohup is there to ignore it"
)
PATHS: Final = (b"/train", b"/livez")
LASTING: Final = {"promote": "always", "config": {"epochs": 2000, "momentum": 0.5}}


@pytest.mark.parametrize(
    ("signals", "answer", "exit_status"),
    [
        pytest.param([TERM, TERM], b"200", 0, id="SIGTERM twice"),
        pytest.param([INT], b"200", 0, id="SIGINT"),
        pytest.param([TERM, INT], b"", FORCED, id="SIGINT after SIGTERM"),
        pytest.param([HUP], b"", -HUP, id="SIGHUP", marks=NOT_NOHUP),
    ],
)
def test_d17_a_signal_loses_no_job_and_answers_or_cuts(
    tmp_path: Path, signals: list[int], answer: bytes, exit_status: int
) -> None:
    with Server(tmp_path / "data", environment=UNMEASURED) as server:
        job_id, runner = start(server, **ENDLESS), only_child(server.process.pid)
        flight = Flight(server.port, "/predict", "application/json")

        for one in signals:
            server.process.send_signal(one)
            wait_for(lambda: "Shutting down" in server.log() or _has_ended(server))
        if not exit_status:
            assert flight.end() == answer
        wait_for(lambda: _has_ended(server))

    wait_for(lambda: not is_alive(runner))
    assert server.process.returncode == exit_status
    assert exit_status == 0 or flight.end() == answer
    assert stored_job(server, job_id) == ("queued", 0, None)
    assert "Traceback" not in server.log()


def test_d16_what_was_sent_ahead_of_the_signal_is_answered(tmp_path: Path) -> None:
    jobs, live = (b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % p for p in PATHS)
    with Server(tmp_path / "data", environment=UNMEASURED) as server:
        address = ("127.0.0.1", server.port)
        with socket.create_connection(address, timeout=30) as connection:
            with locked(server):
                connection.sendall(jobs + 3 * live)
                server.client.get("/livez")  # so that the others have come
                server.process.send_signal(TERM)
                wait_for(lambda: "Shutting down" in server.log())
            heard = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert heard.count(b"HTTP/1.1 200 ") == 4
    assert heard.count(b"\r\nconnection: close\r\n") == 1


def _has_ended(server: Server) -> bool:
    return server.process.poll() is not None


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Server, int, int]]:
    """A server, the job that its runner works on, and the runner."""
    with Server(tmp_path / "data") as server:
        job_id = start(server, **LASTING)
        yield server, job_id, only_child(server.process.pid)


def test_d17_a_broken_pipe_and_a_pause_cost_nothing(
    running: tuple[Server, int, int],
) -> None:
    server, job_id, runner = running

    for pid in (server.process.pid, runner):
        os.kill(pid, signal.SIGPIPE)
    server.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: stored_job(server, job_id)[0] == "succeeded")
    server.process.send_signal(signal.SIGCONT)

    job = show(server, job_id)
    assert (job["state"], job["attempt"], job["outcome"]) == (
        "succeeded",
        1,
        "promoted",
    )
    server.wait_for_version(job["model_version"])
    assert server.client.post("/predict", json=EMILY).status_code == 200
    assert children(server.process.pid) == [runner]
