"""Jobs: pictures that are enlarged when their turn comes, whoever leaves, and whatever happens to the service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

from repsr_serve.buffers import Buffer
from repsr_serve.jobs.archive import Archive
from repsr_serve.jobs.folder import default_folder
from repsr_serve.jobs.job import FINISHED, ID, Job, new_id
from repsr_serve.jobs.runner import QUEUES, Runner
from repsr_serve.jobs.space import most_bytes
from repsr_serve.jobs.threads import Threads
from repsr_serve.jobs.watch import Watch
from repsr_serve.pictures import Order
from repsr_serve.problems import Problem
from repsr_serve.service import Service
from repsr_serve.settings import Settings

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 20.0
"""For which a client may wait for a change."""
LOOK_S = 1.0
"""A client who waits is told of a new place in the queue, or of the end of the service, no later than that."""
SWEEP_S = 10.0
"""Between two looks for jobs whose time is over."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What is known of a job."""

    job: Job
    progress: float
    """0 to 1."""
    position: int | None
    """1 for the job that is next; None for one that does not wait."""


class JobService:
    """All jobs. For one event loop, to be used once: `open`, `begin` when the service runs, `stop` before it stops.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, settings: Settings, service: Service, *, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._service, self._clock = settings, service, clock
        self._threads = Threads()
        self._watch = Watch()
        self._opened: Archive | None = None
        self._runners: list[Runner] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Open the folder. From now on jobs are taken in and results given out.

        Raises:
            RepsrError: the folder cannot be used, or another service uses it.
        """
        settings = self._settings
        archive = self._opened = await self._threads.files(
            Archive, settings.data_dir or default_folder(), max_waiting=settings.job_queue,
            max_bytes=settings.job_bytes, ttl_s=settings.job_ttl, clock=self._clock,
        )  # fmt: skip
        self._runners = [
            Runner(
                queue, archive, self._threads, self._service, max_pixels=settings.max_job_pixels,
                changed=self._watch.announce,
            )
            for queue in QUEUES
        ]  # fmt: skip
        self._tasks.append(asyncio.create_task(self._sweep(archive)))
        metrics = self._service.metrics
        metrics.watch("jobs", "Jobs by state.", "state", lambda: archive.counts)
        metrics.watch("jobs_held_bytes", "Disk that is spoken for by jobs.", None, lambda: {"": archive.held_bytes})

    def begin(self) -> None:
        """Work on what waits."""
        self._tasks += [asyncio.create_task(runner.run()) for runner in self._runners]

    async def stop(self) -> None:
        """End; jobs that run then wait for the next start."""
        self._watch.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._opened is not None:
            await self._threads.files(self._opened.close)
            self._opened = None
        self._threads.close()

    async def submit(self, encoded: Buffer, order: Order) -> Job:
        """Take a picture in; what cannot be made is refused at once. Does not close `encoded`.

        Raises:
            Problem: see `Service.plan`; `overloaded`, `no-space`.
        """
        archive = self._archive
        model, plan = await self._service.plan(encoded, order, max_pixels=self._settings.max_job_pixels)
        width, height = plan.size
        job = Job(
            id=new_id(),
            model=model.name,
            factor=plan.factor,
            format=plan.format,
            quality=order.quality,
            source_width=plan.source.width,
            source_height=plan.source.height,
            width=width,
            height=height,
            upload_bytes=encoded.size,
            held_bytes=most_bytes(encoded.size, plan),
            created=self._clock(),
        )
        await self._threads.files(archive.submit, job, encoded)
        self._runner_of(job).arrived()
        return job

    async def view(self, job_id: str, wait_s: float = 0.0) -> View:
        """A job; one that is not finished as soon as something has changed, or after a while.

        Args:
            wait_s: longest wait, up to LONGEST_WAIT_S. Nobody waits when too many do already.

        Raises:
            Problem: `not-found`, `gone`.
        """
        _check_id(job_id)
        end_s = time.monotonic() + min(wait_s, LONGEST_WAIT_S)
        with self._watch.listen(job_id) as changed:
            first = view = await self._look(job_id)
            while changed is not None and view == first and view.job.state not in FINISHED and self._service.ready:
                left_s = end_s - time.monotonic()
                if left_s <= 0:
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left_s, LOOK_S)):
                        await changed.wait()
                changed.clear()
                view = await self._look(job_id)
        return view

    async def open_result(self, job_id: str) -> tuple[Job, Buffer]:
        """A job that is done, and its picture, which the caller closes.

        Raises:
            Problem: `not-found`, `gone`, `not-finished`, `job-failed`.
        """
        view = await self.view(job_id)
        match view.job.state:
            case "done":
                return view.job, await self._threads.quick(self._archive.open_result, job_id)
            case "failed":
                raise Problem("job-failed", "The job failed; its document says why.")
            case "cancelled":
                raise Problem("gone", "The job was cancelled.")
            case state:
                raise Problem("not-finished", f"The job is {state}; ask again when it is done.", retry_after_s=1)

    async def remove(self, job_id: str) -> None:
        """Cancel a job, or remove one that is finished, with its files.

        Raises:
            Problem: `not-found`, `gone`.
        """
        _check_id(job_id)
        job = await self._threads.quick(self._archive.remove, job_id)
        self._runner_of(job).cancel(job_id)
        self._watch.announce(job_id)

    @property
    def _archive(self) -> Archive:
        if self._opened is None:
            self._service.admission.check_open()
            raise Problem("starting", "The service is starting: its jobs are not there yet.", retry_after_s=1)
        return self._opened

    async def _look(self, job_id: str) -> View:
        job, position = await self._threads.quick(self._read, self._archive, job_id)
        progress = 1.0 if job.state == "done" else self._runner_of(job).progress(job_id)
        return View(job=job, progress=progress, position=position)

    def _read(self, archive: Archive, job_id: str) -> tuple[Job, int | None]:
        job = archive.get(job_id)
        return job, archive.ahead(job, self._runner_of(job).queue) + 1 if job.state == "waiting" else None

    def _runner_of(self, job: Job) -> Runner:
        return next(runner for runner in self._runners if runner.queue.holds(job))

    async def _sweep(self, archive: Archive) -> None:
        while True:
            try:
                while await self._threads.files(archive.sweep):
                    pass
            except (OSError, sqlite3.Error):
                log.exception("old jobs cannot be removed; trying again")
            await asyncio.sleep(SWEEP_S)


def _check_id(job_id: str) -> None:
    if not ID.fullmatch(job_id):
        raise Problem("not-found", "There is no such job; its id has 32 characters, 0 to 9 and a to f.")
