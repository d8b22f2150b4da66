"""Two runs of an operation, compared byte for byte: results, what lies between and around them, and the counter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.reference.samples import from_bf16
from repsr_kernels.tensors import ITEM_BYTES, NUMPY, Tensor
from tests.kernels.random_operations import Bytes, Case


def assert_same(case: Case, expected: Mapping[str, Bytes], actual: Mapping[str, Bytes], *, ulps: int = 0) -> None:
    """Fail unless integers and everything around results are equal, floats at most so many steps of their type apart,
    and NaN where NaN is expected."""
    said = difference(case, expected, actual, ulps=ulps)
    assert not said, f"{said}\n{case.operation}"


def difference(case: Case, expected: Mapping[str, Bytes], actual: Mapping[str, Bytes], *, ulps: int = 0) -> str:
    """What differs, in a line; nothing where nothing does."""
    tensors = case.tensors()
    for name in expected:
        if name in tensors:
            said = _difference(tensors[name], case.buffers[name], expected[name], actual[name], ulps)
        else:
            said = (
                ""
                if np.array_equal(expected[name], actual[name])
                else (f"{actual[name].view(np.uint64)} instead of {expected[name].view(np.uint64)}")
            )
        if said:
            return f"{name}: {said}"
    return ""


def _difference(tensor: Tensor, buffer: Bytes, expected: Bytes, actual: Bytes, ulps: int) -> str:
    size = ITEM_BYTES[tensor.type]
    offset = tensor.address - buffer.__array_interface__["data"][0]
    strides = tuple(stride * size for stride in tensor.strides)

    def elements(memory: Bytes) -> NDArray[Any]:
        return np.ndarray(tensor.shape, NUMPY[tensor.type], memory.data, offset, strides)

    wanted, found = elements(expected), elements(actual)
    steps = _steps(_values(wanted, tensor), _values(found, tensor), size)
    if (far := steps > ulps).any():
        where = tuple(int(index) for index in np.argwhere(far)[0])
        return (
            f"{int(far.sum())} of {far.size} elements differ, by up to {steps.max()}; "
            f"[n, c, y, x] = {where}: {found[where]!r} instead of {wanted[where]!r}"
        )
    around, around_found = expected.copy(), actual.copy()
    for memory in (around, around_found):
        elements(memory)[...] = 0
    if not np.array_equal(around, around_found):
        where = int(np.argmax(around != around_found)) - offset
        return f"a byte that is no element's was written, {where} bytes behind the first element"
    return ""


def _values(elements: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    return from_bf16(elements) if tensor.type == "bf16" else elements


def _steps(expected: NDArray[Any], actual: NDArray[Any], size: int) -> NDArray[np.int64]:
    """How many numbers of the type lie between; 0 has one without and one with a sign. NaN is far from all others."""
    if expected.dtype.kind == "u":
        return np.abs(expected.astype(np.int64) - actual.astype(np.int64))
    steps = np.abs(_ordinals(expected) - _ordinals(actual)) >> 8 * (expected.dtype.itemsize - size)
    nan, nan_found = np.isnan(expected), np.isnan(actual)
    return np.where(nan & nan_found, 0, np.where(nan != nan_found, 2**40, steps))


def _ordinals(values: NDArray[Any]) -> NDArray[np.int64]:
    """Whole numbers in the order of floats, consecutive for neighbours."""
    bits = np.ascontiguousarray(values).view(f"i{values.dtype.itemsize}").astype(np.int64)
    magnitude = bits & (2 ** (8 * values.dtype.itemsize - 1) - 1)
    return np.where(bits < 0, -magnitude - 1, magnitude)
