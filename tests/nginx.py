"""A real nginx for tests, with the configuration of `deploy/`."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import pytest

from tests.app.processes import children
from tests.server import DEADLINE_SECONDS, free_port, wait_for

CONFIGURATION: Final = Path(__file__).parents[1] / "deploy" / "nginx.conf"
_AROUND: Final = """\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log info;
events { worker_connections 1000; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include offsetnet.conf;
}
"""


class Nginx(NamedTuple):
    """An nginx.

    Attributes:
        folder: Its own.
        port: Where it listens.
        pid: Its process, or that of the master whose worker does all.
        client: A client of it.
    """

    folder: Path
    port: int
    pid: int
    client: httpx.Client

    def tell(self, ports: Sequence[int]) -> None:
        """Let a new worker pass requests to these, and return when the old one left."""
        old = {*children(self.pid)}
        (self.folder / "offsetnet.conf").write_text(_configuration(self.port, ports))
        os.kill(self.pid, signal.SIGHUP)
        wait_for(lambda: not old & {*children(self.pid)})


def program(name: str) -> str:
    """Return where a program is; it is optional for a newcomer, required in CI."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is required here")
        pytest.skip(f"no {name} on this machine")
    return found


def prepare(folder: Path, configuration: str) -> list[str]:
    """Write what nginx needs, and return its command.

    Even `nginx -t` binds its ports, and only root may bind 80 and 443.
    """
    unprivileged = re.sub(
        r"(listen (?:\[::\]:)?)(80|443)\b", r"\g<1>\g<2>00", configuration
    )
    (folder / "nginx.conf").write_text(_AROUND)
    (folder / "offsetnet.conf").write_text(unprivileged)
    return [program("nginx"), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "error.log"]


@contextmanager
def nginx(
    folder: Path, ports: Sequence[int], host: str, *, has_master: bool = False
) -> Iterator[Nginx]:
    """Run nginx before servers, with other ports and all else as it is."""
    port = free_port()
    command = prepare(folder, _configuration(port, ports))
    alone = [] if has_master else ["-g", "master_process off;"]
    process = subprocess.Popen([*command, *alone])
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Host": host},
        timeout=DEADLINE_SECONDS,
    )
    try:
        wait_for(lambda: _answers(client))
        yield Nginx(folder, port, process.pid, client)
    finally:
        client.close()
        process.terminate()
        process.wait(DEADLINE_SECONDS)


def _configuration(port: int, ports: Sequence[int]) -> str:
    configuration = CONFIGURATION.read_text()
    for shipped, here in {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "listen [::]:80;": "",
        "server 127.0.0.1:8000;": "".join(f"server 127.0.0.1:{n};" for n in ports),
    }.items():
        assert configuration.count(shipped) == 1
        configuration = configuration.replace(shipped, here)
    return configuration


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").is_success
    except httpx.TransportError:
        return False
