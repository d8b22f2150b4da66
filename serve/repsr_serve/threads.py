"""Threads that take models over pictures, some for each lane; and one that gives large memory back."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from repsr_serve.batcher import Ticket
from repsr_serve.budget import Lane

Made = TypeVar("Made")


class Closable(Protocol):
    """What has memory that `close` gives back."""

    def close(self) -> None:
        """May be called again."""
        ...


class Threads:
    """A bounded number of threads a lane, so that nobody waits for a thread of another one. They start when needed.

    Args:
        counts: most threads of every lane.
    """

    def __init__(self, counts: Mapping[Lane, int]) -> None:
        self._pools = {lane: ThreadPoolExecutor(count, f"upscale-{lane}") for lane, count in counts.items()}
        self._cleaner = ThreadPoolExecutor(1, "upscale-cleaner")

    async def run(self, lane: Lane, ticket: Ticket, work: Callable[[], Made]) -> Made:
        """Do `work` in a thread of a lane.

        When the task is cancelled, so is the ticket, on which `work` must end; this returns after it has.
        """
        future = self._pools[lane].submit(_without_remains, work)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            ticket.cancel()
            await ended(future)
            raise

    def free(self, thing: Closable, then: Callable[[], None]) -> None:
        """Close something large in a thread, then call somebody.

        To give memory back takes 0.1 to 0.3 ms per megabyte, for which an event loop must not stand still.
        """
        try:
            self._cleaner.submit(_free, thing, then)
        except RuntimeError:  # the threads have ended
            _free(thing, then)

    def close(self) -> None:
        """Wait for the threads to end."""
        for pool in (*self._pools.values(), self._cleaner):
            pool.shutdown()


async def ended(future: Future[Any]) -> None:
    """Wait until it is done or was cancelled before it began, whatever came out."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
    await done.wait()


def _free(thing: Closable, then: Callable[[], None]) -> None:
    thing.close()
    then()


def _without_remains(work: Callable[[], Made]) -> Made:
    """Do it; an error that leaves it holds no picture, as tracebacks do: theirs becomes a note."""
    try:
        return work()
    except BaseException as error:
        del work
        error.add_note("".join(traceback.format_exception(error)))
        link: BaseException | None = error
        while link is not None:
            link.__traceback__ = None
            link = link.__cause__ or link.__context__
        raise
