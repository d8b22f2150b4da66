"""The stopwatch."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from repsr_deploy.bench.timing import Timing, speedup, time_side_by_side


def test_candidates_take_turns_and_all_times_but_the_warm_up_are_kept() -> None:
    order: list[str] = []
    timings = time_side_by_side(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, seconds=0, min_rounds=4, warmup_s=0
    )
    rounds = list(zip(order[::2], order[1::2], strict=True))
    assert len(rounds) == 6  # two of warm-up
    assert set(rounds) == {("a", "b"), ("b", "a")}  # neither is always the one that comes after the other
    assert [len(timing.times_s) for timing in timings.values()] == [4, 4]


def test_rounds_go_on_until_the_time_is_up() -> None:
    timings = time_side_by_side({"a": lambda: time.sleep(0.002)}, seconds=0.1, min_rounds=1, warmup_s=0)
    assert len(timings["a"].times_s) > 5
    assert timings["a"].median_s >= 0.002


def test_warm_up_lasts_as_long_as_it_is_said_to() -> None:
    calls = itertools.count()
    started = time.perf_counter()
    timings = time_side_by_side(
        {"a": lambda: (next(calls), time.sleep(0.01))}, seconds=0.0, min_rounds=3, warmup_s=0.15
    )
    elapsed_s = time.perf_counter() - started
    assert elapsed_s > 0.15 + 3 * 0.01
    assert len(timings["a"].times_s) == 3
    assert next(calls) > 3 + 2


def test_slow_starts_do_not_count() -> None:
    calls = itertools.count()
    timings = time_side_by_side(
        {"a": lambda: time.sleep(0.05 if next(calls) < 2 else 0.0)}, seconds=0, min_rounds=5, warmup_s=0
    )
    assert max(timings["a"].times_s) < 0.05


def test_progress_rises_to_one() -> None:
    parts: list[float] = []
    time_side_by_side({"a": lambda: time.sleep(0.005)}, seconds=0.05, warmup_s=0.03, progress=parts.append)
    assert parts == sorted(parts)
    assert parts[0] > 0
    assert parts[-1] == pytest.approx(1)
    assert any(0.1 < part < 0.9 for part in parts)


@pytest.mark.parametrize("count", [1, 2, 5, 100, 437])
def test_percentiles_are_those_of_numpy(count: int) -> None:
    times_s = tuple(np.random.default_rng(count).gamma(3, 0.01, count).tolist())
    timing = Timing(times_s)
    ordered = np.sort(times_s)
    for percent in (25, 50, 95, 99):  # linear interpolation between order statistics, computed here by hand
        place = (count - 1) * percent / 100
        low, share = int(place), place - int(place)
        expected = ordered[low] * (1 - share) + ordered[min(low + 1, count - 1)] * share
        assert timing.percentile_s(percent) == pytest.approx(expected)
        assert timing.percentile_s(percent) == pytest.approx(float(np.percentile(times_s, percent)))
    assert timing.median_s == pytest.approx(timing.percentile_s(50))


def test_median_spread_and_speedup() -> None:
    slow, fast = Timing((4.0, 9.0, 100.0)), Timing((2.0, 3.0, 10.0))
    assert slow.median_s == 9
    assert slow.quartiles_s == (6.5, 54.5)
    assert slow.spread == pytest.approx(48 / 9)
    assert speedup({"slow": slow, "fast": fast}, "slow", "fast") == pytest.approx(3)  # within rounds: 2, 3, 10
