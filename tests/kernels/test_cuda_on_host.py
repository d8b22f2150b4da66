"""Kernels emulated on a processor: right ones compute what they should, wrong ones are found out."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_char_p, c_int, c_size_t, c_uint, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from repsr_kernels.compile.host import host_library

HERE = Path(__file__).parent
EMULATION = HERE.parent / "simulated_gpu"
ORDERS = ("forward", "reverse", "shuffle")
PARAMS, LAUNCH, BARRIER, OVERRUN, ORDER = 1, 2, 3, 4, 5

Sizes = tuple[int, int, int]


class Arrays(ctypes.Structure):
    """As in emulated_kernels.cu."""

    _fields_ = (("in", c_void_p), ("out", c_void_p), ("counts", c_void_p), ("count", c_int))


class Emulated:
    """The library of emulated_kernels.cu."""

    def __init__(self, *flags: str) -> None:
        flags = (*flags, "-x", "c++", f"-I{EMULATION}", "-include", "cuda_on_host.h")
        self._library = ctypes.CDLL(str(host_library([HERE / "emulated_kernels.cu"], flags=flags)))
        self._library.repsr_emulate_message.restype = c_char_p

    def run(
        self,
        name: str,
        *,
        grid: Sizes = (1, 1, 1),
        block: Sizes = (1, 1, 1),
        shared_bytes: int = 0,
        given: NDArray[Any] | None = None,
        out: NDArray[np.float32] | None = None,
        counts: NDArray[np.uint64] | None = None,
        count: int = 0,
    ) -> int:
        """Error number of a kernel's launch."""
        addresses = [None if array is None else array.ctypes.data for array in (given, out, counts)]
        params = Arrays(*addresses, count)
        return self.launch(name, grid, block, shared_bytes, params, ctypes.sizeof(params))

    def launch(self, name: str, grid: Sizes, block: Sizes, shared: int, params: Arrays, params_bytes: int) -> int:
        function = getattr(self._library, f"repsr_emulate_{name}")
        sizes = c_uint * 3
        return int(
            function(sizes(*grid), sizes(*block), c_size_t(shared), ctypes.byref(params), c_size_t(params_bytes))
        )

    @property
    def message(self) -> str:
        return self._library.repsr_emulate_message().decode()


@pytest.fixture(scope="module", params=["", "-DREPSR_UCONTEXT"])
def emulated(request: pytest.FixtureRequest) -> Emulated:
    return Emulated(*filter(None, [request.param]))


@pytest.fixture(params=ORDERS)
def order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("REPSR_EMULATE_ORDER", request.param)
    return request.param


def _normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_every_thread_runs_once(emulated: Emulated, order: str) -> None:
    out = np.zeros(3 * 2 * 4 * 5 * 3 * 2, np.float32)
    assert emulated.run("number_threads", grid=(3, 2, 4), block=(5, 3, 2), out=out) == 0
    np.testing.assert_array_equal(out, np.arange(out.size))


def test_sums_by_shuffles_and_shared_memory(emulated: Emulated, order: str) -> None:
    given = np.arange(5 * 512, dtype=np.float32)
    out = np.zeros(5, np.float32)
    assert emulated.run("sum_blocks", grid=(5, 1, 1), block=(512, 1, 1), given=given, out=out) == 0
    np.testing.assert_array_equal(out, given.reshape(5, 512).sum(axis=1))


def test_barriers_hold_in_every_order(emulated: Emulated, order: str) -> None:
    given, out = _normal(1024), np.zeros(1024, np.float32)
    assert emulated.run("turn_safely", block=(1024, 1, 1), shared_bytes=4096, given=given, out=out, count=3) == 0
    np.testing.assert_array_equal(out, np.roll(given, -3))


def test_race_shows_in_another_order(emulated: Emulated, monkeypatch: pytest.MonkeyPatch) -> None:
    results: list[NDArray[np.float32]] = []
    for name in ORDERS:
        monkeypatch.setenv("REPSR_EMULATE_ORDER", name)
        given, out = _normal(64), np.zeros(64, np.float32)
        assert emulated.run("turn_racing", block=(64, 1, 1), shared_bytes=256, given=given, out=out, count=1) == 0
        results.append(out)
    assert not np.array_equal(results[0], results[1], equal_nan=True)
    assert not np.array_equal(results[0], results[2], equal_nan=True)


@pytest.mark.parametrize(
    ("kernel", "threads", "said"),
    [
        ("skip_barrier", 96, "95 of 96 threads wait at"),
        ("part_ways", 64, "expected all of them in one place"),
        ("skip_warp", 32, "31 of 32 threads wait at"),
        ("forget_lane", 32, "is lane 31"),
    ],
)
def test_barriers_that_not_all_reach(emulated: Emulated, order: str, kernel: str, threads: int, said: str) -> None:
    out = np.zeros(threads, np.float32)
    assert emulated.run(kernel, block=(threads, 1, 1), out=out, count=7) == BARRIER
    assert said in emulated.message
    assert "emulated_kernels.cu:" in emulated.message
    assert out.sum() == 0
    test_sums_by_shuffles_and_shared_memory(emulated, order)  # nothing is left of it


def test_shuffles_and_votes(emulated: Emulated, order: str) -> None:
    given, out, counts = _normal(32), np.zeros((6, 32), np.float32), np.zeros(1, np.uint64)
    assert emulated.run("shuffle_lanes", block=(32, 1, 1), given=given, out=out, counts=counts) == 0
    lane = np.arange(32)
    np.testing.assert_array_equal(out[0], np.full(32, given[7]))
    np.testing.assert_array_equal(out[1], given[lane // 8 * 8 + 3])
    np.testing.assert_array_equal(out[2], given[np.where(lane + 3 < 32, lane + 3, lane)])
    np.testing.assert_array_equal(out[3], given[np.where(lane % 8 + 3 < 8, lane + 3, lane)])
    np.testing.assert_array_equal(out[4], given[lane ^ 5])
    np.testing.assert_array_equal(out[5], np.where(lane < 16, 0, given[17]))
    assert int(counts[0]) == int(np.sum((given > 0) * 2**lane))


def test_atomic_additions(emulated: Emulated, order: str) -> None:
    given = np.arange(-100, 156, dtype=np.float32)
    out, counts = np.zeros(1, np.float32), np.zeros(2, np.uint64)
    assert emulated.run("count_signs", grid=(4, 1, 1), block=(64, 1, 1), given=given, out=out, counts=counts) == 0
    assert out[0] == given.sum()
    assert counts.tolist() == [156, 100]


def test_shared_memory_begins_poisoned_in_every_block(emulated: Emulated, order: str) -> None:
    out = np.zeros(6, np.float32)
    assert emulated.run("read_unwritten", grid=(3, 1, 1), shared_bytes=16, out=out) == 0
    assert np.isnan(out).all()


def test_writing_behind_shared_memory(emulated: Emulated) -> None:
    assert emulated.run("write_shared", shared_bytes=400, count=99) == 0
    assert emulated.run("write_shared", shared_bytes=400, count=100) == OVERRUN
    assert "400 bytes" in emulated.message


def test_bytes_in_another_order(emulated: Emulated) -> None:
    given, out = np.array([0x03020100, 0x07060504], np.uint32), np.zeros(1, np.float32)
    assert emulated.run("permute_bytes", given=given, out=out) == 0
    assert out.view(np.uint32)[0] == 0x02050407


@pytest.mark.parametrize(
    ("grid", "block", "shared_bytes"),
    [
        ((0, 1, 1), (1, 1, 1), 0),
        ((1, 65536, 1), (1, 1, 1), 0),
        ((1, 1, 65536), (1, 1, 1), 0),
        ((1, 1, 1), (33, 32, 1), 0),
        ((1, 1, 1), (1, 1, 65), 0),
        ((1, 1, 1), (1, 1, 1), 227 * 1024 + 1),
    ],
)
def test_launches_that_no_gpu_takes(emulated: Emulated, grid: Sizes, block: Sizes, shared_bytes: int) -> None:
    assert emulated.run("write_shared", grid=grid, block=block, shared_bytes=shared_bytes) == LAUNCH
    assert str(shared_bytes) in emulated.message


def test_another_structure_and_an_unknown_order(emulated: Emulated, monkeypatch: pytest.MonkeyPatch) -> None:
    assert emulated.launch("write_shared", (1, 1, 1), (1, 1, 1), 8, Arrays(), 31) == PARAMS
    assert "31 bytes; expected its structure of 32" in emulated.message
    monkeypatch.setenv("REPSR_EMULATE_ORDER", "backwards")
    assert emulated.run("write_shared", shared_bytes=8) == ORDER
    assert "backwards" in emulated.message


def test_several_threads_of_the_host(emulated: Emulated) -> None:
    given = np.arange(64 * 256, dtype=np.float32)

    def sums(_: int) -> NDArray[np.float32]:
        out = np.zeros(64, np.float32)
        assert emulated.run("sum_blocks", grid=(64, 1, 1), block=(256, 1, 1), given=given, out=out) == 0
        return out

    with ThreadPoolExecutor(4) as pool:
        for out in pool.map(sums, range(16)):
            np.testing.assert_array_equal(out, given.reshape(64, 256).sum(axis=1))
