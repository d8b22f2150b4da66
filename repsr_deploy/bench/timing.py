"""The stopwatch: candidates run in turns within one process, in another order each round, so that a busy machine and
what ran before disturb all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

MIN_ROUNDS = 5
WARMUP_ROUNDS = 2
"""At least so many: runtimes plan their memory in the first run, and use the plan from the second on."""


@dataclass(frozen=True)
class Timing:
    """Wall-clock times of one candidate, in the order in which they were taken; one at least."""

    times_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The figure to quote."""
        return statistics.median(self.times_s)

    @property
    def quartiles_s(self) -> tuple[float, float]:
        """Between these lies half of the runs."""
        return self.percentile_s(25), self.percentile_s(75)

    @property
    def spread(self) -> float:
        """What lies between the quartiles, as a fraction of the median."""
        low, high = self.quartiles_s
        return (high - low) / self.median_s

    def percentile_s(self, percent: float) -> float:
        """The time that `percent` of the runs stay below, linear between two runs; near the slowest if runs are few."""
        return float(np.percentile(self.times_s, percent))


def time_side_by_side(
    candidates: Mapping[str, Callable[[], Any]],
    *,
    seconds: float = 5.0,
    min_rounds: int = MIN_ROUNDS,
    warmup_s: float = 0.3,
    pause_s: float = 0.0,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Timing]:
    """Time candidates in turns: a round runs each of them once, after rounds of warm-up that are not counted.

    Args:
        candidates: name -> what to time.
        seconds: wall-clock budget of the counted rounds; at least `min_rounds` are done.
        warmup_s: wall-clock time for which rounds are not counted; at least two are not.
        pause_s: idle time before each run: threads of what ran before may wait for more work, busily, for a while.
        progress: called after each round with the part done, 0 to 1, warm-up included.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    order, random = list(candidates), Random(0)

    def rounds(least: int, budget_s: float, start: float, share: float) -> None:
        """Run so many rounds and so long; `progress` goes from `start` on by `share`."""
        done, started = 0, time.perf_counter()
        while done < least or time.perf_counter() - started < budget_s:
            random.shuffle(order)  # what runs before leaves its traces in caches and memory: 1.7 times as long was seen
            for name in order:
                run = candidates[name]
                if pause_s:
                    time.sleep(pause_s)
                before = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - before)
            done += 1
            if progress is not None:
                elapsed_s = time.perf_counter() - started
                progress(start + share * min(done / max(least, 1), elapsed_s / budget_s if budget_s else 1.0, 1.0))

    warming = warmup_s / (warmup_s + seconds) if warmup_s else 0.0
    rounds(WARMUP_ROUNDS, warmup_s, 0.0, warming)
    for values in times.values():
        values.clear()
    rounds(min_rounds, seconds, warming, 1 - warming)
    return {name: Timing(tuple(values)) for name, values in times.items()}


def speedup(timings: Mapping[str, Timing], slow: str, fast: str) -> float:
    """How many times faster `fast` is: the median over the rounds of the ratio within a round."""
    pairs = zip(timings[slow].times_s, timings[fast].times_s, strict=True)
    return statistics.median(before / after for before, after in pairs)
