"""Admission: requests are turned away while too many of them wait too long.

A request waits while the event loop answers those that came in the same turn. A wait
alone is no overload: after a pause of the machine the loop catches up by itself. Where
waits go on for a while, each turn gets as many large requests as were lately answered
in a part of a turn, and the others are turned away before anything is done for them:
nearly all the time goes into answers, and a turn stays short for the probes of the
process. Where the process waits for a processor, turning requests away would help
nobody: that is told by the processor time of its thread.

References:
    Nichols & Jacobson (2012), Controlling Queue Delay, ACM Queue 10(5): it is the time
    of waiting, and not the length of a queue, that tells overload from a burst.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import Final

WAIT_SECONDS: Final = 0.05  # from a body's end to its turn
TURN_SECONDS: Final = 0.045  # of answers
LEAST_IN_A_TURN: Final = 4
LASTING_SECONDS: Final = 0.1
CALM_SECONDS: Final = 0.5
BUSY: Final = 0.75  # of a processor


class Admission:
    """What one process remembers of the requests that waited too long.

    Attributes:
        is_shedding: Whether requests may be turned away.
    """

    def __init__(
        self,
        now: Callable[[], float] = perf_counter,
        computed: Callable[[], float] = thread_time,
    ) -> None:
        """Start with none, and with clocks of the day and of this thread's work."""
        self._now, self._thread = now, computed
        self.is_shedding = False
        self._last = self._measured = self._computed = 0.0  # seconds
        self._answered = self._in_turn = 0
        self._most = LEAST_IN_A_TURN

    def note(self, came: float) -> None:
        """Take note that a request's turn has come, whose last byte came then."""
        now = self._now()
        self._answered += 1
        if now - came > WAIT_SECONDS:
            self._measure(now)

    def admits(self) -> bool:
        """Tell whether one more large request can be answered in this turn."""
        if not self._in_turn:
            asyncio.get_running_loop().call_soon(self._end_turn)
            if self._now() - self._last > CALM_SECONDS:
                self.is_shedding = False
        self._in_turn += 1
        if self.is_shedding and self._in_turn > self._most:
            self._measure(self._now())
            return not self.is_shedding
        return True

    def _end_turn(self) -> None:
        self._in_turn = 0

    def _measure(self, now: float) -> None:
        """Look again and again, while requests come late, whether that is overload."""
        seconds = now - self._measured
        if now - self._last > CALM_SECONDS:
            self._start(now)
        elif seconds > LASTING_SECONDS:
            computed = self._thread() - self._computed
            self.is_shedding = computed > BUSY * seconds
            if self.is_shedding:
                in_a_turn = self._answered * TURN_SECONDS / computed
                self._most = max(LEAST_IN_A_TURN, int(in_a_turn))
            self._start(now)
        self._last = now

    def _start(self, now: float) -> None:
        self._measured, self._computed, self._answered = now, self._thread(), 0
