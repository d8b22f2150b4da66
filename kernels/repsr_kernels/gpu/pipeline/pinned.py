"""Page-locked memory of the host in which results lie: it comes back by itself when nobody looks at it any more.

Not yet measured on a GPU.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.gpu.context import GpuContext


class PinnedPool:
    """Buffers of one size at a time, reused; locking pages takes as long as copying them many times.

    A result may be kept as long as its owner likes, and takes its memory out of circulation meanwhile.

    Args:
        keep: how many buffers stay ready at most.
    """

    def __init__(self, gpu: GpuContext, keep: int) -> None:
        self._gpu, self._keep = gpu, keep
        self._free: deque[NDArray[np.uint8]] = deque()
        self._closed = False

    def take(self, size: int) -> NDArray[np.uint8]:
        """A buffer of so many bytes, with the CUDA context current.

        Raises:
            MemoryError: the system locks no more.
        """
        return np.asarray(_Lease(self._found(size), self._give_back))

    def _found(self, size: int) -> NDArray[np.uint8]:
        """A buffer that is ready, or a new one; those of other sizes, and too many, are freed."""
        while len(self._free) > self._keep:
            self._free.popleft()
        while self._free:
            buffer = self._free.popleft()
            if buffer.size == size:
                return buffer
        return self._gpu.cuda.pagelocked_empty((size,), np.uint8)

    def close(self) -> None:
        """Free what is ready now, and what comes back later then; the CUDA context is current."""
        self._closed = True
        self._free.clear()

    def _give_back(self, buffer: NDArray[np.uint8]) -> None:
        # called wherever Python drops the last array: takes no lock that this thread may hold, and asks CUDA nothing
        self._free.append(buffer)
        if self._closed and not self._gpu.primary.is_lost:
            with self._gpu.current():
                self._free.clear()


class _Lease:
    """What NumPy calls the base of every array in a buffer: when it goes, nobody looks there any more."""

    def __init__(self, buffer: NDArray[np.uint8], give_back: Any) -> None:
        self.__array_interface__: dict[str, Any] = buffer.__array_interface__
        weakref.finalize(self, give_back, buffer).atexit = False
