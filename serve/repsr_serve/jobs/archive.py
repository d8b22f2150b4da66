"""Jobs with their files: store and folder changed in an order that survives being killed between any two steps.

A file is written before the row that names it, and removed after the row that no longer does. Everything here blocks,
and is safe from any thread.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from repsr_serve.buffers import Buffer
from repsr_serve.jobs.folder import Folder
from repsr_serve.jobs.job import FINISHED, MAX_ATTEMPTS, STATES, Job, MoveError
from repsr_serve.jobs.space import no_space
from repsr_serve.jobs.store import Queue, Store
from repsr_serve.problems import Problem

log = logging.getLogger(__name__)

MAX_GONE = 10_000
"""Jobs that are gone and still remembered; the oldest are forgotten first."""

_CRASHED = Problem(
    "crashed", f"The service died {MAX_ATTEMPTS} times while it worked on this picture; it is not tried again."
)
_LOST = Problem("internal", "The service lost the job's file, after a loss of power perhaps; send the picture again.")


class Archive:
    """All jobs of one service.

    Jobs that ran when the last service died wait again, and what it left half done is removed.

    Args:
        root: folder, made where it is missing.
        max_waiting: most jobs that wait.
        max_bytes: of the disk, for all jobs.
        ttl_s: for which finished jobs are kept.
        clock: seconds since 1970.

    Raises:
        RepsrError: the folder cannot be used, or another service uses it.
    """

    def __init__(
        self, root: Path, *, max_waiting: int, max_bytes: int, ttl_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._max_waiting, self._max_bytes, self._ttl_s, self._clock = max_waiting, max_bytes, ttl_s, clock
        self._lock = threading.Lock()
        self._folder = Folder(root)
        try:
            self._store = Store(self._folder.database)
            self._recover()
        except BaseException:
            self._folder.close()
            raise

    @property
    def counts(self) -> Mapping[str, int]:
        """Jobs by state."""
        return {state: self._store.counts[state] for state in STATES}

    @property
    def held_bytes(self) -> int:
        """Of the disk, that all jobs count."""
        return self._store.held_bytes

    def submit(self, job: Job, upload: Buffer) -> None:
        """Take a new job in.

        Raises:
            Problem: too many wait, or there is no space for it.
        """
        with self._lock:
            self._store.reserve(job, max_waiting=self._max_waiting, max_bytes=self._max_bytes)
        try:
            with no_space():
                self._folder.write("uploads", job.id, upload)
                with self._lock:
                    self._store.add(job)
        except BaseException:
            self._folder.remove(job.id, "uploads")
            with self._lock:
                self._store.release(job)
            raise

    def get(self, job_id: str) -> Job:
        """A job that is there.

        Raises:
            Problem: `not-found`, `gone`.
        """
        with self._lock:
            job = self._store.get(job_id)
        if job is None:
            raise Problem("not-found", "There is no such job; it may have been forgotten.")
        if job.state == "gone" or (job.expires is not None and job.expires <= self._clock()):
            raise _gone()
        return job

    def ahead(self, job: Job, queue: Queue) -> int:
        """How many jobs of its queue come before a job that waits."""
        with self._lock:
            return self._store.ahead(job, queue)

    def take(self, queue: Queue) -> Job | None:
        """Start the oldest job that waits in a queue.

        Raises:
            Problem: `no-space`, not even for that.
        """
        with no_space(), self._lock:
            return self._store.take(queue, self._clock())

    def open_upload(self, job_id: str) -> Buffer:
        """What was sent.

        Raises:
            MoveError: the job was removed meanwhile.
        """
        try:
            return self._folder.open("uploads", job_id)
        except FileNotFoundError:
            raise MoveError(f"job {job_id[:8]} has no upload any more") from None

    def open_result(self, job_id: str) -> Buffer:
        """What was made.

        Raises:
            Problem: `gone`: the job was removed meanwhile.
        """
        try:
            return self._folder.open("results", job_id)
        except FileNotFoundError:
            raise _gone() from None

    def finish(self, job_id: str, result: Buffer) -> None:
        """Keep a job's result.

        Raises:
            Problem: `no-space`.
            MoveError: nobody wants it any more.
        """
        try:
            with no_space():
                self._folder.write("results", job_id, result)
                size_bytes = result.size
                self._change(job_id, lambda job: job.finish(size_bytes, self._clock(), self._ttl_s))
        except BaseException:
            self._folder.remove(job_id, "results")
            raise
        self._folder.remove(job_id, "uploads")

    def fail(self, job_id: str, problem: Problem) -> None:
        """A job cannot be done.

        Raises:
            Problem: `no-space`, not even for that.
            MoveError: nobody wants it any more.
        """
        with no_space():
            self._change(job_id, lambda job: job.fail(problem, self._clock(), self._ttl_s))
        self._folder.remove(job_id, "uploads", "results")

    def retry(self, job_id: str, problem: Problem) -> None:
        """A job that runs could not be done this time; raises as `fail`."""
        with no_space():
            job = self._change(job_id, lambda job: job.retry(problem, self._clock(), self._ttl_s))
        if job.state == "failed":
            self._folder.remove(job_id, "uploads", "results")

    def put_back(self, job_id: str) -> None:
        """A job that runs has to wait again, and is not the reason; raises as `fail`."""
        with no_space():
            self._change(job_id, Job.stop)

    def remove(self, job_id: str) -> Job:
        """Cancel a job, or remove one that is finished; the job as it is now. A cancelled one stays so.

        Raises:
            Problem: `not-found`, `gone`; `no-space`, not even for that.
        """
        now = self._clock()

        def move(job: Job) -> Job:
            if job.state == "cancelled":
                return job
            return job.remove(now) if job.state in FINISHED else job.cancel(now, self._ttl_s)

        self.get(job_id)
        try:
            with no_space():
                job = self._change(job_id, move)
        except MoveError:
            return self.get(job_id)
        self._folder.remove(job_id, "uploads", "results")
        return job

    def sweep(self, limit: int = 100) -> bool:
        """Remove jobs whose time is over, and forget those that were; whether some may be left."""
        now = self._clock()
        with self._lock:
            expired = self._store.expired(now, limit)
            excess = max(0, self._store.counts["gone"] - MAX_GONE)
            forgotten = [job for job in expired if job.state == "gone"] + self._store.oldest_gone(min(excess, limit))
        over = [job for job in expired if job.state != "gone"]
        for job in over:  # before the rows, which may need the space: `get` knows by the time that they are gone
            self._folder.remove(job.id, "uploads", "results")
        with self._lock:
            for job in over:
                with contextlib.suppress(MoveError):
                    self._store.change(job.id, lambda job: job.remove(now))
            for job in forgotten:
                self._store.forget(job.id)
            return len(expired) == limit or self._store.counts["gone"] > MAX_GONE

    def close(self) -> None:
        """Let jobs that run wait for the next start, and others have the folder."""
        with self._lock:
            try:
                for job in self._store.in_state("running"):
                    self._store.change(job.id, Job.stop)
            finally:
                self._store.close()
                self._folder.close()

    def _change(self, job_id: str, move: Callable[[Job], Job]) -> Job:
        with self._lock:
            return self._store.change(job_id, move)

    def _recover(self) -> None:
        now = self._clock()
        for job in self._store.in_state("running"):
            self._store.change(job.id, lambda job: job.retry(_CRASHED, now, self._ttl_s))
        for job in self._store.in_state("waiting", "done"):
            kind, size_bytes = ("results", job.held_bytes) if job.state == "done" else ("uploads", job.upload_bytes)
            over = job.expires is not None and job.expires <= now
            if not over and self._folder.size(kind, job.id) != size_bytes:
                self._store.change(job.id, lambda job: job.fail(_LOST, now, self._ttl_s))
        waiting, done = self._store.in_state("waiting"), self._store.in_state("done")
        orphans = self._folder.clear("uploads", {job.id for job in waiting})
        orphans += self._folder.clear("results", {job.id for job in done})
        log.info(
            "jobs in %s: %d wait, %d are done; %d files without a job removed",
            self._folder.root, len(waiting), len(done), orphans,
        )  # fmt: skip


def _gone() -> Problem:
    return Problem("gone", "The job and its files were deleted, or its time was over.")
