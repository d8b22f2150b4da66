"""Stages that overlap: every item once, bounded, and no thread left, however it ends."""

from __future__ import annotations

import gc
import itertools
import random
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from repsr_deploy.stages import Pipeline, Stage

TIMEOUT_S = 20.0


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = {*threading.enumerate()}
    yield
    assert {*threading.enumerate()} <= before


class Crowd:
    """Work that counts who is in it, and who was."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.now = self.most = self.calls = 0

    def __call__(self, item: Any) -> Any:
        with self.lock:
            self.now += 1
            self.calls += 1
            self.most = max(self.most, self.now)
            delay_s = self.random.choice((0, 0, 0.001, 0.004))
        time.sleep(delay_s)
        with self.lock:
            self.now -= 1
        return item


def _same(item: Any) -> Any:
    return item


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_every_item_once(seed: int, ordered: bool) -> None:
    draw = random.Random(seed)
    crowds = [Crowd(seed + index) for index in range(draw.randint(1, 4))]
    workers = [draw.randint(1, 4) for _ in crowds]
    stages = [Stage(name=str(i), work=crowd, workers=workers[i]) for i, crowd in enumerate(crowds)]
    items = [draw.random() for _ in range(draw.choice((0, 1, 7, 60)))]
    with Pipeline(items, stages, waiting=draw.randint(1, 3), ordered=ordered, source_name="source") as pipeline:
        results = [*pipeline]
        assert (results if ordered else sorted(results)) == (items if ordered else sorted(items))
        assert [use.items for use in pipeline.use.values()] == [len(items)] * (len(stages) + 1)
        assert [use.workers for use in pipeline.use.values()] == [1, *workers]
    for crowd, count in zip(crowds, workers, strict=True):
        assert crowd.most <= count


def test_stages_work_at_the_same_time() -> None:
    """Three stages and both workers of the last one meet: nobody goes on before all are there."""
    meeting = threading.Barrier(4)
    calls = {name: itertools.count() for name in "abc"}

    def meet(name: str, call: int) -> Callable[[int], int]:
        def work(item: int) -> int:
            if next(calls[name]) == call:
                meeting.wait(TIMEOUT_S)
            return item

        return work

    def meet_twice(item: int) -> int:
        if next(calls["c"]) < 2:
            meeting.wait(TIMEOUT_S)
        return item

    stages = [
        Stage(name="a", work=meet("a", 3)),
        Stage(name="b", work=meet("b", 2)),
        Stage(name="c", work=meet_twice, workers=2),
    ]
    with Pipeline(range(9), stages) as pipeline:
        assert sorted(pipeline) == [*range(9)]


@pytest.mark.parametrize("ordered", [True, False])
def test_few_items_are_under_way(ordered: bool) -> None:
    started = 0

    def source() -> Iterator[int]:
        nonlocal started
        for number in range(100):
            started += 1
            yield number

    waiting, workers = 2, (2, 1, 3)
    bound = sum(workers) + (waiting + ordered) * 4 + 1
    most = 0
    stages = [Stage(name=str(i), work=_same, workers=count) for i, count in enumerate(workers)]
    with Pipeline(source(), stages, waiting=waiting, ordered=ordered) as pipeline:
        for taken, _ in enumerate(pipeline):
            if taken == 0:  # the consumer is slow: all places fill
                deadline = time.monotonic() + TIMEOUT_S
                while started < bound / 2 and time.monotonic() < deadline:
                    time.sleep(0.001)
                time.sleep(0.02)
            most = max(most, started - taken)
    assert bound / 2 < most <= bound + 1  # one is with the consumer


def test_a_slow_first_item_holds_no_more_than_that() -> None:
    """In order, many pass the first one, and wait: bounded, and without a deadlock."""
    passed = threading.Semaphore(0)
    released = threading.Event()

    def slow_first(item: int) -> int:
        if item == 0:
            assert released.wait(TIMEOUT_S)
        passed.release()
        return item

    stages = [Stage(name="a", work=slow_first, workers=3), Stage(name="b", work=_same)]
    with Pipeline(range(50), stages, waiting=1, ordered=True) as pipeline:
        for _ in range(3):  # one waits in the gap, two are held by their workers
            assert passed.acquire(timeout=TIMEOUT_S)
        assert not passed.acquire(timeout=0.05)
        released.set()
        assert [*pipeline] == [*range(50)]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("failing", ["source", "first", "middle", "last"])
def test_a_failure_arrives_and_ends_all(failing: str, ordered: bool) -> None:
    closed = False

    def source() -> Generator[int]:
        nonlocal closed
        try:
            for number in range(1000):
                if failing == "source" and number == 20:
                    raise ZeroDivisionError("at 20")
                yield number
        finally:
            closed = True

    def work(name: str) -> Crowd:
        class Failing(Crowd):
            def __call__(self, item: int) -> int:
                super().__call__(item)
                if name == failing and item == 20:
                    raise ZeroDivisionError("at 20")
                return item

        return Failing()

    stopped = threading.Event()
    stages = [Stage(name=name, work=work(name), workers=2) for name in ("first", "middle", "last")]
    results: list[int] = []

    def consume() -> None:
        with Pipeline(source(), stages, ordered=ordered, stopped=stopped) as pipeline:
            for result in pipeline:
                results.append(result)

    with pytest.raises(ZeroDivisionError, match="at 20"):
        consume()
    if ordered:
        assert results == [*range(20)]
    assert 20 not in results
    assert closed
    assert stopped.is_set()


class _EnoughError(Exception):
    pass


@pytest.mark.parametrize("leave", [KeyboardInterrupt, _EnoughError, None])
def test_leaving_early(leave: type[BaseException] | None) -> None:
    """Work under way hears of it; what waits is not begun."""
    stopped, begun = threading.Event(), Crowd()

    def long(item: int) -> int:
        begun(item)
        if item > 2 and stopped.wait(TIMEOUT_S):
            raise RuntimeError("given up")
        return item

    def consume() -> None:
        with Pipeline(range(10**6), [Stage(name="long", work=long, workers=2)], stopped=stopped) as pipeline:
            for result in pipeline:
                if result == 2:
                    if leave is not None:
                        raise leave
                    break

    if leave is None:
        consume()
    else:
        with pytest.raises(leave):
            consume()
    assert begun.calls <= 5
    assert stopped.is_set()


def test_weights_are_kept_under_the_capacity() -> None:
    weights = [3, 4, 3, 20, 1, 1, 1, 1, 9, 2, 8, 10, 11, 1] * 4
    lock = threading.Lock()
    inside: list[int] = []
    most: list[list[int]] = []

    def enter(weight: int) -> int:
        with lock:
            inside.append(weight)
            most.append([*inside])
        return weight

    stages = [Stage(name="in", work=enter, workers=8), Stage(name="out", work=Crowd(), workers=4)]
    with Pipeline(weights, stages, waiting=9, weigh=_same, capacity=10) as pipeline:
        for weight in pipeline:
            with lock:
                inside.remove(weight)

    def fits(group: list[int]) -> bool:
        return sum(group) <= 10 or len(group) == 1

    # the one that the consumer has just taken no longer counts
    assert all(fits(group) or any(fits(group[:i] + group[i + 1 :]) for i in range(len(group) - 1)) for group in most)
    assert max(len(group) for group in most) > 1


def test_use_says_what_limits() -> None:
    def nap(item: int) -> int:
        time.sleep(0.01)
        return item

    stages = [Stage(name="quick", work=_same), Stage(name="slow", work=nap), Stage(name="shared", work=nap, workers=4)]
    with Pipeline(range(10), stages, source_name="source") as pipeline:
        assert pipeline.limiting in pipeline.use
        assert len([*pipeline]) == 10
        use = pipeline.use
        assert pipeline.limiting == "slow"
        assert [*use] == ["source", "quick", "slow", "shared"]
        assert use["slow"].busy_s >= 0.1
        assert use["quick"].busy_s < use["slow"].busy_s


def test_work_under_way_counts() -> None:
    go = threading.Event()
    with Pipeline([0], [Stage(name="a", work=_same), Stage(name="b", work=lambda _: go.wait(TIMEOUT_S))]) as pipeline:
        while pipeline.use["b"].busy_s < 0.02:
            time.sleep(0.001)
        assert pipeline.limiting == "b"
        assert pipeline.use["b"].items == 0
        go.set()
        assert [*pipeline] == [True]
        assert pipeline.use["b"].items == 1


def test_items_are_let_go() -> None:
    """Idle workers keep no item: one of them may be a gigabyte."""

    class Item:
        pass

    made: list[weakref.ref[Item]] = []

    def source() -> Iterator[Item]:
        item = Item()
        made.append(weakref.ref(item))
        yield item
        del item
        assert idle.wait(TIMEOUT_S)

    idle = threading.Event()
    gc.disable()
    try:
        with Pipeline(source(), [Stage(name="a", work=_same), Stage(name="b", work=_same, workers=2)]) as pipeline:
            results = iter(pipeline)
            assert isinstance(next(results), Item)
            deadline = time.monotonic() + TIMEOUT_S
            while made[0]() is not None and time.monotonic() < deadline:
                time.sleep(0.001)
            assert made[0]() is None
            idle.set()
            assert [*results] == []
    finally:
        gc.enable()


def test_what_cannot_run() -> None:
    cases: list[tuple[list[Stage], dict[str, Any]]] = [
        ([], {}),
        ([Stage(name="a", work=_same, workers=0)], {}),
        ([Stage(name="a", work=_same)], {"waiting": 0}),
        ([Stage(name="a", work=_same)] * 2, {}),
        ([Stage(name="a", work=_same)], {"source_name": "a"}),
    ]
    for stages, options in cases:
        with pytest.raises(ValueError, match="expected distinct ones, and 1 or more"):
            Pipeline([], stages, **options)
    with pytest.raises(RuntimeError, match="does not run"):
        next(iter(Pipeline([], [Stage(name="a", work=_same)])))
