"""Several server processes that start, and are told to stop meanwhile."""

import signal
import socket
from contextlib import ExitStack
from pathlib import Path

from tests.databases import URL
from tests.server import UNMEASURED, Server, wait_for

QUERY = "connect_timeout=60&sslmode=disable&gssencmode=disable"


def test_workers_that_start_are_waited_for_together_and_stop_when_told(
    tmp_path: Path,
) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    silent.settimeout(30)
    url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/x?{QUERY}"
    server = Server(
        tmp_path / "data", "--workers", "2", environment={**UNMEASURED, URL: url}
    )
    with ExitStack() as held:
        held.callback(server.close)  # after what follows
        held.enter_context(silent)
        silent.accept()[0].close()  # the first process's own look goes on
        for _ in range(2):
            held.enter_context(silent.accept()[0])

        server.process.send_signal(signal.SIGTERM)

        wait_for(lambda: "Received SIGTERM" in server.log(), 10)
        assert "startup complete" not in server.log()
    assert server.process.returncode == 0
