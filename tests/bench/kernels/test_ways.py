"""Ways in turns: rows, ratios and failures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from repsr_deploy.bench.kernels.ways import Way, Work, attempt, compare_ways, time_by_device, with_share
from repsr_deploy.bench.timing import Timing
from repsr_deploy.errors import RepsrError

WORK = Work(where="here", what="work", data="data", size="3x2")


def timer_of(times_s: Mapping[str, tuple[float, ...]]) -> Callable[[Mapping[str, Any]], dict[str, Timing]]:
    """Says these times of whoever can be timed."""
    return lambda candidates: {name: Timing(times_s[name]) for name in candidates}


def nothing() -> None:
    return None


def test_multiples_are_of_the_first_round_by_round() -> None:
    timer = timer_of({"a": (1.0, 10.0, 100.0), "b": (3.0, 20.0, 50.0)})
    ways = [Way(by="a", run=nothing, useful_bytes=50), Way(by="b", run=nothing, verified_db=math.inf)]
    first, second = compare_ways(WORK, ways, timer)
    assert first.key == {"on": "here", "work": "work", "data": "data", "input": "3x2", "by": "a"}
    assert first.figures == {"verified_db": None, "useful_bytes_per_s": 5.0, "times_first": 1.0}
    assert second.figures == {"verified_db": math.inf, "useful_bytes_per_s": None, "times_first": 2.0}


def test_a_wrong_way_has_no_speed_and_the_others_no_multiple() -> None:
    ways = [Way(by="a", run=nothing, verified_db=math.nan, failure="wrong"), Way(by="b", run=nothing)]
    wrong, right = compare_ways(WORK, ways, timer_of({"b": (2.0,)}))
    assert (wrong.timing, wrong.failure, wrong.figures) == (None, "wrong", {"verified_db": None})
    assert right.timing == Timing((2.0,))
    assert right.figures["times_first"] is None


def test_nobody_left_needs_no_timer() -> None:
    def timer(candidates: Mapping[str, Any]) -> dict[str, Timing]:
        raise AssertionError(candidates)

    (row,) = compare_ways(WORK, [Way(by="a", failure="no")], timer)
    assert row.failure == "no"


def test_a_clock_of_its_own_counts_and_warm_up_does_not() -> None:
    said: list[float] = []

    def slow_at_first() -> float:
        said.append(len(said) + 1.0)
        return said[-1]

    timings = time_by_device({"a": slow_at_first, "b": lambda: 0.5}, seconds=0.0, warmup_s=0.0)
    assert timings["a"].times_s == tuple(said[-5:])
    assert len(said) == 7
    assert timings["b"].times_s == (0.5,) * 5


def test_share_of_a_copy_where_bytes_are_moved() -> None:
    ways = [Way(by="a", run=nothing, useful_bytes=30), Way(by="b", run=nothing)]
    moved, other = with_share(compare_ways(WORK, ways, timer_of({"a": (1.0,), "b": (1.0,)})), 40.0)
    assert moved.figures["copy_share"] == 0.75
    assert "copy_share" not in other.figures


@pytest.mark.parametrize(
    ("error", "failure"), [(RepsrError("no compiler"), "no compiler"), (MemoryError("9 GB"), "not enough memory: 9 GB")]
)
def test_what_cannot_be_tried_is_said_of_all_its_ways(error: Exception, failure: str) -> None:
    def make() -> list[Way]:
        raise error

    assert attempt(["a", "b"], make) == [Way(by="a", failure=failure), Way(by="b", failure=failure)]


def test_defects_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        attempt(["a"], lambda: [Way(by="a", useful_bytes=1 // int(time.time() < 0))])
