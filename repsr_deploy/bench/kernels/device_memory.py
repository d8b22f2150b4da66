"""Operations on the host's memory, repeated in a GPU's, as often as it takes to find none of it in its cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.operations import FusedUpsample, Picture, Preprocess
from repsr_kernels.tensors import Tensor

Operation = FusedUpsample | Preprocess
TIMES_CACHE = 3
"""How many times what a GPU's cache holds is touched before the same memory comes again."""
POISON = 0xA5
"""What every byte is that a kernel is to write: no zero, and no NaN in fp16."""


def sets_beyond_cache(moved: int, cache_bytes: int) -> int:
    """Sets of buffers, `moved` bytes each, after which nothing of the first is left in the cache; two at least."""
    return max(2, math.ceil(TIMES_CACHE * cache_bytes / moved) + 1)


def mapped(operation: Operation, place: Callable[[Tensor], Tensor]) -> Operation:
    """The same operation on other tensors."""
    if isinstance(operation, FusedUpsample):
        image = None if operation.image is None else place(operation.image)
        return replace(operation, features=place(operation.features), image=image, out=_placed(operation.out, place))
    return replace(operation, source=_placed(operation.source, place), out=place(operation.out))


def _placed(picture: Picture, place: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(picture, Tensor):
        return place(picture)
    return replace(picture, luma=place(picture.luma), chroma=place(picture.chroma))


def memory_of(tensor: Tensor) -> NDArray[np.uint8]:
    """All bytes of a tensor of the host, those between its rows included."""
    import ctypes

    low, high = tensor.extent
    return np.ctypeslib.as_array((ctypes.c_uint8 * (high - low)).from_address(low))


def written(operation: Operation) -> Iterator[Tensor]:
    """What an operation writes to."""
    if isinstance(operation.out, Tensor):
        yield operation.out
    else:
        yield operation.out.luma
        yield operation.out.chroma


class DeviceMemory:
    """Copies of the host's tensors in a GPU's memory, strides and gaps included.

    Args:
        cuda: the module `pycuda.driver`; its context is current wherever this is used.
        device: ordinal of the GPU.
    """

    def __init__(self, cuda: Any, device: int) -> None:
        self._cuda = cuda
        self._device = device

    def copy_of(self, operation: Operation) -> Operation:
        """The operation on copies of its tensors; what it is to write is poisoned there."""
        copy = mapped(operation, self.copy)
        for tensor in written(copy):
            low, high = tensor.extent
            self._cuda.memset_d8(low, POISON, high - low)
        return copy

    def copy(self, tensor: Tensor) -> Tensor:
        """One tensor."""
        low, high = tensor.extent
        memory = self._cuda.mem_alloc(high - low)
        self._cuda.memcpy_htod(memory, memory_of(tensor))
        address = int(memory) + tensor.address - low
        return Tensor(address, tensor.type, tensor.shape, tensor.strides, device=self._device, owner=memory)

    def differing(self, copy: Operation, expected: Operation) -> int:
        """Bytes that an operation wrote here in another way than on the host, or outside of its rows and columns."""
        count = 0
        for ours, theirs in zip(written(copy), written(expected), strict=True):
            found = np.empty_like(memory_of(theirs))
            self._cuda.memcpy_dtoh(found, ours.extent[0])
            count += int(np.count_nonzero(found != memory_of(theirs)))
        return count


def carry_out(operation: Operation) -> None:
    """What it should come to, on the host; what lies between rows and columns is poison."""
    from repsr_kernels import reference

    for tensor in written(operation):
        memory_of(tensor)[:] = POISON
    reference.run(operation)
