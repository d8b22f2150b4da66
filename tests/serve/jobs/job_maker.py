"""Jobs and results for tests."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from repsr_serve.buffers import Buffer
from repsr_serve.jobs.archive import Archive
from repsr_serve.jobs.job import Job, new_id
from repsr_serve.jobs.store import Queue

ALL = Queue(above=0, up_to=2**60, at_once=1, background=False)
UPLOAD = b"upload"
RESULT = b"the result"


def make_job(**changes: Any) -> Job:
    """A job of `UPLOAD` that has just been sent."""
    values: dict[str, Any] = {
        "id": new_id(), "model": "m-x2", "factor": 2.0, "format": "png", "quality": 95, "source_width": 7,
        "source_height": 5, "width": 14, "height": 10, "upload_bytes": len(UPLOAD), "held_bytes": 1000,
        "created": 1000.0,
    }  # fmt: skip
    return Job(**{**values, **changes})


class Clock:
    """A clock that stands until it is put forward."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        """Put it forward."""
        self.now += seconds


def open_archive(root: Path, clock: Clock, **limits: Any) -> Archive:
    """An archive with generous limits."""
    values: dict[str, Any] = {"max_waiting": 10, "max_bytes": 10**7, "ttl_s": 100.0}
    return Archive(root, clock=clock, **{**values, **limits})


def submit(archive: Archive, **changes: Any) -> Job:
    """A new job in the archive."""
    job = make_job(**changes)
    with Buffer.of(UPLOAD) as upload:
        archive.submit(job, upload)
    return job


def as_after_kill(root: Path) -> Path:
    """The folder as the next start finds it when the service is killed now."""
    return Path(shutil.copytree(root, tempfile.mkdtemp(dir=root.parent), dirs_exist_ok=True))


def files(root: Path) -> dict[str, set[str]]:
    """Names of the files of jobs."""
    return {kind: {path.name for path in (root / kind).iterdir()} for kind in ("uploads", "results")}


def finish(archive: Archive, job: Job, content: bytes = RESULT) -> None:
    """Keep a result of a job that runs."""
    with Buffer.of(content) as result:
        archive.finish(job.id, result)
