"""Admission: requests are turned away while too many of them wait too long.

A request waits while the event loop answers those that came in the same turn. A wait
alone is no overload: after a pause of the machine the loop catches up by itself. So
those that waited too long are answered all the same, unless that goes on for a while,
and then a few in each turn. What is turned away costs little, so that nearly all the
time goes into answers, and a turn stays short for the probes of the process.

References:
    Nichols & Jacobson (2012), Controlling Queue Delay, ACM Queue 10(5): it is the time
    of waiting, and not the length of a queue, that tells overload from a burst.
"""

from math import inf
from time import perf_counter
from typing import Final

WAIT_SECONDS: Final = 0.02  # from a body's end to its turn
LATE_IN_A_ROW: Final = 8
LASTING_SECONDS: Final = 0.1
CALM_SECONDS: Final = 0.5


class OverloadedError(Exception):
    """More comes than can be answered."""


class Admission:
    """What one process remembers of the requests that waited too long."""

    def __init__(self) -> None:
        """Start with none."""
        self._in_a_row, self._since, self._last = 0, 0.0, -inf

    def admit(self, came: float) -> None:
        """Let a request pass whose last byte came at this time.

        Raises:
            OverloadedError: It has waited too long, as many have for a while.
        """
        now = perf_counter()
        if now - came < WAIT_SECONDS:
            self._in_a_row = 0
            return
        if now - self._last > CALM_SECONDS:
            self._since = now
        self._last = now
        self._in_a_row += 1
        is_lasting = now - self._since > LASTING_SECONDS
        if is_lasting and self._in_a_row > LATE_IN_A_ROW:
            raise OverloadedError("try again a little later")
