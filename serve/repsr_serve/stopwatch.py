"""Seconds by stage of one picture."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal, get_args

Stage = Literal["wait", "decode", "upscale", "encode"]
TOTAL = "total"


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._seconds = dict.fromkeys(get_args(Stage), 0.0)

    def passed(self, stage: Stage, seconds: float) -> None:
        """So much more was spent in a stage."""
        self._seconds[stage] += seconds

    @contextmanager
    def stage(self, stage: Stage) -> Generator[None]:
        """What runs within belongs to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.passed(stage, time.perf_counter() - started)

    def timings_s(self) -> dict[str, float]:
        """`Result.timings_s`, until now."""
        return {**self._seconds, TOTAL: time.perf_counter() - self._started}
