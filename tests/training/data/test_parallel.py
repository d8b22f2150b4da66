"""Work by threads, in order."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from repsr_train.data.parallel import map_in_order


def test_results_come_in_order_whichever_is_done_first() -> None:
    def work(item: int) -> int:
        time.sleep(0.001 * (7 - item % 7))
        return item * item

    assert list(map_in_order(work, range(40), 4)) == [item * item for item in range(40)]


def test_few_results_wait() -> None:
    begun: list[int] = []
    others = threading.active_count()
    with closing(map_in_order(begun.append, range(1000), 3)) as results:
        next(results)
        time.sleep(0.02)
        assert len(begun) <= 2 * 3 + 1
    time.sleep(0.02)
    assert len(begun) <= 2 * 3 + 1
    assert threading.active_count() == others


def test_an_error_reaches_the_caller_in_its_turn() -> None:
    def work(item: int) -> int:
        if item == 5:
            raise ValueError("five")
        return item

    results = map_in_order(work, range(50), 2)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)
