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
    """The primary context, kept until the process ends: given back earlier, it would be gone for others, too."""

    def __init__(self) -> None:
        self.cuda: Any = load_pycuda()
        self.cuda.init()
        self._context: Any = self.cuda.Device(0).retain_primary_context()
        self._users: weakref.WeakSet[Closable] = weakref.WeakSet()
        atexit.register(self._end)

    @contextmanager
    def current(self) -> Generator[None]:
        """Make it current in this thread: PyCUDA frees memory of whatever thread only where it is."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def add(self, user: Closable) -> None:
        """Remember someone who is to be closed before the process ends, when nothing can be freed any more."""
        self._users.add(user)

    def _end(self) -> None:
        for user in list(self._users):
            user.close()
        self._context.push()
        self._context.detach()  # gives a primary context back only while it is current, and takes it from the stack


@cache
def shared_context() -> GpuContext:
    """The one of this process, made when first asked for."""
    return GpuContext()
