"""Jobs in their turn: oldest first, small pictures beside large ones."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from repsr_serve.jobs.archive import Archive
from repsr_serve.jobs.job import Job, MoveError
from repsr_serve.jobs.store import Queue
from repsr_serve.jobs.threads import Threads
from repsr_serve.pipeline import SMALL_PIXELS
from repsr_serve.problems import Problem
from repsr_serve.service import Service

log = logging.getLogger(__name__)

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

QUEUES = (
    Queue(above=0, up_to=SMALL_PIXELS, at_once=4, background=False),
    Queue(above=SMALL_PIXELS, up_to=2**60, at_once=1, background=True),
)
"""A small job is worked on like a request: it never waits behind large ones."""
PROGRESS_S = 0.2
"""Listeners hear of progress no more often."""
RETRY_S = 5.0
"""Between two attempts to write on a full disk."""
LONGEST_PAUSE_S = 30.0
_NOT_YET = frozenset({"starting", "stopping"})


@dataclass
class _Run:
    """Work on one job."""

    progress: float = 0.0
    task: asyncio.Task[None] | None = None


class Runner:
    """Runs the jobs of one queue through the service.

    Args:
        max_pixels: largest picture, pixels.
        changed: told the id of a job that changed, in the event loop.
    """

    def __init__(
        self, queue: Queue, archive: Archive, threads: Threads, service: Service, *, max_pixels: int,
        changed: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.queue = queue
        self._archive, self._threads, self._service, self._max_pixels = archive, threads, service, max_pixels
        self._changed = changed
        self._arrived = asyncio.Event()
        self._runs: dict[str, _Run] = {}

    def arrived(self) -> None:
        """A job waits."""
        self._arrived.set()

    def progress(self, job_id: str) -> float:
        """The part of a job that is done, 0 to 1."""
        run = self._runs.get(job_id)
        return 0.0 if run is None else run.progress

    def cancel(self, job_id: str) -> None:
        """Stop working on a job, if it is one that runs here."""
        run = self._runs.get(job_id)
        if run is not None and run.task is not None:
            run.task.cancel()

    async def run(self) -> None:
        """Take jobs until cancelled; those that run then are stopped, and left as they are in the archive."""
        free = asyncio.Semaphore(self.queue.at_once)
        async with asyncio.TaskGroup() as group:
            while True:
                await free.acquire()
                job = await self._next()
                run = self._runs[job.id] = _Run()
                run.task = group.create_task(self._run(job, run))
                run.task.add_done_callback(functools.partial(self._ended, job.id, run, free))

    def _ended(self, job_id: str, run: _Run, free: asyncio.Semaphore, _: asyncio.Task[None]) -> None:
        if self._runs.get(job_id) is run:  # else it waited again, and runs again
            del self._runs[job_id]
        free.release()

    async def _next(self) -> Job:
        while True:
            self._arrived.clear()
            if job := await self._insist(self._archive.take, self.queue):
                self._changed(job.id)
                return job
            await self._arrived.wait()

    async def _run(self, job: Job, run: _Run) -> None:
        with contextlib.suppress(MoveError):  # it was cancelled
            try:
                await self._make(job, run)
            except MoveError:
                raise
            except Problem as problem:
                await self._give_up(job, problem)
            except Exception:
                log.exception("job %s failed", job.id[:8])
                problem = Problem("internal", "The service has a defect; its log says more.")
                await self._insist(self._archive.fail, job.id, problem)
        self._changed(job.id)
        self._arrived.set()

    async def _make(self, job: Job, run: _Run) -> None:
        # a request's time limit holds for small jobs, too; one that needs more gets it the second time
        background = self.queue.background or job.attempts > 1
        with await self._threads.quick(self._archive.open_upload, job.id) as upload:
            result = await self._service.upscale(
                upload,
                job.order,
                max_pixels=self._max_pixels,
                background=background,
                patient=True,
                progress=self._listener(job.id, run),
            )
        with result.encoded as encoded:
            await self._threads.files(self._archive.finish, job.id, encoded)

    async def _give_up(self, job: Job, problem: Problem) -> None:
        """What a job could not be done for decides whether it is tried again, after a pause."""
        await asyncio.sleep(min(problem.retry_after_s or 0, LONGEST_PAUSE_S))
        if problem.cause in _NOT_YET:
            await self._insist(self._archive.put_back, job.id)
        elif problem.retry_after_s is not None:
            log.warning("job %s could not be done: %s", job.id[:8], problem.detail)
            await self._insist(self._archive.retry, job.id, problem)
        else:
            await self._insist(self._archive.fail, job.id, problem)

    def _listener(self, job_id: str, run: _Run) -> Callable[[float], None]:
        loop = asyncio.get_running_loop()
        told_s = time.monotonic()

        def progressed(part: float) -> None:
            nonlocal told_s
            run.progress = part
            if time.monotonic() - told_s >= PROGRESS_S:
                told_s = time.monotonic()
                loop.call_soon_threadsafe(self._changed, job_id)

        return progressed

    async def _insist(
        self, call: Callable[Parameters, Returned], *args: Parameters.args, **options: Parameters.kwargs
    ) -> Returned:
        """Call the archive until its disk takes what it writes."""
        while True:
            try:
                return await self._threads.quick(call, *args, **options)
            except (Problem, sqlite3.Error) as error:
                log.error("jobs cannot go on, trying again: %s", error)
                await asyncio.sleep(RETRY_S)
