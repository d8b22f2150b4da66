"""The stopwatch: candidates run in turns within one process, so that a busy machine disturbs all of them alike."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from repsr_deploy._version import __version__


@dataclass(frozen=True)
class Timing:
    """Wall-clock times of one candidate, in the order in which they were taken."""

    times_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The figure to quote."""
        return statistics.median(self.times_s)

    @property
    def spread_s(self) -> tuple[float, float]:
        """Fastest and slowest run."""
        return min(self.times_s), max(self.times_s)


def time_side_by_side(
    candidates: Mapping[str, Callable[[], Any]], *, seconds: float = 5.0, min_rounds: int = 5, warmup_rounds: int = 2
) -> dict[str, Timing]:
    """Time candidates in turns: a round runs each of them once, after rounds of warm-up that are not counted.

    Args:
        candidates: name -> what to time.
        seconds: wall-clock budget of the counted rounds; at least `min_rounds` are done.
    """
    for _ in range(warmup_rounds):
        for run in candidates.values():
            run()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    started = time.perf_counter()
    while len(next(iter(times.values()))) < min_rounds or time.perf_counter() - started < seconds:
        for name, run in candidates.items():
            before = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - before)
    return {name: Timing(tuple(values)) for name, values in times.items()}


def speedup(timings: Mapping[str, Timing], slow: str, fast: str) -> float:
    """How many times faster `fast` is: the median over the rounds of the ratio within a round."""
    pairs = zip(timings[slow].times_s, timings[fast].times_s, strict=True)
    return statistics.median(before / after for before, after in pairs)


def describe_machine(threads: int) -> dict[str, Any]:
    """What a measurement was made on."""
    return {
        "version": __version__,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            lines = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        lines = []
    return lines[0] if lines else platform.processor() or "unknown"
