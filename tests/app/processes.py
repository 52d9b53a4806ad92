"""Other processes, as Linux shows them under /proc."""

import resource
import time
from pathlib import Path
from typing import Final

from tests.app.answers import EMILY
from tests.server import Server, wait_for

LAG_SECONDS: Final = 20.0
FRESH: Final = {"Connection": "close"}


def allow_descriptors(count: int) -> None:
    """Let this process, and those that it starts, open so many files at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, min(count, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    return _state(pid) not in {None, "Z"}


def children(pid: int) -> list[int]:
    """Return the running processes that this one started."""
    found = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [child for child in found if _parent(child) == pid and is_alive(child)]


def only_child(pid: int) -> int:
    """Return the one process that this one started, once it is there."""
    (child,) = wait_for(lambda: children(pid))
    return child


def runner_of(pid: int) -> int:
    """Return a server's runner, once it is the runner and no fork of its server."""
    child = only_child(pid)
    command = Path(f"/proc/{child}/cmdline")
    wait_for(lambda: b"app.runner" in command.read_bytes())
    return child


def zombies(pid: int) -> list[int]:
    """Return the processes below this one that have ended and were not let go of."""
    found = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [child for child in found if _parent(child) == pid and _state(child) == "Z"]


def lag(server: Server, version: int, processes: int = 2) -> float:
    """Return for how long from now on a process answers with another version.

    Each request has a connection of its own. The ids that a process gives to requests
    are near each other, and far from those of other processes.
    """
    began = last = time.monotonic()
    new: set[int] = set()
    while len(new) < processes:
        asked = time.monotonic()
        assert asked < began + LAG_SECONDS, f"{len(new)} of {processes} answer with it"
        answer = server.client.post("/predict", json=EMILY, headers=FRESH)
        process = int(answer.headers["X-Request-ID"], 16) >> 32
        if answer.json()["model_version"] == version:
            new.add(process)
        else:
            last = asked
    return last - began


def peak_bytes(pid: int) -> int:
    """Return the most resident memory since this was asked before, then look anew."""
    status = Path(f"/proc/{pid}/status").read_text()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _state(pid: int) -> str | None:
    fields = _stat(pid)
    return fields[0] if fields else None


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _stat(pid: int) -> list[str]:
    """Return what stands after the name: the state, the parent, and so on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()
