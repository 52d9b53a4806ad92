"""Servers that are ready once they have answered, and the end of all they started."""

import ctypes
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import httpx

from benchmarks.load import Request
from tests.server import Server

ANSWER: Final = "0.949"  # the probability for Emily, as each server writes it
PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


class StartError(Exception):
    """A server ended, or did not answer, or not with the probability."""


class AnsweringServer(Server):
    """A server that is ready once it has answered the request it is measured with."""

    def __init__(
        self, data_dir: Path, request: Request, *arguments: str, **options: Any
    ) -> None:
        """Start it."""
        self.request = request
        super().__init__(data_dir, *arguments, **options)

    def __enter__(self) -> Self:
        """Wait until it has answered.

        Raises:
            StartError: It has not, or not rightly.
        """
        try:
            return super().__enter__()
        except AssertionError as error:
            causes = re.findall(r"^[\w.]+Error: .*", self.log(), re.MULTILINE)
            raise StartError(causes[0] if causes else str(error)) from error

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError("the server ended")
        try:
            answer = self.client.post(
                self.request.path,
                content=self.request.body,
                headers={"Content-Type": self.request.content_type},
            )
        except httpx.TransportError:
            return False
        if answer.is_success and ANSWER not in answer.text:
            raise AssertionError(f"expected {ANSWER}, got {answer.text[:80]}")
        return answer.is_success


@contextmanager
def end_descendants() -> Iterator[None]:
    """Kill, at the end, whatever was started meanwhile and still runs.

    A server that is stopped may leave its workers behind; they become children of this
    process, which the kernel is told here.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        with suppress(ChildProcessError):  # there is none left
            while True:
                for children in Path("/proc/self/task").glob("*/children"):
                    for child in map(int, children.read_text().split()):
                        os.kill(child, signal.SIGKILL)
                os.waitpid(-1, 0)
