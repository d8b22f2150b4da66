"""What a kernel that only moves bytes can reach: useful bytes, and the speed of a plain copy."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from repsr_deploy.bench.timing import Timing, time_side_by_side
from repsr_kernels.operations import FusedUpsample, Picture, Preprocess
from repsr_kernels.tensors import ITEM_BYTES, Tensor

COPY_BYTES = 256 * 2**20
"""Of the array that is copied: far more than caches hold."""


def useful_bytes(operation: FusedUpsample | Preprocess) -> int:
    """Bytes that must be moved: what is read once, and what is written once."""
    if isinstance(operation, Preprocess):
        return _bytes(operation.source) + _bytes(operation.out)
    part = operation.part
    read = [tensor for tensor in (operation.features, operation.image) if tensor is not None]
    inner = [tensor.part(part.top, part.left, part.rows, part.columns) for tensor in read]
    return sum(map(_bytes, inner)) + _bytes(operation.out)


def _bytes(picture: Picture) -> int:
    planes = [picture] if isinstance(picture, Tensor) else [picture.luma, picture.chroma]
    return sum(math.prod(plane.shape) * ITEM_BYTES[plane.type] for plane in planes)


class ProcessorCopy:
    """A large array copied into another by so many threads, the time of every copy."""

    def __init__(self, threads: int, size: int = COPY_BYTES) -> None:
        self.threads = threads
        self.size = size
        self._times_s: list[float] = []
        self._parts = [np.array_split(np.full(size, value, np.uint8), threads) for value in (0, 1)]

    def measure(self, seconds: float) -> None:
        """Copy for so long; called again and again, so that the machine is seen as the others see it."""
        with ThreadPoolExecutor(self.threads) as pool:

            def copy() -> None:
                for _ in pool.map(np.copyto, *self._parts):  # NumPy holds no lock while it copies
                    pass

            self._times_s += time_side_by_side({"copy": copy}, seconds=seconds, warmup_s=0.0)["copy"].times_s

    @property
    def timing(self) -> Timing:
        """Of all copies up to now."""
        return Timing(tuple(self._times_s))

    @property
    def bytes_per_s(self) -> float:
        """Bytes read and bytes written, by the median time."""
        return 2 * self.size / self.timing.median_s
