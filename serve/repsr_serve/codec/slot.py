"""One place in the pool: a worker process, the job that it has, and the process that follows when it dies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from repsr_serve.codec.process import WorkerProcess
from repsr_serve.codec.wire import Message

log = logging.getLogger(__name__)

START_LIMIT_S = 60.0
_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0  # before a process that died while it started is followed by another


@dataclass(eq=False)
class Job:
    """A request on its way."""

    request: Message
    """Its buffers are the job's."""
    work: int
    """In pixels; four bytes of a file count as one."""
    limit_s: float
    """After which a worker that is still at it is ended."""
    answer: asyncio.Future[Message]
    deaths: int = 0
    """Of workers that had it."""
    late: bool = False
    """Whether one of them was ended because it took too long."""


class Slot:
    """Keeps one worker alive.

    Args:
        memory_bytes, niceness: of the process.
        most_work: of a job that it may be given.
        on_idle: called when it can take a job.
        on_death: called when a process has died, with the job that it had, or could not be started.
    """

    def __init__(
        self,
        *,
        memory_bytes: int,
        niceness: int,
        most_work: float,
        on_idle: Callable[[], None],
        on_death: Callable[[Job | None], None],
    ) -> None:
        self.most_work = most_work
        self.ready = asyncio.Event()
        """Set while a process has started and not died."""
        self._memory_bytes, self._niceness = memory_bytes, niceness
        self._on_idle, self._on_death = on_idle, on_death
        self._worker: WorkerProcess | None = None
        self._job: Job | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether it can take a job."""
        return self.ready.is_set() and self._job is None

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._worker is None else self._worker.pid

    async def keep(self) -> None:
        """Start a worker, and another whenever one dies, until this task is cancelled; then end it."""
        pause_s = _PAUSE_S
        while True:
            try:
                was_ready = await self._live()
            except OSError as error:
                log.error("cannot start a codec worker: %s", error.strerror)
                self._on_death(None)
                was_ready = False
            if was_ready:
                pause_s = _PAUSE_S
            else:
                log.error("a codec worker ended while it started; trying again in %g s", pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def run(self, job: Job) -> None:
        """Give the worker a job; only while `idle`."""
        assert self._worker is not None
        self._job = job
        self._set_limit(job.limit_s)
        self._worker.send(job.request)

    async def _live(self) -> bool:
        """One worker's life, to its end. Returns whether it had become ready."""
        ended = asyncio.Event()
        worker = self._worker = WorkerProcess(
            memory_bytes=self._memory_bytes,
            niceness=self._niceness,
            on_message=self._take,
            on_end=ended.set,
        )
        self._set_limit(START_LIMIT_S)
        try:
            await ended.wait()
            was_ready, job = self.ready.is_set(), self._job
            self._job = None
            self.ready.clear()
            self._on_death(job)
        finally:
            self._set_limit(None)
            self.ready.clear()
            try:
                await worker.end()
            finally:
                self._worker = None
        return was_ready

    def _take(self, message: Message) -> None:
        """What the worker sends: that it is ready, then one answer a job."""
        self._set_limit(None)
        job, self._job = self._job, None
        if job is not None and not job.answer.done():
            job.answer.set_result(message)
        else:
            message.close()
        self.ready.set()
        self._on_idle()

    def _set_limit(self, limit_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if limit_s is None else asyncio.get_running_loop().call_later(limit_s, self._kill, limit_s)

    def _kill(self, limit_s: float) -> None:
        assert self._worker is not None
        log.error("a codec worker is ended: it took longer than %g s", limit_s)
        if self._job is not None:
            self._job.late = True
        self._worker.kill()
