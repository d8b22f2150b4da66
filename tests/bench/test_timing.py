"""The stopwatch."""

from __future__ import annotations

import time

import pytest

from repsr_deploy.bench.timing import Timing, describe_machine, speedup, time_side_by_side


def test_candidates_take_turns_and_all_times_are_kept() -> None:
    order: list[str] = []
    timings = time_side_by_side(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, seconds=0, min_rounds=4, warmup_rounds=2
    )
    assert order == ["a", "b"] * 6
    assert [len(timing.times_s) for timing in timings.values()] == [4, 4]


def test_rounds_go_on_until_the_time_is_up() -> None:
    timings = time_side_by_side({"a": lambda: time.sleep(0.002)}, seconds=0.1, min_rounds=1)
    assert len(timings["a"].times_s) > 5
    assert timings["a"].median_s >= 0.002


def test_median_spread_and_speedup() -> None:
    slow, fast = Timing((4.0, 9.0, 100.0)), Timing((2.0, 3.0, 10.0))
    assert slow.median_s == 9
    assert slow.spread_s == (4, 100)
    assert speedup({"slow": slow, "fast": fast}, "slow", "fast") == pytest.approx(3)  # within rounds: 2, 3, 10


def test_machine_is_named() -> None:
    machine = describe_machine(3)
    assert machine["threads"] == 3
    assert machine["processor"]
