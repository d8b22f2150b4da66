"""How fast pictures are done, and how long what is under way will take: for `Retry-After`."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from repsr_serve.budget import Lane

WINDOW_S = 30.0
"""Time constant of the mean: what was long ago counts e times less for each."""
LEAST_RETRY_S, MOST_RETRY_S = 1, 60


_AHEAD = {Lane.SMALL: (Lane.SMALL,), Lane.LARGE: (Lane.SMALL, Lane.LARGE), Lane.BACKGROUND: tuple(Lane)}
"""Whose pictures are done before one of a lane."""


class TooMuchAheadError(Exception):
    """A picture would wait too long."""

    def __init__(self, ahead_s: float) -> None:
        super().__init__(f"{ahead_s:.1f} s of work ahead")
        self.ahead_s = ahead_s


class Throughput:
    """Pixels that networks have to see: those under way, and how many were done a second while there were any.

    Safe from any thread.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since = clock()
        self._under_way = 0
        self._backlog = dict.fromkeys(Lane, 0)
        self._pixels = 0.0
        self._seconds = 0.0

    @contextmanager
    def work(self, pixels: int, lane: Lane) -> Generator[Work]:
        """A picture whose networks see so many pixels is under way as long as this is open."""
        with self._lock:
            self._pass_time()
            self._under_way += 1
            self._backlog[lane] += pixels
        work = Work(self, lane)
        try:
            yield work
        finally:
            with self._lock:
                self._pass_time()
                self._under_way -= 1
                self._backlog[lane] -= pixels - work.done

    def advance(self, pixels: int, lane: Lane) -> None:
        """So many are done; for `Work`."""
        with self._lock:
            self._pass_time()
            self._backlog[lane] -= pixels
            self._pixels += pixels

    @property
    def backlog_pixels(self) -> int:
        """Accepted and not done."""
        return sum(self._backlog.values())

    @property
    def pixels_per_s(self) -> float:
        """Moving mean over busy time; 0 before anything was done."""
        with self._lock:
            self._pass_time()
            return self._pixels / self._seconds if self._seconds > 0 else 0.0

    def retry_after_s(self) -> int:
        """When what is under way will be done, in whole seconds, 1 to 60."""
        return max(LEAST_RETRY_S, min(MOST_RETRY_S, math.ceil(self._seconds_of(*Lane))))

    def check_ahead(self, lane: Lane, most_s: float) -> None:
        """Refuse a picture that would wait for longer than this until those ahead of it are done.

        Raises:
            TooMuchAheadError: says how long.
        """
        ahead_s = self._seconds_of(*_AHEAD[lane])
        if ahead_s > most_s:
            raise TooMuchAheadError(ahead_s)

    def _seconds_of(self, *lanes: Lane) -> float:
        """What is under way in lanes, at the measured rate."""
        rate = self.pixels_per_s
        return sum(self._backlog[lane] for lane in lanes) / rate if rate > 0 else 0.0

    def _pass_time(self) -> None:
        now = self._clock()
        elapsed, self._since = now - self._since, now
        if self._under_way and elapsed > 0:
            fade = math.exp(-elapsed / WINDOW_S)
            self._pixels *= fade
            self._seconds = self._seconds * fade + elapsed


class Work:
    """One picture's pixels."""

    def __init__(self, throughput: Throughput, lane: Lane) -> None:
        self._throughput, self._lane = throughput, lane
        self.done = 0

    def reached(self, pixels: int) -> None:
        """So many are done by now."""
        self._throughput.advance(pixels - self.done, self._lane)
        self.done = pixels
