"""The states of all jobs, in SQLite: the one truth, which outlives the service.

Everything here blocks, and is called from one thread at a time. Changes are one transaction each. With WAL and
`synchronous=NORMAL`, a crash of the service loses nothing; a loss of power may lose the last moments, never half a
change (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from repsr_deploy.errors import RepsrError
from repsr_serve.jobs.job import Job, MoveError, State
from repsr_serve.problems import Problem

VERSION = 1
"""Of the tables."""
ROW_BYTES = 4096
"""What any job counts of the disk beside its files: its row, and blocks that they do not fill."""

_TYPES = {"str": "TEXT", "int": "INTEGER", "float": "REAL", "State": "TEXT", "WebFormat": "TEXT"}
_COLUMNS = {field.name: str(field.type) for field in fields(Job)}
_NAMES = ", ".join(_COLUMNS)
_TABLES = f"""
BEGIN;
CREATE TABLE job (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    {", ".join(name + " " + _TYPES[kind.removesuffix(" | None")] for name, kind in _COLUMNS.items())}
);
CREATE UNIQUE INDEX job_id ON job (id);
CREATE INDEX job_state ON job (state, number);
CREATE INDEX job_expires ON job (expires) WHERE expires IS NOT NULL;
PRAGMA user_version = {VERSION};
COMMIT;
"""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Jobs that wait for each other: those of pictures from `above` (exclusive) to `up_to` (inclusive) pixels."""

    above: int
    up_to: int
    at_once: int
    """So many of them run at a time."""
    background: bool
    """Whether pictures of requests come first."""

    def holds(self, job: Job) -> bool:
        """Whether a job stands in it."""
        return self.above < job.source_pixels <= self.up_to


class Store:
    """Jobs by id.

    Raises:
        RepsrError: the file is no database of jobs, damaged, or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._open(path)
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise RepsrError(f"cannot use {path}: {error}; move it away to start without its jobs") from error
        except BaseException:
            self._database.close()
            raise
        self._reserved: dict[str, int] = {}
        self.counts: Counter[State] = Counter()
        """Jobs by state."""
        self.held_bytes = 0
        """What all jobs count of the disk."""
        for state, count, held_bytes in self._database.execute(
            "SELECT state, COUNT(*), SUM(held_bytes) FROM job GROUP BY state"
        ):
            self.counts[state] = count
            self.held_bytes += held_bytes + count * ROW_BYTES

    def reserve(self, job: Job, *, max_waiting: int, max_bytes: int) -> None:
        """Keep a place for a new job whose upload is written next; `add` or `release` ends it.

        Raises:
            Problem: `max_waiting` jobs wait, or it does not fit into `max_bytes`.
        """
        needed_bytes = job.held_bytes + ROW_BYTES
        if needed_bytes > max_bytes:
            raise Problem(
                "too-many-pixels",
                f"The job may take {needed_bytes} bytes on the disk, and all jobs together have {max_bytes}; send a"
                " smaller picture, or ask for a smaller scale.",
                extra={"max_job_bytes": max_bytes},
            )
        if self.counts["waiting"] + len(self._reserved) >= max_waiting:
            raise Problem("overloaded", f"{max_waiting} jobs wait, as many as may; ask again later.", 10)
        if self.held_bytes + sum(self._reserved.values()) + needed_bytes > max_bytes:
            raise Problem(
                "no-space",
                f"The job may take {needed_bytes} bytes on the disk, and other jobs have {self.held_bytes} of"
                f" {max_bytes}; ask again later, or delete jobs that are done.",
                60,
            )
        self._reserved[job.id] = needed_bytes

    def release(self, job: Job) -> None:
        """Give a place back that was not used; without one, nothing happens."""
        self._reserved.pop(job.id, None)

    def add(self, job: Job) -> None:
        """A new job."""
        marks = ", ".join("?" * len(_COLUMNS))
        self._database.execute(f"INSERT INTO job ({_NAMES}) VALUES ({marks})", _to_row(job))
        self._count(job, +1)
        self.release(job)

    def get(self, job_id: str) -> Job | None:
        """A job, also one that is gone."""
        row = self._database.execute(f"SELECT {_NAMES} FROM job WHERE id = ?", (job_id,)).fetchone()
        return None if row is None else _from_row(row)

    def ahead(self, job: Job, queue: Queue) -> int:
        """How many jobs of its queue are taken before a job that waits."""
        (count,) = self._database.execute(
            "SELECT COUNT(*) FROM job WHERE state = 'waiting' AND number < (SELECT number FROM job WHERE id = ?)"
            " AND source_width * source_height > ? AND source_width * source_height <= ?",
            (job.id, queue.above, queue.up_to),
        ).fetchone()
        return count

    def take(self, queue: Queue, now: float) -> Job | None:
        """Start the oldest job that waits in a queue."""
        row = self._database.execute(
            f"SELECT {_NAMES} FROM job WHERE state = 'waiting' AND source_width * source_height > ?"
            " AND source_width * source_height <= ? ORDER BY number LIMIT 1",
            (queue.above, queue.up_to),
        ).fetchone()
        return None if row is None else self._replace(_from_row(row), lambda job: job.start(now))

    def change(self, job_id: str, move: Callable[[Job], Job]) -> Job:
        """Move a job; the job as it is now.

        Raises:
            MoveError: it is in a state that does not allow it, or forgotten.
        """
        job = self.get(job_id)
        if job is None:
            raise MoveError(f"job {job_id[:8]} is forgotten")
        return self._replace(job, move)

    def in_state(self, *states: State) -> list[Job]:
        """All jobs in some states, oldest first."""
        marks = ", ".join("?" * len(states))
        rows = self._database.execute(f"SELECT {_NAMES} FROM job WHERE state IN ({marks}) ORDER BY number", states)
        return [_from_row(row) for row in rows]

    def expired(self, now: float, limit: int) -> list[Job]:
        """Jobs whose time is over, those of longest ago first."""
        return self._by_expiry("expires <= ?", now, limit)

    def oldest_gone(self, limit: int) -> list[Job]:
        """Jobs that are gone, those of longest ago first."""
        return self._by_expiry("state = ?", "gone", limit)

    def forget(self, job_id: str) -> None:
        """Remove a job without a trace; one that is forgotten already is no error."""
        if job := self.get(job_id):
            self._database.execute("DELETE FROM job WHERE id = ?", (job_id,))
            self._count(job, -1)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _open(self, path: Path) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise RepsrError(
                f"{path} was written by a newer repsr-serve (version {version} of its tables; this one knows"
                f" {VERSION}); update, or choose another folder with --data-dir"
            )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        if version == 0:
            self._database.executescript(_TABLES)
        self._database.execute(f"PRAGMA user_version = {VERSION}")  # a first write, which makes the log's file

    def _by_expiry(self, which: str, value: str | float, limit: int) -> list[Job]:
        rows = self._database.execute(
            f"SELECT {_NAMES} FROM job WHERE {which} ORDER BY expires LIMIT ?", (value, limit)
        )
        return [_from_row(row) for row in rows]

    def _replace(self, old: Job, move: Callable[[Job], Job]) -> Job:
        new = move(old)
        setters = ", ".join(f"{name} = ?" for name in _COLUMNS)
        self._database.execute(f"UPDATE job SET {setters} WHERE id = ?", (*_to_row(new), old.id))
        self._count(old, -1)
        self._count(new, +1)
        return new

    def _count(self, job: Job, sign: int) -> None:
        self.counts[job.state] += sign
        self.held_bytes += sign * (job.held_bytes + ROW_BYTES)


def _to_row(job: Job) -> list[Any]:
    return [getattr(job, name) for name in _COLUMNS]


def _from_row(row: tuple[Any, ...]) -> Job:
    return Job(**dict(zip(_COLUMNS, row, strict=True)))
