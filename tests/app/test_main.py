"""How the service is put together and taken apart."""

import asyncio

import pytest

from app.main import end_all


def test_an_end_that_fails_is_told_of_after_all_others() -> None:
    ended = []

    async def fail() -> None:
        raise RuntimeError("no thread")

    async def end_later() -> None:
        for _ in range(9):  # turns, when the other has failed long since
            await asyncio.sleep(0)
        ended.append(1)

    with pytest.raises(RuntimeError, match="no thread"):
        asyncio.run(end_all([fail, end_later]))

    assert ended
