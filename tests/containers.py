"""Servers for tests as containers of the image, confined as by a platform."""

import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.server import DEADLINE_SECONDS, Server

_CONFINED: Final = (
    "--network=host",
    "--read-only",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--memory=1536m",  # the runner's bound is 1 GiB
    "--pids-limit=128",
)


class Container(Server):
    """A server in a container that an engine runs in the foreground.

    The engine passes signals and output on, and ends with the container's exit status.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        engine: Sequence[str],
        image: str,
        environment: Mapping[str, str],
    ) -> None:
        """Start it; its data is in a volume of its own, which goes with it.

        Args:
            data_dir: What its log is named after.
            engine: The command of `podman` or `docker`, with its options.
            image: A name that the engine knows.
            environment: The settings.
        """
        self._remove = [*engine, "rm", "--force", "--volumes"]
        name = f"offsetnet-{secrets.token_hex(8)}"
        given = [f"--env={variable}" for variable in environment]
        run = ["run", "--rm", f"--name={name}", *_CONFINED, *given, image, "serve"]
        self._remove.append(name)
        super().__init__(data_dir, environment=environment, command=(*engine, *run))

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Signal it and return its exit status; nothing of it stays behind."""
        try:
            return super().stop(how)
        finally:
            subprocess.run(
                self._remove, capture_output=True, timeout=DEADLINE_SECONDS, check=False
            )
