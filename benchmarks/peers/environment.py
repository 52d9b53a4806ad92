"""An environment of its own for each other model server, under .venv-peers."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
TIMEOUT_SECONDS: Final = 900.0


class InstallError(Exception):
    """A model server could not be installed."""


def pinned(peer: str) -> str:
    """Return a server's name and version: the first of its requirements."""
    first, *_ = _requirements(peer).read_text().splitlines()
    return first.replace("==", " ")


def environment(peer: str) -> dict[str, str]:
    """Return variables under which `python` is a server's own, installed if need be.

    Raises:
        InstallError: It could not be installed.
    """
    venv = ROOT / ".venv-peers" / peer
    done = venv / "installed.txt"
    requirements = _requirements(peer)
    if not done.exists() or done.read_text() != requirements.read_text():
        _run(sys.executable, "-m", "venv", "--clear", str(venv))
        _run(
            *(str(venv / "bin/python"), "-m", "pip", "install", "--quiet"),
            *("--disable-pip-version-check", "--requirement", str(requirements)),
        )
        done.write_text(requirements.read_text())
    return {
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


def _requirements(peer: str) -> Path:
    return Path(__file__).with_name(f"{peer}.txt")


def _run(*command: str) -> None:
    try:
        subprocess.run(  # nothing in it comes from outside
            command, check=True, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if "ERROR" in line]
        raise InstallError(lines[-1] if lines else str(error)) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(str(error)) from error
