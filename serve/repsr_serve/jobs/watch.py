"""Waiting for a job to change: many may listen, nobody polls the store."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

MAX_LISTENERS = 256
"""A change wakes its listeners, each of which is a connection that is kept open."""


class Watch:
    """Who listens to which job. For one event loop."""

    def __init__(self, limit: int = MAX_LISTENERS) -> None:
        self._limit = limit
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._count = 0
        self._closed = False

    @contextmanager
    def listen(self, job_id: str) -> Generator[asyncio.Event | None]:
        """An event that is set at every change; None when too many listen, or nobody may any more."""
        if self._count >= self._limit or self._closed:
            yield None
            return
        event = asyncio.Event()
        self._count += 1
        self._listeners.setdefault(job_id, set()).add(event)
        try:
            yield event
        finally:
            self._count -= 1
            listeners = self._listeners[job_id]
            listeners.remove(event)
            if not listeners:
                del self._listeners[job_id]

    def announce(self, job_id: str) -> None:
        """A job changed."""
        for event in self._listeners.get(job_id, ()):
            event.set()

    def close(self) -> None:
        """Wake all; nobody listens from now on."""
        self._closed = True
        for job_id in self._listeners:
            self.announce(job_id)
