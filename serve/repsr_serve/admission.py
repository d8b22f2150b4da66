"""Who is let in: requests under way and bytes of uploads are bounded, and what is not up refuses with its own cause."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from repsr_serve.problems import Problem

State = Literal["starting", "open", "stopping"]
STOPPING_RETRY_S = 5
"""When another instance, or this one after a restart, may be up."""


class Admission:
    """Counts requests in and out. For one event loop.

    Args:
        queue: most requests under way.
        uploads_bytes: most bytes of their uploads together.
        retry_after_s: an estimate of when it may be worth asking again.
    """

    def __init__(self, *, queue: int, uploads_bytes: int, retry_after_s: Callable[[], int]) -> None:
        self.queue, self.uploads_bytes = queue, uploads_bytes
        self.state: State = "starting"
        self.entered = 0
        """Requests under way."""
        self.reserved_bytes = 0
        """Of their uploads."""
        self._retry_after_s = retry_after_s

    def check_open(self) -> None:
        """Refuse before the service is ready and after it was told to stop.

        Raises:
            Problem: `starting` or `stopping`.
        """
        if self.state == "starting":
            raise Problem("starting", "The service is starting: its models warm up.", retry_after_s=1)
        if self.state == "stopping":
            raise self.stopping()

    @asynccontextmanager
    async def enter(self, upload_bytes: int = 0) -> AsyncGenerator[None]:
        """Be counted in, from before an upload is read until the answer is sent.

        Args:
            upload_bytes: that will be read: Content-Length, or the most that is accepted where there is none.

        Raises:
            Problem: `starting`, `stopping` or `overloaded`; at once, for waiting takes memory.
        """
        self.check_open()
        if self.entered >= self.queue:
            raise self.overloaded(f"{self.queue} requests are under way, as many as are taken at a time")
        if self.reserved_bytes + upload_bytes > self.uploads_bytes:
            raise self.overloaded("the uploads under way take all memory that there is for them")
        self.entered += 1
        self.reserved_bytes += upload_bytes
        try:
            yield
        finally:
            self.entered -= 1
            self.reserved_bytes -= upload_bytes

    def overloaded(self, why: str) -> Problem:
        """The refusal, with an estimate of when it is over."""
        wait_s = self._retry_after_s()
        return Problem("overloaded", f"Too much to do: {why}; ask again in {wait_s} s.", retry_after_s=wait_s)

    def stopping(self) -> Problem:
        """The refusal of a service that ends."""
        return Problem("stopping", "The service is stopping.", retry_after_s=STOPPING_RETRY_S)

    def too_late(self, timeout_s: float) -> Problem:
        """The refusal after a request's time, with an estimate of when there is more of it."""
        wait_s = self._retry_after_s()
        detail = f"The picture was not done in {timeout_s:g} s, and was given up; ask again in {wait_s} s."
        return Problem("too-late", detail, retry_after_s=wait_s)
