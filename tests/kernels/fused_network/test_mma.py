"""The emulated instructions of tensor cores, with fragments as CUTLASS writes them down."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_size_t, c_uint, c_void_p, sizeof
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from repsr_kernels.compile.host import host_library
from tests.kernels.fused_network.emulated import FLAGS

# Traits of SM80_16x8x16_F32F16F16F32_TN in CUTLASS (cute/atom/mma_traits_sm80.hpp): where value (i, j, k) of lane
# (t, g) lies in a matrix stored column by column, as strides of t, g and i, j, k
A_STRIDES, B_STRIDES, D_STRIDES = (32, 1, 16, 8, 128), (16, 1, 8, 64, 0), (32, 1, 16, 8, 0)


class Registers(ctypes.Structure):
    """As in mma_kernels.cu."""

    _fields_ = (("a", c_void_p), ("b", c_void_p), ("d", c_void_p))


@pytest.fixture(scope="module")
def library() -> Any:
    loaded = ctypes.CDLL(str(host_library([Path(__file__).with_name("mma_kernels.cu")], flags=FLAGS)))
    loaded.repsr_emulate_message.restype = c_char_p
    return loaded


def _launch(function: Any, a: NDArray[Any], b: NDArray[Any], d: NDArray[Any], *, threads: int = 32) -> int:
    registers, sizes = Registers(a.ctypes.data, b.ctypes.data, d.ctypes.data), c_uint * 3
    shared = c_size_t(32 * 48)
    return function(sizes(1, 1, 1), sizes(threads, 1, 1), shared, byref(registers), c_size_t(sizeof(registers)))


def _positions(strides: tuple[int, ...], values: int) -> NDArray[np.intp]:
    """Lane x value -> position in the matrix."""
    lane, value = np.arange(32)[:, None], np.arange(values)
    parts = (lane % 4, lane // 4, value % 2, value // 2 % 2, value // 4)
    return sum((stride * part for stride, part in zip(strides, parts, strict=True)), np.zeros((32, values), np.intp))


def test_product_of_fragments(library: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((16, 16)).astype(np.float16), rng.standard_normal((16, 8)).astype(np.float16)
    start = rng.standard_normal((16, 8)).astype(np.float32)
    # column by column: A is M x K, B is N x K, D is M x N
    of_a = a.T.reshape(-1)[_positions(A_STRIDES, 8)]
    of_b = b.reshape(-1)[_positions(B_STRIDES, 4)]
    where = _positions(D_STRIDES, 4)
    of_d = start.T.reshape(-1)[where]
    assert _launch(library.repsr_emulate_multiply, of_a, of_b, of_d) == 0
    found = np.zeros(128, np.float32)
    found[where] = of_d
    expected = start.copy()
    for k in range(16):  # in this order, in float32
        expected += a[:, k, None].astype(np.float32) * b[k].astype(np.float32)
    np.testing.assert_array_equal(found.reshape(8, 16).T, expected)
    np.testing.assert_allclose(expected, start + a.astype(np.float64) @ b.astype(np.float64), rtol=0, atol=1e-5)


def test_matrices_from_shared_memory(library: Any) -> None:
    rows = np.arange(32 * 8, dtype=np.uint16).reshape(4, 8, 8)  # matrix x row x column; row r of m is lane 8 m + r's
    found = np.zeros((32, 4, 2), np.uint16)
    assert _launch(library.repsr_emulate_load, rows, np.zeros(32, np.uint32), found) == 0
    lane = np.arange(32)
    for matrix in range(4):
        for half in range(2):
            np.testing.assert_array_equal(found[:, matrix, half], rows[matrix, lane // 4, 2 * (lane % 4) + half])


def test_rows_that_are_not_aligned(library: Any) -> None:
    offsets = np.zeros(32, np.uint32)
    offsets[13] = 8
    assert _launch(library.repsr_emulate_load, np.zeros(128, np.uint32), offsets, np.zeros(128, np.uint32)) != 0
    assert b"multiple of 16" in library.repsr_emulate_message()


def test_part_of_a_warp(library: Any) -> None:
    words = np.zeros(128, np.uint32)
    assert _launch(library.repsr_emulate_multiply, words, words, words.view(np.float32), threads=31) != 0
    assert b"31 lanes" in library.repsr_emulate_message()
