"""Memory in turns: who waits for whom, what is never lent twice, what comes back."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from repsr_serve.budget import MOST_OVERTAKING, Budget, Lane, Lease

TOTAL, SMALL_BYTES = 800, 100
Granted = list[str]


async def asked(budget: Budget, size: int, lane: Lane, granted: Granted, name: str) -> Lease:
    lease = await budget.reserve(size, lane)
    granted.append(name)
    return lease


async def turns() -> None:
    """Let all tasks go on as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


def ask(budget: Budget, size: int, lane: Lane, granted: Granted, name: str = "") -> asyncio.Task[Lease]:
    return asyncio.create_task(asked(budget, size, lane, granted, name))


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 20))


def test_large_pictures_have_it_in_order_and_small_ones_pass() -> None:
    async def story() -> None:
        budget, granted = Budget(TOTAL), Granted()
        first = await ask(budget, 600, Lane.LARGE, granted, "a")
        waiting = [ask(budget, size, Lane.LARGE, granted, name) for size, name in ((500, "b"), (50, "c"))]
        await turns()
        assert granted == ["a"]  # c would fit, and would make b wait for ever
        small = await ask(budget, SMALL_BYTES, Lane.SMALL, granted, "small")
        first.release()
        await asyncio.gather(*waiting)
        assert granted == ["a", "small", "b", "c"]
        assert budget.reserved_bytes == 500 + 50 + SMALL_BYTES
        small.release()
        for task in waiting:
            task.result().release()
        assert budget.reserved_bytes == budget.waiting == 0

    run(story())


def test_small_pictures_take_all_that_is_free_until_larger_ones_wait() -> None:
    async def story() -> None:
        budget, granted = Budget(TOTAL), Granted()
        smalls = [await ask(budget, 100, Lane.SMALL, granted, "small") for _ in range(8)]
        large = ask(budget, 100, Lane.LARGE, granted, "large")
        more = ask(budget, 100, Lane.SMALL, granted, "more")
        await turns()
        assert budget.waiting == 2
        smalls.pop().release()  # the small ones have more than their share: now it is the large one's turn
        await large
        assert not more.done()
        for lease in smalls:
            lease.release()
        await more

    run(story())


def test_large_pictures_leave_the_share_of_small_ones_free() -> None:
    async def story() -> None:
        budget, granted = Budget(TOTAL), Granted()
        lease = await ask(budget, TOTAL - SMALL_BYTES, Lane.LARGE, granted)
        large = ask(budget, 1, Lane.LARGE, granted)
        await turns()
        assert not large.done()
        await ask(budget, SMALL_BYTES, Lane.SMALL, granted)
        lease.release()
        await large

    run(story())


def test_jobs_leave_room_for_a_request_and_let_requests_pass() -> None:
    async def story() -> None:
        budget, granted = Budget(TOTAL, foreground_bytes=200), Granted()
        assert budget.most(Lane.BACKGROUND) == TOTAL - SMALL_BYTES - 200
        job = await ask(budget, 500, Lane.BACKGROUND, granted, "job")
        second = ask(budget, 1, Lane.BACKGROUND, granted, "second")
        request = await ask(budget, 200, Lane.LARGE, granted, "request")
        await turns()
        assert not second.done()
        job.release()
        await second
        third = ask(budget, 499, Lane.BACKGROUND, granted, "third")  # has to wait: 700 - 200 - 1 = 499
        await third
        fourth = ask(budget, 300, Lane.LARGE, granted, "fourth")
        fifth = ask(budget, 300, Lane.BACKGROUND, granted, "fifth")
        third.result().release()
        await fourth
        request.release()
        await fifth
        assert granted == ["job", "request", "second", "third", "fourth", "fifth"]

    run(story())


def test_no_more_than_so_many_requests_pass_a_job() -> None:
    async def story() -> None:
        budget, granted = Budget(TOTAL, foreground_bytes=100), Granted()
        held = await ask(budget, 700, Lane.LARGE, granted, "large")
        job = ask(budget, 600, Lane.BACKGROUND, granted, "job")
        requests = [ask(budget, 700, Lane.LARGE, granted, "large") for _ in range(MOST_OVERTAKING + 5)]
        for task in (job, *requests):
            task.add_done_callback(lambda task: task.result().release())
        await turns()
        held.release()
        await asyncio.gather(job, *requests)
        assert granted.index("job") == MOST_OVERTAKING + 1

    run(story())


def test_a_wait_that_is_given_up_lets_the_next_pass() -> None:
    async def story() -> None:
        budget, granted = Budget(TOTAL), Granted()
        held = await ask(budget, 600, Lane.LARGE, granted)
        first, second = (ask(budget, size, Lane.LARGE, granted) for size in (500, 50))
        await turns()
        first.cancel()
        await second
        assert first.cancelled()
        assert budget.reserved_bytes == 650
        third = ask(budget, 300, Lane.LARGE, granted)
        await turns()
        held.release()
        third.cancel()  # in the same turn in which it is granted
        await asyncio.wait([third])
        assert third.cancelled()
        assert budget.reserved_bytes == 50

    run(story())


def test_a_lease_comes_back_once_from_any_thread_and_shrinks() -> None:
    async def story() -> None:
        budget = Budget(TOTAL)
        lease = await budget.reserve(400, Lane.LARGE)
        lease.shrink(500)
        assert budget.reserved_bytes == 400
        lease.shrink(30)
        assert budget.reserved_bytes == 30
        threads = [threading.Thread(target=lease.release) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await turns()
        assert budget.reserved_bytes == 0
        with await budget.reserve(10, Lane.SMALL):
            assert budget.reserved_bytes == 10
        assert budget.reserved_bytes == 0

    run(story())


def test_a_lease_outlives_its_loop() -> None:
    lease = asyncio.run(Budget(TOTAL).reserve(1, Lane.SMALL))
    lease.release()


@pytest.mark.parametrize(("size", "lane"), [(101, Lane.SMALL), (701, Lane.LARGE), (501, Lane.BACKGROUND)])
def test_what_can_never_be_lent_is_refused(size: int, lane: Lane) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes"):
        asyncio.run(Budget(TOTAL, foreground_bytes=200).reserve(size, lane))


@pytest.mark.parametrize("seed", range(5))
def test_random_traffic_never_exceeds_a_share_and_all_are_served(seed: int) -> None:
    chance = random.Random(seed)

    async def story() -> None:
        budget = Budget(TOTAL, foreground_bytes=chance.choice([0, 100, 300, 700]))
        lent = dict.fromkeys(Lane, 0)

        async def customer(lane: Lane) -> None:
            size = chance.randint(1, budget.most(lane))
            reserving = asyncio.create_task(budget.reserve(size, lane))
            if chance.random() < 0.1:
                await asyncio.sleep(0)
                reserving.cancel()
                if (await asyncio.wait([reserving])) and reserving.cancelled():
                    return
            lease = await reserving
            lent[lane] += size
            assert sum(lent.values()) <= TOTAL
            assert lent[Lane.LARGE] + lent[Lane.BACKGROUND] <= TOTAL - SMALL_BYTES
            assert lent[Lane.BACKGROUND] <= budget.most(Lane.BACKGROUND)
            await asyncio.sleep(chance.random() / 500)
            lent[lane] -= size
            lease.release()

        await asyncio.gather(*(customer(chance.choice(list(Lane))) for _ in range(300)))
        assert budget.reserved_bytes == budget.waiting == 0

    run(story())
