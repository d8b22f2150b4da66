"""Who is let in, and what the others are told."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from repsr_serve.admission import Admission, State
from repsr_serve.problems import Problem


def opened(queue: int = 3, uploads_bytes: int = 1000, wait_s: int = 7) -> Admission:
    admission = Admission(queue=queue, uploads_bytes=uploads_bytes, retry_after_s=lambda: wait_s)
    admission.state = "open"
    return admission


async def refused(admission: Admission, upload_bytes: int = 0) -> Problem:
    with pytest.raises(Problem) as caught:
        async with admission.enter(upload_bytes):
            pass
    return caught.value


def test_so_many_requests_are_under_way() -> None:
    async def story() -> None:
        admission = opened()
        async with AsyncExitStack() as inside:
            for count in range(3):
                assert admission.entered == count
                await inside.enter_async_context(admission.enter())
            problem = await refused(admission)
            assert (problem.cause, problem.status, problem.retry_after_s) == ("overloaded", 503, 7)
            assert "3 requests" in problem.detail
        assert admission.entered == 0
        async with admission.enter():
            pass

    asyncio.run(story())


def test_uploads_have_so_many_bytes_together() -> None:
    async def story() -> None:
        admission = opened()
        async with admission.enter(600):
            assert (await refused(admission, 401)).cause == "overloaded"
            async with admission.enter(400):
                assert admission.reserved_bytes == 1000
        assert admission.reserved_bytes == 0

    asyncio.run(story())


def test_whoever_fails_or_leaves_is_counted_out() -> None:
    async def story() -> None:
        admission = opened()
        with pytest.raises(ZeroDivisionError):
            async with admission.enter(10):
                raise ZeroDivisionError

        async def stay() -> None:
            async with admission.enter(10):
                await asyncio.sleep(60)

        task = asyncio.create_task(stay())
        await asyncio.sleep(0)
        assert admission.entered == 1
        task.cancel()
        await asyncio.wait([task])
        assert admission.entered == admission.reserved_bytes == 0

    asyncio.run(story())


@pytest.mark.parametrize("state", ["starting", "stopping"])
def test_what_is_not_up_says_so(state: State) -> None:
    admission = opened()
    admission.state = state
    problem = asyncio.run(refused(admission))
    assert (problem.cause, problem.status) == (state, 503)
    assert problem.retry_after_s


def test_those_inside_stay_when_it_stops() -> None:
    async def story() -> None:
        admission = opened()
        async with admission.enter():
            admission.state = "stopping"
            assert (await refused(admission)).cause == "stopping"
            assert admission.entered == 1
        assert admission.entered == 0

    asyncio.run(story())
