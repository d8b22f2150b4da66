"""Work that ends by itself when nobody waits for it any more: given up at once, cleaned up in its own time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from repsr_serve.batcher import Ticket
from repsr_serve.pictures import Progress
from repsr_serve.stopwatch import Stopwatch

Made = TypeVar("Made")


def nobody(_: float) -> None:
    """Progress that nobody asked for."""


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What goes along with one picture or tensor."""

    ticket: Ticket
    background: bool = False
    patient: bool = False
    """Whether it waits for its turn, however long that takes."""
    progress: Progress = nobody
    watch: Stopwatch = field(default_factory=Stopwatch)


class TooLateError(Exception):
    """An errand took longer than it may."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"not done in {timeout_s:g} s")
        self.timeout_s = timeout_s


class StoppedError(Exception):
    """Errands were stopped while somebody waited for this one."""


class Errands:
    """All that are under way. For one event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(
        self,
        work: Coroutine[Any, Any, Made],
        ticket: Ticket,
        *,
        timeout_s: float | None,
        discard: Callable[[Made], None] = lambda _: None,
    ) -> Made:
        """Wait for work as long as time and caller allow. When they do not, it is cancelled, and this returns at once.

        Args:
            ticket: cancelled together with the work.
            discard: what to do with a result for which it was too late.

        Raises:
            TooLateError, StoppedError: see there.
        """
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        accepted, limit = False, asyncio.timeout(timeout_s)
        try:
            async with limit:
                made = await asyncio.shield(task)
            accepted = True
            return made
        except TimeoutError as error:
            if timeout_s is not None and limit.expired():
                raise TooLateError(timeout_s) from error
            raise
        except asyncio.CancelledError as error:
            if task.cancelled() and not _is_cancelled():
                raise StoppedError from error
            raise
        finally:
            if not accepted:
                ticket.cancel()
                _cancel_once(task)
                task.add_done_callback(partial(_discard, discard))
            del task  # a traceback would keep all that it has

    def cancel(self) -> None:
        """Give up all of them."""
        for task in self._tasks:
            _cancel_once(task)

    async def ended(self) -> None:
        """Wait until all have ended."""
        if self._tasks:
            await asyncio.wait(self._tasks)


def _is_cancelled() -> bool:
    """Whether the caller was told to give up."""
    waiting = asyncio.current_task()
    return waiting is not None and waiting.cancelling() > 0


def _cancel_once(task: asyncio.Task[Any]) -> None:
    """A second time would interrupt it while it cleans up."""
    if not task.cancelling():
        task.cancel()


def _discard(discard: Callable[[Made], None], task: asyncio.Task[Made]) -> None:
    if not task.cancelled() and task.exception() is None:
        discard(task.result())
