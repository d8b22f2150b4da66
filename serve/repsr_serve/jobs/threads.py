"""The archive blocks, so threads call it: quick calls apart from those that move whole files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


class Threads:
    """Threads of the jobs. Calls always end: who is cancelled while he waits learns of it when the call has."""

    def __init__(self) -> None:
        self._quick = ThreadPoolExecutor(2, "repsr-jobs")
        self._files = ThreadPoolExecutor(4, "repsr-jobs-files")

    async def quick(
        self, call: Callable[Parameters, Returned], *args: Parameters.args, **options: Parameters.kwargs
    ) -> Returned:
        """Call what takes milliseconds."""
        return await _ended(self._quick, lambda: call(*args, **options))

    async def files(
        self, call: Callable[Parameters, Returned], *args: Parameters.args, **options: Parameters.kwargs
    ) -> Returned:
        """Call what takes as long as a file is large."""
        return await _ended(self._files, lambda: call(*args, **options))

    def close(self) -> None:
        """Wait for all calls, and end."""
        self._quick.shutdown()
        self._files.shutdown()


async def _ended(executor: Executor, call: Callable[[], Returned]) -> Returned:
    work = asyncio.wrap_future(executor.submit(call))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        work.exception()  # nobody else asks for it
        raise cancelled
    return work.result()
