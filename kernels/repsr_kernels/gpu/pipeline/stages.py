"""The stages of a frame, each on a stream of its own, so that three frames are under way at a time.

Not yet measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from repsr_kernels.gpu.driver import CudaError, CudaMemoryError

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: the stream does not wait for the default stream


@dataclass(frozen=True, kw_only=True)
class Streams:
    """PyCUDA's streams."""

    upload: Any
    compute: Any
    download: Any

    @classmethod
    def create(cls, cuda: Any) -> Self:
        """New ones; `cuda` is the module `pycuda.driver`."""
        upload, compute, download = (cuda.Stream(_NON_BLOCKING) for _ in range(3))
        return cls(upload=upload, compute=compute, download=download)

    def synchronize(self) -> None:
        """Wait until all is done."""
        for stream in (self.upload, self.compute, self.download):
            stream.synchronize()


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """Seconds that each stage of a frame takes alone, run by run."""

    copy_s: list[float]
    """Into page-locked memory, by the processor."""
    upload_s: list[float]
    compute_s: list[float]
    """Preprocessing, network and fused upsampling of all tiles."""
    download_s: list[float]


@contextmanager
def named_errors(cuda: Any, what: str) -> Generator[None]:
    """PyCUDA's errors as ours.

    Raises:
        CudaMemoryError: no memory; also a MemoryError.
        CudaError: the driver fails.
    """
    try:
        yield
    except cuda.MemoryError as error:
        raise CudaMemoryError(f"no GPU memory for {what}: {error}") from error
    except cuda.Error as error:
        raise CudaError(f"{what} failed on the GPU: {error}") from error
