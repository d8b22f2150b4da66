"""The folder of the jobs' files, held by one service at a time.

    lock            held while a service runs
    jobs.sqlite     their states (`store`)
    uploads/ID      pictures of jobs that are not finished
    results/ID      pictures of jobs that are done

A file counts from the moment that a row of the store names it: what has no row was being written, or being removed,
when the service died, and goes at the next start.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from repsr_deploy.errors import RepsrError
from repsr_serve.buffers import Buffer
from repsr_serve.jobs.job import ID

Kind = Literal["uploads", "results"]


def default_folder() -> Path:
    """Where jobs are kept unless somebody says so (XDG base directory specification 0.8: absolute paths only)."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".local" / "state") / "repsr-serve"


class Folder:
    """Files of jobs by id, in a folder that nobody else of this machine may read.

    Raises:
        RepsrError: it cannot be made or written to, or another service holds it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            for folder in (root, root / "uploads", root / "results"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.close(os.open(self.database, os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError as error:
            raise RepsrError(
                f"cannot keep jobs in {root}: {error.strerror}; choose a writable folder with --data-dir"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 20, 0).decode(errors="replace").strip()
            os.close(self._lock)
            raise RepsrError(
                f"another repsr-serve (process {holder}) keeps its jobs in {root}; stop it, or choose another folder"
                " with --data-dir"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    @property
    def database(self) -> Path:
        """Of the store."""
        return self.root / "jobs.sqlite"

    def path(self, kind: Kind, job_id: str) -> Path:
        """Where a file of a job is, or will be."""
        if not ID.fullmatch(job_id):
            raise ValueError(f"{job_id[:100]!r} is no id of a job")
        return self.root / kind / job_id

    def write(self, kind: Kind, job_id: str, content: Buffer) -> None:
        """Keep a file.

        It is not forced to the disk (`fsync`): the store compares sizes after a loss of power.

        Raises:
            OSError: no space (ENOSPC, EDQUOT, EFBIG), or a broken disk; nothing is left behind.
        """
        path = self.path(kind, job_id)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                for chunk in content.chunks():
                    rest = memoryview(chunk)
                    while rest:
                        rest = rest[file.write(rest) :]
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def open(self, kind: Kind, job_id: str) -> Buffer:
        """A file to be read, which may be removed meanwhile.

        Raises:
            FileNotFoundError: there is none.
        """
        return Buffer(os.open(self.path(kind, job_id), os.O_RDONLY | os.O_CLOEXEC))

    def size(self, kind: Kind, job_id: str) -> int | None:
        """Bytes of a file; None when there is none."""
        try:
            return self.path(kind, job_id).stat().st_size
        except FileNotFoundError:
            return None

    def remove(self, job_id: str, *kinds: Kind) -> None:
        """Remove files of a job; those that are not there are no error."""
        for kind in kinds:
            self.path(kind, job_id).unlink(missing_ok=True)

    def clear(self, kind: Kind, keep: Collection[str]) -> int:
        """Remove the files of all jobs but some, and nothing that is no job's; says how many."""
        orphans = [
            entry for entry in (self.root / kind).iterdir() if ID.fullmatch(entry.name) and entry.name not in keep
        ]
        for orphan in orphans:
            orphan.unlink()
        return len(orphans)

    def close(self) -> None:
        """Let others have the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
