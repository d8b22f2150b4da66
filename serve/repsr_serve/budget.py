"""Memory for pictures, given in order; small pictures have a share of their own, jobs leave room for requests."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from types import TracebackType

SMALL_SHARE = 1 / 8
"""Of the budget: only small pictures have it."""
MOST_OVERTAKING = 20
"""So many pictures of requests may pass a job that waits; from then on they wait behind it."""


class Lane(StrEnum):
    """Who waits behind whom."""

    SMALL = "small"
    LARGE = "large"
    BACKGROUND = "background"


@dataclass
class _Waiting:
    size_bytes: int
    granted: asyncio.Future[Lease]
    overtaken: int = 0


class Budget:
    """A number of bytes that leases share. For one event loop; leases may be released from any thread.

    While large pictures wait, small ones take no more than their share, so that neither starves. What belongs to large
    pictures goes to requests first, then to jobs.

    Args:
        total_bytes: all that is lent.
        foreground_bytes: what jobs leave free for large pictures of requests, up to half of what these have.
    """

    def __init__(self, total_bytes: int, *, foreground_bytes: int = 0) -> None:
        self.total_bytes = total_bytes
        self.small_bytes = int(total_bytes * SMALL_SHARE)
        large = total_bytes - self.small_bytes
        self._caps = {
            Lane.SMALL: self.small_bytes,
            Lane.LARGE: large,
            Lane.BACKGROUND: max(large - foreground_bytes, large // 2),
        }
        self._used = dict.fromkeys(Lane, 0)
        self._waiting: dict[Lane, deque[_Waiting]] = {lane: deque() for lane in Lane}

    @property
    def reserved_bytes(self) -> int:
        """Lent at the moment."""
        return sum(self._used.values())

    @property
    def waiting(self) -> int:
        """Pictures that wait for memory."""
        return sum(map(len, self._waiting.values()))

    def most(self, lane: Lane) -> int:
        """The largest lease that can ever be given."""
        return self._caps[lane]

    async def reserve(self, size_bytes: int, lane: Lane) -> Lease:
        """Wait for memory.

        Raises:
            ValueError: more than `most`, which would wait for ever.
        """
        if size_bytes > self.most(lane):
            raise ValueError(f"{size_bytes} bytes asked of {self.most(lane)} for {lane} pictures")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(size_bytes, loop.create_future())
        self._waiting[lane].append(waiting)
        self._grant(loop)
        try:
            return await waiting.granted
        except asyncio.CancelledError:
            if waiting.granted.done() and not waiting.granted.cancelled():
                waiting.granted.result().release()
            else:
                self._waiting[lane].remove(waiting)
                self._grant(loop)
            raise

    def _grant(self, loop: asyncio.AbstractEventLoop) -> None:
        """Lend what is free to those who are next."""
        while (lane := self._next()) is not None:
            if lane is Lane.LARGE and self._job_could_run():
                self._waiting[Lane.BACKGROUND][0].overtaken += 1
            waiting = self._waiting[lane].popleft()
            self._used[lane] += waiting.size_bytes
            give_back = partial(self._give_back, lane=lane, loop=loop)
            waiting.granted.set_result(Lease(waiting.size_bytes, give_back, loop))

    def _next(self) -> Lane | None:
        """Whose first picture fits in."""
        turn = self._turn()
        for lane in (Lane.SMALL, turn):
            if lane is not None and self._waiting[lane] and self._fits(self._waiting[lane][0].size_bytes, lane, turn):
                return lane
        return None

    def _turn(self) -> Lane | None:
        """Who has the next memory for large pictures: nobody else has it, however little it would be."""
        large, jobs = self._waiting[Lane.LARGE], self._waiting[Lane.BACKGROUND]
        if self._job_could_run() and (not large or jobs[0].overtaken >= MOST_OVERTAKING):
            return Lane.BACKGROUND
        return Lane.LARGE if large else None

    def _job_could_run(self) -> bool:
        """Whether a job waits for others than jobs."""
        jobs = self._waiting[Lane.BACKGROUND]
        return bool(jobs) and self._used[Lane.BACKGROUND] + jobs[0].size_bytes <= self._caps[Lane.BACKGROUND]

    def _fits(self, size_bytes: int, lane: Lane, turn: Lane | None) -> bool:
        small, others = self._used[Lane.SMALL], self._used[Lane.LARGE] + self._used[Lane.BACKGROUND]
        if small + others + size_bytes > self.total_bytes:
            return False
        if lane is Lane.SMALL:
            return turn is None or small + size_bytes <= self.small_bytes
        return others + size_bytes <= self._caps[Lane.LARGE]

    def _give_back(self, size_bytes: int, lane: Lane, loop: asyncio.AbstractEventLoop) -> None:
        self._used[lane] -= size_bytes
        self._grant(loop)


class Lease:
    """Memory that somebody has until it is released; a context manager that does so."""

    def __init__(self, size_bytes: int, give_back: Callable[[int], None], loop: asyncio.AbstractEventLoop) -> None:
        self.size_bytes = size_bytes
        self._give_back, self._loop = give_back, loop
        self._lock = threading.Lock()

    def shrink(self, size_bytes: int) -> None:
        """Give back all but so much, from any thread; never takes more."""
        with self._lock:
            spare = self.size_bytes - min(size_bytes, self.size_bytes)
            self.size_bytes -= spare
        if not spare:
            return
        if _running_loop() is self._loop:
            self._give_back(spare)
        else:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the budget with it
                self._loop.call_soon_threadsafe(self._give_back, spare)

    def release(self) -> None:
        """Give all of it back; may be called again."""
        self.shrink(0)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
