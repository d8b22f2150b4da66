"""A frame that is under way."""

from __future__ import annotations

import threading
from collections.abc import Callable

from repsr_kernels.errors import RepsrError
from repsr_kernels.gpu.pipeline.frames import Frame


class NonFiniteError(RepsrError):
    """A network gave NaN or infinity, which the clamp would hide."""

    def __init__(self, name: str, count: int, total: int, number: int) -> None:
        super().__init__(
            f"{name} gives NaN or infinity in {count} of {total} values of frame {number}; its weights are broken"
        )
        self.name, self.count, self.total = name, count, total


class Ticket:
    """What `GpuPipeline.submit` hands out. Safe to ask from several threads.

    Args:
        finish: waits for the frame; called once.
    """

    def __init__(self, finish: Callable[[], Frame]) -> None:
        self._finish: Callable[[], Frame] | None = finish
        self._frame: Frame | None = None
        self._error: Exception | None = None
        self._lock = threading.Lock()

    def result(self) -> Frame:
        """Wait for the frame. It lies in page-locked memory, which is used again when the last reference is gone.

        Raises:
            NonFiniteError: the network gave NaN or infinity; says how many values, and of which frame.
            MemoryError: the GPU has no memory for it.
            CudaError: a launch or the driver failed.
        """
        with self._lock:
            if self._finish is not None:
                try:
                    self._frame = self._finish()
                except Exception as error:
                    self._error = error
                self._finish = None
        if self._error is not None:
            raise self._error
        assert self._frame is not None
        return self._frame
