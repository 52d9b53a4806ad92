"""The desk, where no thread can be started."""

import asyncio
import threading

import pytest

from app.desk import Desk
from app.store import BusyError

HUGE = 1 << 46  # bytes of a stack, which no system has


def test_a_thread_that_cannot_be_started_takes_no_place() -> None:
    async def ask() -> list[int]:
        desk = Desk(threads=1)
        usual = threading.stack_size(HUGE)
        try:
            for _ in range(2):
                with pytest.raises(BusyError):
                    await desk.ask(int)
        finally:
            threading.stack_size(usual)
        return [await desk.ask(int, number) for number in (1, 2)]

    assert asyncio.run(ask()) == [1, 2]
