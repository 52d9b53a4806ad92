"""Admission: requests are turned away while too many of them wait too long.

A request waits while the event loop answers those that came in the same turn. A wait
alone is no overload: after a pause of the machine the loop catches up by itself. So
those that waited too long are answered all the same, unless that goes on for a while,
and then a few in each turn. What is turned away costs little, so that nearly all the
time goes into answers, and a turn stays short for the probes of the process. Where the
process waits for a processor, turning requests away would help nobody: that is told by
the processor time of its thread.

References:
    Nichols & Jacobson (2012), Controlling Queue Delay, ACM Queue 10(5): it is the time
    of waiting, and not the length of a queue, that tells overload from a burst.
"""

from math import inf
from time import perf_counter, thread_time
from typing import Final

WAIT_SECONDS: Final = 0.02  # from a body's end to its turn
LATE_IN_A_ROW: Final = 8
LASTING_SECONDS: Final = 0.1
CALM_SECONDS: Final = 0.5
BUSY: Final = 0.75  # of a processor


class OverloadedError(Exception):
    """More comes than can be answered."""


class Admission:
    """What one process remembers of the requests that waited too long."""

    def __init__(self) -> None:
        """Start with none."""
        self._in_a_row, self._last = 0, -inf
        self._measured, self._computed, self._share = 0.0, 0.0, 0.0

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
            self._share = 0.0
            self._measured, self._computed = now, thread_time()
        self._last = now
        self._in_a_row += 1
        if self._share_of_processor(now) > BUSY and self._in_a_row > LATE_IN_A_ROW:
            raise OverloadedError("try again a little later")

    def _share_of_processor(self, now: float) -> float:
        """Return how busy this thread was lately, 0 where that is not known yet."""
        seconds = now - self._measured
        if seconds > LASTING_SECONDS:
            computed = thread_time()
            self._share = (computed - self._computed) / seconds
            self._measured, self._computed = now, computed
        return self._share
