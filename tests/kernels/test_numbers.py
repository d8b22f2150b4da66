"""Numbers as the kernels convert them, against NumPy and ml_dtypes."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from repsr_kernels.compile.host import host_library
from repsr_kernels.params import TYPES
from repsr_kernels.reference.samples import from_bf16, to_bf16
from repsr_kernels.tensors import Type

DTYPES: dict[Type, Any] = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    source = Path(__file__).with_name("numbers.cpp")
    return ctypes.CDLL(str(host_library([source], flags=["-Wall", "-Wextra", "-Werror"])))


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _same_floats(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """NaN equals NaN, 0 does not equal -0."""
    same_sign = (np.signbit(first) == np.signbit(second)) | np.isnan(first)
    return np.array_equal(first, second, equal_nan=True) and bool(same_sign.all())


def _near_ties(kind: Type) -> NDArray[np.float32]:
    """Every number of a type, what lies half-way to the next, and the neighbours of that; random bits."""
    with np.errstate(invalid="ignore", over="ignore"):
        numbers = np.arange(2**16, dtype=np.uint16).view(DTYPES[kind]).astype(np.float32)
        following = np.roll(numbers, -1)
        middle = ((numbers.astype(np.float64) + following) / 2).astype(np.float32)
        around = [np.nextafter(middle, np.float32(side)) for side in (-np.inf, np.inf)]
    bits = np.random.default_rng(1).integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    return np.concatenate([numbers, middle, *around, bits])


def test_quotient_by_255_is_that_of_ieee_for_every_byte(library: ctypes.CDLL) -> None:
    quotients = np.empty(256, np.float32)
    library.quotients(_pointer(quotients))
    assert np.array_equal(quotients, np.arange(256, dtype=np.float32) / np.float32(255))


@pytest.mark.parametrize("kind", DTYPES)
def test_every_half_precision_number_is_read_exactly(library: ctypes.CDLL, kind: Type) -> None:
    items = np.arange(2**16, dtype=np.uint16)
    values = np.empty(items.size, np.float32)
    library.values_of(TYPES[kind], _pointer(items), items.size, _pointer(values))
    with np.errstate(invalid="ignore"):
        expected = items.view(DTYPES[kind]).astype(np.float32)
    assert _same_floats(values, expected)
    if kind == "bf16":
        assert _same_floats(from_bf16(items), expected)


@pytest.mark.parametrize("kind", DTYPES)
def test_floats_are_rounded_to_the_nearest_half_ties_to_even(library: ctypes.CDLL, kind: Type) -> None:
    values = _near_ties(kind)
    items = np.empty(values.size, np.uint16)
    library.items_of(TYPES[kind], _pointer(values), values.size, _pointer(items))
    with np.errstate(invalid="ignore", over="ignore"):
        expected = values.astype(DTYPES[kind])
    assert _same_floats(items.view(DTYPES[kind]), expected)
    if kind == "bf16":
        assert _same_floats(to_bf16(values).view(DTYPES[kind]), expected)


def test_codes_are_rounded_half_to_even(library: ctypes.CDLL) -> None:
    halves = np.arange(2 * 2**16, dtype=np.float32) / 2
    values = np.concatenate([halves, np.nextafter(halves, np.float32(np.inf)), np.nextafter(halves[1:], np.float32(0))])
    whole = np.empty(values.size, np.uint32)
    library.rounded(_pointer(values), values.size, _pointer(whole))
    assert np.array_equal(whole, np.rint(values).astype(np.uint32))
