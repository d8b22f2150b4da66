"""Tensors of any type as float32, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.tensors import NUMPY, Tensor


def load(tensor: Tensor) -> NDArray[np.float32]:
    """A copy, N x C x H x W; of integers, their codes.

    Raises:
        UsageError: it is memory of a GPU.
    """
    items = tensor.numpy()
    return from_bf16(items) if tensor.type == "bf16" else items.astype(np.float32)


def store(values_nchw: NDArray[np.float32], tensor: Tensor) -> None:
    """Rounded to the tensor's type, to nearest with ties to even; for integers, values must lie in their range.

    Raises:
        UsageError: it is memory of a GPU.
    """
    items = tensor.numpy()
    if tensor.type == "bf16":
        items[...] = to_bf16(values_nchw)
    elif items.dtype.kind == "u":
        items[...] = np.rint(values_nchw).astype(NUMPY[tensor.type])
    else:
        with np.errstate(over="ignore"):  # too large for half precision: infinite
            items[...] = values_nchw.astype(NUMPY[tensor.type])


def from_bf16(bits: NDArray[Any]) -> NDArray[np.float32]:
    """The numbers whose bits these are: the upper half of a float32's."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Bits of the nearest bfloat16, ties to even; every NaN becomes a quiet one."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + (bits >> 16 & 1)
    quiet = bits | np.uint32(0x0040_0000)
    return (np.where(np.isnan(values), quiet, rounded) >> 16).astype(np.uint16)
