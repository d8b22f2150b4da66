"""One request, as the batcher knows it."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """A tile will not be computed: its request was cancelled, or the batcher was closed."""


class Ticket:
    """A request that can be cancelled from any thread.

    Args:
        background: it may take longer: it has the least share beside others (`batcher`), all of the machine when alone.
    """

    def __init__(self, *, background: bool = False) -> None:
        self.background = background
        self._lock = threading.Lock()
        self._cancelled = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Take the request's tiles out of the queue; whoever waits for one gets `Cancelled`. May be called again.

        A tile that is being computed is finished first, so that nothing of the request is in use once all have it.
        """
        with self._lock:
            self._cancelled = True
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()

    def when_cancelled(self, listener: Callable[[], None]) -> None:
        """Have something called by `cancel`, in its thread; at once if that has been called already."""
        with self._lock:
            if not self._cancelled:
                self._listeners.append(listener)
                return
        listener()
