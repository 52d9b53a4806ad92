"""Work that begins at once, and what becomes of it when it has to wait."""

import asyncio
from contextlib import suppress
from contextvars import ContextVar

import pytest

from app.eager import NextTurn, begin, turn


def test_what_waits_for_nothing_is_done_at_once() -> None:
    async def main() -> None:
        done = []

        async def work() -> None:
            done.append("all")

        task = begin(work(), asyncio.get_running_loop())

        assert (task, done) == (None, ["all"])

    asyncio.run(main())


def test_what_fails_before_it_waits_fails_at_once() -> None:
    async def main() -> None:
        async def work() -> None:
            raise ValueError("bad")

        with pytest.raises(ValueError, match="bad"):
            begin(work(), asyncio.get_running_loop())

    asyncio.run(main())


def test_what_waits_goes_on_as_a_task_with_what_it_waited_for() -> None:
    async def main() -> None:
        loop, seen = asyncio.get_running_loop(), list[object]()
        first, second = loop.create_future(), loop.create_future()

        async def work() -> None:
            seen.append(await first)
            seen.append(await second)
            seen.append(asyncio.current_task())

        task = begin(work(), loop)
        first.set_result("first")
        loop.call_soon(second.set_result, "second")
        assert task is not None
        await task

        assert seen == ["first", "second", task]

    asyncio.run(main())


def test_after_a_turn_there_is_a_task() -> None:
    async def main() -> None:
        async def work() -> None:
            await turn()
            async with asyncio.timeout(0.01):  # which no coroutine alone may have
                await asyncio.Event().wait()

        task = begin(work(), asyncio.get_running_loop())
        assert task is not None
        with pytest.raises(TimeoutError):
            await task

    asyncio.run(main())


@pytest.mark.parametrize("is_late", [False, True], ids=["at its start", "later"])
def test_a_cancellation_reaches_the_work(*, is_late: bool) -> None:
    async def main() -> None:
        seen = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                await turn()
                seen.append("cleared up")
                raise

        task = begin(work(), asyncio.get_running_loop())
        assert task is not None
        if is_late:
            await turn()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

        assert (seen, task.cancelled()) == (["cancelled", "cleared up"], True)

    asyncio.run(main())


def test_an_error_of_what_it_waits_for_reaches_the_work() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        answer, seen = loop.create_future(), list[str]()

        async def work() -> None:
            try:
                await answer
            except ValueError as error:
                seen.append(str(error))

        task = begin(work(), loop)
        assert task is not None
        answer.set_exception(ValueError("lost"))
        await task

        assert seen == ["lost"]

    asyncio.run(main())


def test_in_a_turn_the_small_begin_before_the_large_that_came_earlier() -> None:
    async def main() -> list[str]:
        next_turn, seen = NextTurn(), list[str]()
        grown = bytearray()
        next_turn.add(grown, seen.append, "grew")
        next_turn.add(b"12", seen.append, "first of two")
        next_turn.add(b"34", seen.append, "second of two")
        next_turn.add(b"", seen.append, "empty")
        grown += b"123"

        await turn()

        return seen

    assert asyncio.run(main()) == ["empty", "first of two", "second of two", "grew"]


def test_what_begins_in_a_turn_may_add_to_the_next() -> None:
    async def main() -> list[str]:
        next_turn, seen = NextTurn(), list[str]()
        next_turn.add(b"", next_turn.add, b"", seen.append, "later")

        await turn()
        assert not seen
        await turn()

        return seen

    assert asyncio.run(main()) == ["later"]


def test_one_that_fails_lets_the_others_begin(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[str]:
        next_turn, seen = NextTurn(), list[str]()
        next_turn.add(b"", {}.pop, "missing")
        next_turn.add(b"", seen.append, "other")

        await turn()

        return seen

    assert asyncio.run(main()) == ["other"]
    assert "KeyError" in caplog.text


def test_who_begins_knows_nothing_of_who_was_answered_before() -> None:
    span = ContextVar("span", default="none")

    async def main() -> list[str]:
        next_turn, seen = NextTurn(), list[str]()

        async def answer() -> None:
            span.set("that of another request")
            next_turn.add(b"", lambda: seen.append(span.get()))

        await asyncio.create_task(answer())
        await turn()

        return seen

    assert asyncio.run(main()) == ["none"]
