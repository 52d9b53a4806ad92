"""The time of a refusal: whether it tells how near a wrong key was.

Wrong keys of 16 characters, of which the first 0 to 15 are right, are tried in turn, in
an order drawn anew each time: at the guard alone, which is steady, and over HTTP, which
is what an attacker sees. A machine is not equally fast all the time, so each time is
taken over the median of its round, and the kinds are compared by the medians of that.
Where a difference is seen there are more tries, three times as many at most: what is
there stays. The control is a guard that also compares characters and leaves at the
first wrong one: there the difference must be found.

Usage: python -m tests.faults.timing [--tries N]
"""

import argparse
import gc
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from rich.table import Table

from app.auth import Guard, Scope, UnauthenticatedError
from app.settings import Settings
from tests.faults.report import report
from tests.server import Server

KEY: Final = b"0123456789abcdef"
WRONG: Final = [KEY[:right].ljust(len(KEY), b"x") for right in range(len(KEY))]
BOUND: Final = 0.02
MOST: Final = 3  # times as many tries where a difference is seen
SEED: Final = 0
SETTINGS: Final = {"predict_key": KEY.decode(), "wrong_keys_limit": 1 << 60}


class Compared(NamedTuple):
    """Some kinds of wrong keys, compared.

    Attributes:
        tries: Of each kind.
        seconds: The median of all.
        difference: Between the slowest and the fastest kind, as a share.
    """

    tries: int
    seconds: float
    difference: float


def compare(attempt: Callable[[bytes], None], tries: int) -> Compared:
    """Try each kind so often; more often where a difference is seen."""
    rounds: list[list[int]] = []
    order = np.random.default_rng(SEED)
    while len(rounds) < MOST * tries:
        rounds += _rounds(attempt, tries, order)
        times = np.array(rounds)
        shares = np.median(times / np.median(times, axis=1, keepdims=True), axis=0)
        found = Compared(
            len(rounds), 1e-9 * float(np.median(times)), float(np.ptp(shares))
        )
        if found.difference < BOUND:
            break
    return found


def _rounds(
    attempt: Callable[[bytes], None], tries: int, order: np.random.Generator
) -> list[list[int]]:
    """Return the nanoseconds of each kind in each round."""
    rounds, clock = [[0] * len(WRONG) for _ in range(tries)], time.perf_counter_ns
    gc.disable()
    for taken in rounds:
        for kind in order.permutation(len(WRONG)).tolist():
            key = WRONG[kind]
            began = clock()
            attempt(key)
            taken[kind] = clock() - began
    gc.enable()
    return rounds


def at_guard(key: bytes) -> None:
    """Show a wrong key to the guard itself."""
    try:
        _GUARD.check(Scope.PREDICT, _CONNECTION, {b"x-api-key": key})
    except UnauthenticatedError:
        return
    raise AssertionError("the key is taken")


def carelessly(key: bytes) -> None:
    """Do more than the guard, as it should not: leave at the first wrong character."""
    at_guard(key)
    if all(mine == theirs for mine, theirs in zip(KEY, key, strict=True)):
        raise AssertionError("the key is taken")


class OverHttp:
    """A persistent connection on which wrong keys are refused."""

    def __init__(self, port: int) -> None:
        """Connect, and learn how long a refusal is."""
        self._connection = socket.create_connection(("127.0.0.1", port))
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sendall(_request(WRONG[0]))
        content = b""
        while b"\r\n\r\n" not in content or not content.endswith(b"}"):
            content += self._connection.recv(65_536)
        self._length = len(content)

    def __call__(self, key: bytes) -> None:
        """Ask, and wait for the whole refusal."""
        self._connection.sendall(_request(key))
        answer = self._connection.recv(self._length, socket.MSG_WAITALL)
        if not answer.startswith(b"HTTP/1.1 401 "):
            raise AssertionError(answer)


def _request(key: bytes) -> bytes:
    head = b"GET /models HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %b\r\n\r\n"
    return head % key


def over_http(tries: int) -> Compared:
    """Compare at a server of its own."""
    variables = {f"OFFSETNET_{k.upper()}": str(v) for k, v in SETTINGS.items()}
    with (
        tempfile.TemporaryDirectory(prefix="offsetnet-") as folder,
        Server(Path(folder) / "data", environment=variables) as server,
    ):
        return compare(OverHttp(server.port), tries)


_GUARD: Final = Guard(Settings.model_validate(SETTINGS))
_CONNECTION: Final = {"server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1)}


def main() -> int:
    """Compare, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tries", type=int, default=10_000)
    tries = parser.parse_args().tries
    found = {
        "the guard": compare(at_guard, tries),
        "over HTTP": over_http(tries),
        "control: leaves at the first wrong character": compare(carelessly, tries),
    }
    table = Table("where", "tries of each kind", "median", "largest difference")
    wrong = []
    for name, (tried, seconds, difference) in found.items():
        share, is_control = f"{100 * difference:.2f} %", name.startswith("control")
        table.add_row(name, f"{tried:,}", f"{1e6 * seconds:.2f} µs", share)
        if (difference < BOUND) == is_control:
            wrong.append(f"{name}: a difference of {share}")
    return report(table, wrong)


if __name__ == "__main__":
    sys.exit(main())
