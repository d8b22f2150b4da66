"""The GPU's primary context through PyCUDA, one for the whole process, as TensorRT and PyTorch share it.

Not yet measured on a GPU.
"""

from __future__ import annotations

import atexit
import importlib
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

from repsr_kernels.gpu.primary import primary_context


class Closable(Protocol):
    """Something that holds memory of the GPU."""

    def close(self) -> None:
        """Free it; a second call does nothing."""
        ...


def load_pycuda() -> Any:
    """The module `pycuda.driver`.

    Raises:
        ImportError: PyCUDA is not installed, or was built for another CUDA.
    """
    return importlib.import_module("pycuda.driver")


class GpuContext:
    """The primary context as PyCUDA wants it for its memory and streams: current by its own count.

    Raises:
        ImportError: no PyCUDA.
        RuntimeUnavailableError: no GPU.
        CudaError: the driver cannot make the context.
    """

    def __init__(self) -> None:
        self.cuda: Any = load_pycuda()
        self.primary = primary_context(0)
        self.cuda.init()
        self._context: Any = self.cuda.Device(self.primary.ordinal).retain_primary_context()
        self._users: weakref.WeakSet[Closable] = weakref.WeakSet()
        atexit.register(self._end)

    @contextmanager
    def current(self) -> Generator[None]:
        """Make it current in this thread: PyCUDA frees memory of whatever thread only where it is.

        Raises:
            CudaError: the GPU failed so that this process cannot use it any more, now or before.
        """
        self.primary.check()
        self._context.push()
        try:
            with self.primary.guarded():
                yield
        finally:
            self._context.pop()

    def add(self, user: Closable) -> None:
        """Remember someone who is to be closed before the process ends, when nothing can be freed any more."""
        self._users.add(user)

    def _end(self) -> None:
        if self.primary.is_lost:
            return
        for user in list(self._users):
            user.close()
        self._context.push()
        self._context.detach()  # gives a primary context back only while it is current, and takes it from the stack


@cache
def shared_context() -> GpuContext:
    """The one of this process, made when first asked for."""
    return GpuContext()
