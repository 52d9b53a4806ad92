"""The metrics: numbers that each process of a server adds to, summed when asked.

Every process has a row of numbers of its own, so that adding takes no lock. The rows of
`offsetnet serve --workers` stand in one file: a process takes the first row that nobody
holds and counts on from what stands there, so nothing is lost when one is replaced.
"""

import asyncio
import fcntl
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from model import LABEL_THRESHOLD, LABELS, Floats

SECONDS: Final = (
    *(1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
LAGS: Final = SECONDS[SECONDS.index(1e-3) :]  # the loop's clock ticks in milliseconds
PROBABILITIES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
STATUSES: Final = (
    *(0, 200, 202, 204, 206, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415),
    *(416, 422, 428, 429, 431, 500, 501, 503),
)  # 0: none of these, or none was sent
LAG_SECONDS: Final = 0.25
OTHER: Final = ("_OTHER", "")  # a method or path that is nobody's

_NUMBER_BYTES: Final = 8
_PAGE: Final = mmap.ALLOCATIONGRANULARITY


def _width(bounds: Sequence[float]) -> int:
    """Return how many numbers a histogram takes: its counts and their total."""
    return len(bounds) + 2


_BLOCK: Final = len(STATUSES) * _width(SECONDS)  # the numbers of one route
_TOTAL: Final = _width(SECONDS) - 1
_LAST: Final = _width(PROBABILITIES) - 1


class Histogram(NamedTuple):
    """Values counted by the first upper bound that they do not pass.

    Attributes:
        bounds: The upper bounds, ascending, in the unit of the values.
        counts: One for each bound, and one for what passes them all.
        total: The sum of the values.
    """

    bounds: Sequence[float]
    counts: Sequence[float]
    total: float


class Totals(NamedTuple):
    """What all processes have counted.

    Attributes:
        requests: Their seconds, by method, route and status, where there are any.
        probability: The probabilities that were answered.
        labels: How many people got each label.
        lag: How many seconds late the event loop was.
        swaps: How often a version took another's place in a process.
        bugs: How many requests were answered 500.
        sheds: How many requests were turned away, by reason.
    """

    requests: dict[tuple[str, str, int], Histogram]
    probability: Histogram
    labels: dict[str, float]
    lag: Histogram
    swaps: float
    bugs: float
    sheds: dict[str, float]


class Metrics:
    """The metrics of one server, to each of its processes."""

    def __init__(self, routes: Sequence[tuple[str, str]], sheds: Sequence[str]) -> None:
        """Start with zeros that no other process sees.

        Args:
            routes: The methods and paths that requests are told apart by.
            sheds: The reasons for which requests are turned away.
        """
        names = (OTHER, *routes)
        self._statuses = {s: i * _width(SECONDS) for i, s in enumerate(STATUSES)}
        self._blocks = {n: i * _BLOCK for i, n in enumerate(names)}
        self._probability = len(names) * _BLOCK
        self._lag = self._probability + _width(PROBABILITIES)
        self._labels = self._lag + _width(LAGS)
        self._swaps = self._labels + len(LABELS)
        self._bugs = self._swaps + 1
        self._sheds = {reason: self._bugs + 1 + i for i, reason in enumerate(sheds)}
        used = (self._bugs + 2 + len(sheds)) * _NUMBER_BYTES  # and the mark
        self._row_bytes = -(-used // _PAGE) * _PAGE
        self._mark = sha256(repr((names, *sheds)).encode()).digest()[:_NUMBER_BYTES]
        self._file: int | None = None
        self._memory = mmap.mmap(-1, self._row_bytes)
        self._row = memoryview(self._memory).cast("d")

    def share(self, path: Path) -> None:
        """Count in a row of this file from here on, until the process ends.

        Raises:
            OSError: The file cannot be used, or its rows are those of another release.
        """
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            start = self._take_row(file)
            self._memory = mmap.mmap(file, self._row_bytes, offset=start)
        except OSError:
            os.close(file)
            raise
        self._file, self._row = file, memoryview(self._memory).cast("d")

    def _take_row(self, file: int) -> int:
        """Return where the row starts that is this process's as long as it lives."""
        starts = count(0, self._row_bytes)
        start = next(start for start in starts if _is_free(file, start))
        end = start + self._row_bytes - _NUMBER_BYTES
        found = os.pread(file, _NUMBER_BYTES, end)
        if found not in (b"", bytes(_NUMBER_BYTES), self._mark):
            raise OSError("these are the metrics of another release")
        if found != self._mark:  # written whole: a hole could not be filled later
            row = bytes(self._row_bytes - _NUMBER_BYTES) + self._mark
            if os.pwrite(file, row, start) < len(row):
                raise OSError("no room is left for a row of metrics")
        return start

    def block(self, method: str, route: str) -> int:
        """Return where the requests of a method and route are counted."""
        return self._blocks.get((method, route), 0)

    def count_request(self, block: int, status: int, seconds: float) -> None:
        """Count a request that has been answered."""
        start = block + self._statuses.get(status, 0)
        row = self._row
        row[start + bisect_left(SECONDS, seconds)] += 1
        row[start + _TOTAL] += seconds

    def count_prediction(self, probability: float) -> None:
        """Count a person's answer."""
        row, start = self._row, self._probability
        row[start + bisect_left(PROBABILITIES, probability)] += 1
        row[start + _LAST] += probability
        row[self._labels + (probability >= LABEL_THRESHOLD)] += 1

    def count_predictions(self, P: Floats) -> None:
        """Count the answers P of many people, in any shape."""
        row, start = self._row, self._probability
        found = np.bincount(np.searchsorted(PROBABILITIES, P.ravel()))
        for index, number in enumerate(found.tolist()):
            row[start + index] += number
        row[start + _LAST] += float(P.sum())
        above = int(np.count_nonzero(P >= LABEL_THRESHOLD))
        row[self._labels] += P.size - above
        row[self._labels + 1] += above

    def count_lag(self, seconds: float) -> None:
        """Count how late the event loop came back to a task."""
        self._row[self._lag + bisect_left(LAGS, seconds)] += 1
        self._row[self._lag + _width(LAGS) - 1] += seconds

    async def watch_loop(self) -> None:
        """Look again and again how late the event loop is, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.count_lag(max(loop.time() - due, 0.0))

    def count_swap(self) -> None:
        """Count a version that took another's place."""
        self._row[self._swaps] += 1

    def count_bug(self) -> None:
        """Count a request that could not be answered as it should."""
        self._row[self._bugs] += 1

    def count_shed(self, reason: str) -> None:
        """Count a request that was turned away for want of room."""
        self._row[self._sheds[reason]] += 1

    def read(self) -> Totals:
        """Sum what all processes have counted."""
        content: bytes | mmap.mmap = self._memory
        if self._file is not None:
            size = os.fstat(self._file).st_size
            content = os.pread(self._file, size - size % self._row_bytes, 0)
        rows = np.frombuffer(content).reshape(-1, self._row_bytes // _NUMBER_BYTES)
        sums: list[float] = rows[:, :-1].sum(axis=0).tolist()  # without the marks
        return Totals(
            requests=dict(self._requests(sums)),
            probability=_histogram(sums, self._probability, PROBABILITIES),
            labels=dict(zip(LABELS, sums[self._labels :], strict=False)),
            lag=_histogram(sums, self._lag, LAGS),
            swaps=sums[self._swaps],
            bugs=sums[self._bugs],
            sheds={reason: sums[slot] for reason, slot in self._sheds.items()},
        )

    def _requests(
        self, sums: Sequence[float]
    ) -> Iterator[tuple[tuple[str, str, int], Histogram]]:
        for (method, route), block in self._blocks.items():
            for status, offset in self._statuses.items():
                found = _histogram(sums, block + offset, SECONDS)
                if any(found.counts):
                    yield (method, route, status), found


def _is_free(file: int, start: int) -> bool:
    """Take the row that starts here, if no other process holds it."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _histogram(sums: Sequence[float], start: int, bounds: Sequence[float]) -> Histogram:
    end = start + _width(bounds)
    return Histogram(bounds, sums[start : end - 1], sums[end - 1])
