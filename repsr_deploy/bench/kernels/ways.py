"""Ways of doing the same piece of work: verified against each other, timed in turns, one row each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from repsr_deploy.bench.report import Row
from repsr_deploy.bench.timing import Timing, speedup, time_side_by_side
from repsr_deploy.errors import RepsrError

KERNEL = "kernel"
Timer = Callable[[Mapping[str, Callable[[], Any]]], dict[str, Timing]]
"""Times candidates in turns."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One of them."""

    by: str
    run: Callable[[], Any] | None = None
    """Does the work once; None where it cannot."""
    verified_db: float | None = None
    """PSNR of what it gives to a reference; None for the reference itself."""
    failure: str = ""
    """Why it is not timed; empty exactly where it is."""
    useful_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all ways have in common: its part of a row's key."""

    where: str
    """The processor, or the name of a GPU."""
    what: str
    data: str
    """Scale, skip, types and layouts, or the model."""
    size: str
    """`1920x1080`, of the input."""

    def key(self, by: str) -> dict[str, str]:
        """Of a row."""
        return {"on": self.where, "work": self.what, "data": self.data, "input": self.size, "by": by}


def compare_ways(work: Work, ways: Sequence[Way], timer: Timer) -> list[Row]:
    """A row for each way; the times of the others are also given as multiples of the first one's."""
    able = {way.by: way.run for way in ways if way.run is not None and not way.failure}
    timings = timer(able) if able else {}
    first = ways[0].by
    rows: list[Row] = []
    for way in ways:
        key, known = work.key(way.by), _known(way.verified_db)
        timing = timings.get(way.by)
        if timing is None:
            rows.append(Row(key=key, failure=way.failure, figures={"verified_db": known}))
            continue
        rate = None if way.useful_bytes is None else way.useful_bytes / timing.median_s
        multiple = speedup(timings, way.by, first) if first in timings else None
        figures = {"verified_db": known, "useful_bytes_per_s": rate, "times_first": multiple}
        rows.append(Row(key=key, timing=timing, figures=figures))
    return rows


def time_by_device(
    candidates: Mapping[str, Callable[[], float]], *, seconds: float, warmup_s: float
) -> dict[str, Timing]:
    """As `time_side_by_side`, for candidates that return the seconds that they took by a clock of their own."""
    said: dict[str, list[float]] = {name: [] for name in candidates}

    def listening(name: str, run: Callable[[], float]) -> Callable[[], None]:
        return lambda: said[name].append(run())

    runs = {name: listening(name, run) for name, run in candidates.items()}
    counted = time_side_by_side(runs, seconds=seconds, warmup_s=warmup_s)
    return {name: Timing(tuple(said[name][-len(timing.times_s) :])) for name, timing in counted.items()}


def with_share(rows: Sequence[Row], bytes_per_s: float) -> list[Row]:
    """Say of each row that moves bytes what share of a copy's speed that is."""
    found: list[Row] = []
    for row in rows:
        rate = row.figures.get("useful_bytes_per_s")
        share = {} if rate is None else {"copy_share": rate / bytes_per_s}
        found.append(replace(row, figures={**row.figures, **share}))
    return found


def attempt(names: Sequence[str], make: Callable[[], Sequence[Way]]) -> list[Way]:
    """Ways of these names, or why there are none."""
    try:
        return list(make())
    except MemoryError as error:
        failure = f"not enough memory: {error}"
    except RepsrError as error:
        failure = str(error)
    return [Way(by=name, failure=failure) for name in names]


def _known(value: float | None) -> float | None:
    """NaN is no number that a report may hold."""
    return None if value is None or math.isnan(value) else value
