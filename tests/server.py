"""A real server process for tests, on a free port of loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx

from app.settings import Settings

DEADLINE_SECONDS: Final = 60.0
UNMEASURED: Final = {"COVERAGE_PROCESS_CONFIG": ""}  # coverage doubles the work

_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8
_FIRST: Final = 10_000 + 8 * (os.getpid() % 1000)  # elsewhere in each run
_PORTS: Final = cycle(
    [*range(_FIRST + _WORKER, 32_000, 8), *range(10_000 + _WORKER, _FIRST, 8)]
)

T = TypeVar("T")


def wait_for(look: Callable[[], T | None], seconds: float = DEADLINE_SECONDS) -> T:
    """Poll until the look returns something true, or fail after the deadline.

    It looks at once, and less and less often: looking takes time from what is awaited.
    """
    deadline, pause = time.monotonic() + seconds, 0.01
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"nothing within {seconds} s")
        time.sleep(pause)
        pause = min(1.5 * pause, 0.2)
    return found


def free_port() -> int:
    """Return a port that nothing listens on, and that no other test process is given.

    It is none of those that the system gives to clients, which may be many at once.
    """
    while True:
        port: int = next(_PORTS)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


class Server:
    """`offsetnet serve`, or another command, from start to exit."""

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        command: tuple[str, ...] = (sys.executable, "-m", "app", "serve"),
        port: int | None = None,
    ) -> None:
        """Start it; settings come from the environment given, and from it alone."""
        self.data_dir = data_dir
        self.environment = dict(environment or {})
        self.port = port or free_port()
        self.log_path = data_dir.with_suffix(".log")
        inherited = {k: v for k, v in os.environ.items() if "OFFSETNET" not in k}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), *arguments],
                env={
                    **inherited,
                    "OFFSETNET_DATA_DIR": str(data_dir),
                    **self.environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", timeout=DEADLINE_SECONDS
        )

    def __enter__(self) -> Self:
        """Wait until it is ready."""
        try:
            wait_for(self._is_ready)
        except AssertionError:
            self.stop(signal.SIGKILL)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it, as a platform would."""
        self.close()

    def close(self) -> None:
        """Stop it and close the client."""
        self.client.close()
        self.stop()

    def is_alive(self) -> bool:
        """Tell whether it answers, ready or not."""
        try:
            return self.client.get("/livez").is_success
        except httpx.TransportError:
            return False

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Signal it and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def settings(self) -> Settings:
        """Return settings that lead to the same database."""
        url = self.environment.get("OFFSETNET_DATABASE_URL")
        return Settings.model_validate({"data_dir": self.data_dir, "database_url": url})

    def log(self) -> str:
        """Return what it printed so far."""
        return self.log_path.read_text()

    def wait_for_job(self, job_id: int) -> dict[str, Any]:
        """Return a job once it is final."""
        return wait_for(lambda: self._final_job(job_id))

    def wait_for_version(self, version: int) -> None:
        """Return once predictions come from this version."""
        wait_for(lambda: self._answers_with(version))

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended:\n{self.log()}")
        try:
            return self.client.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def _final_job(self, job_id: int) -> dict[str, Any] | None:
        job: dict[str, Any] = self.client.get(f"/train/{job_id}").json()
        return None if job["state"] in {"queued", "running"} else job

    def _answers_with(self, version: int) -> bool:
        person = {"weight_offset": -7, "height_offset": -3}
        answer = self.client.post("/predict", json=person)
        return bool(answer.json().get("model_version") == version)


def serve_in_vain(
    data_dir: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a server that is not expected to start."""
    return subprocess.run(
        [sys.executable, "-m", "app", "serve", "--port", "0", *arguments],
        env={**os.environ, "OFFSETNET_DATA_DIR": str(data_dir), **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
