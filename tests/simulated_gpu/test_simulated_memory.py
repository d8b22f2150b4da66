"""Memory and copies of the simulated GPU: they do what a GPU's do, and show mistakes that a GPU may hide."""

from __future__ import annotations

import ctypes
import signal

import numpy as np

from tests.simulated_gpu.child import on_simulated_gpu
from tests.simulated_gpu.simulated import NON_BLOCKING, Shift, begin, fail, noise, raises, statistic

SIZE = 1001  # floats


@on_simulated_gpu()
def test_copies_of_every_kind_arrive() -> None:
    cuda = begin()
    values, back = noise(SIZE), np.zeros(SIZE, np.float32)
    first, second = cuda.to_device(values), cuda.mem_alloc(values.nbytes)
    cuda.memcpy_dtod(second, first, values.nbytes)
    cuda.memcpy_dtoh(back, second)
    assert np.array_equal(values, back)

    picture = np.arange(7 * 13, dtype=np.uint8).reshape(7, 13)
    pitched, pitch = cuda.mem_alloc_pitch(13, 7, 4)
    assert pitch > 13
    cuda.memset_d2d8(pitched, pitch, 9, 13, 7)
    copy = cuda.Memcpy2D()
    copy.set_src_host(picture)
    copy.src_x_in_bytes, copy.src_y, copy.src_pitch = 4, 2, 13
    copy.set_dst_device(pitched)
    copy.dst_x_in_bytes, copy.dst_y, copy.dst_pitch = 3, 1, pitch
    copy.width_in_bytes, copy.height = 7, 3
    copy(aligned=False)
    everything = np.zeros((7, pitch), np.uint8)
    cuda.memcpy_dtoh(everything, pitched)
    expected = np.full((7, 13), 9)
    expected[1:4, 3:10] = picture[2:5, 4:11]
    assert np.array_equal(everything[:, :13], expected)
    assert (everything[:, 13:] == 255).all()


@on_simulated_gpu()
def test_memory_that_nobody_wrote_is_nan() -> None:
    cuda = begin()
    for type_ in (np.float32, np.float16):
        values = np.zeros(SIZE, type_)
        cuda.memcpy_dtoh(values, cuda.mem_alloc(values.nbytes))
        assert np.isnan(values).all()
    assert np.isnan(cuda.pagelocked_empty(SIZE, np.float32)).all()


@on_simulated_gpu()
def test_page_locked_memory_is_read_late_and_other_memory_at_once() -> None:
    cuda = begin()
    stream, target, back = cuda.Stream(NON_BLOCKING), cuda.mem_alloc(SIZE), np.zeros(SIZE, np.uint8)
    for host, expected in ((cuda.pagelocked_zeros(SIZE, np.uint8), 8), (np.zeros(SIZE, np.uint8), 7)):
        host[:] = 7
        cuda.memcpy_htod_async(target, host, stream)
        host[:] = 8  # too early
        cuda.memcpy_dtoh_async(back, target, stream)  # not page-locked: there when the call returns
        assert (back == expected).all()


@on_simulated_gpu()
def test_copies_stay_in_their_memory() -> None:
    cuda = begin()
    memory, host = cuda.mem_alloc(SIZE), cuda.pagelocked_empty(SIZE, np.uint8)
    for size, start in ((SIZE + 1, 0), (SIZE, 1), (1, SIZE), (1, -1)):
        raises("INVALID_VALUE", cuda.memcpy_dtoh, np.empty(size, np.uint8), int(memory) + start)
    raises("INVALID_VALUE", cuda.memset_d8, int(memory) + 1, 0, SIZE)
    raises("INVALID_VALUE", cuda.memcpy_dtod, memory, host.ctypes.data + 1, SIZE)
    raises("INVALID_VALUE", cuda.memcpy_dtod, memory, np.empty(SIZE).ctypes.data, SIZE)  # unknown to the driver
    memory.free()
    raises("INVALID_VALUE", cuda.memcpy_dtoh, np.empty(1, np.uint8), int(memory))


@on_simulated_gpu(says=("shift wrote 4 bytes behind allocation", "the first 8 behind its end"))
def test_a_write_behind_the_memory_ends_the_context() -> None:
    cuda = begin()
    shift, memory = Shift(), cuda.to_device(noise(SIZE))
    shift(memory, memory, 1, offset=SIZE + 2)
    raises("ILLEGAL_ADDRESS", cuda.Context.synchronize)
    raises("ILLEGAL_ADDRESS", cuda.mem_alloc, 1)


@on_simulated_gpu(says=("shift wrote 4 bytes before allocation",))
def test_a_write_before_the_memory_is_seen_too() -> None:
    cuda = begin()
    shift, memory = Shift(), cuda.to_device(noise(SIZE))
    shift(memory, memory, 1, offset=-1)
    raises("ILLEGAL_ADDRESS", cuda.Context.synchronize)


@on_simulated_gpu(says=("shift touched address",))
def test_reading_far_away_is_seen() -> None:
    cuda = begin()
    shift, memory = Shift(), cuda.to_device(noise(SIZE))
    shift(memory, int(memory) + (1 << 30), SIZE)
    raises("ILLEGAL_ADDRESS", cuda.Context.synchronize)


@on_simulated_gpu(says=("shift touched address",))
def test_kernels_do_not_use_what_was_freed() -> None:
    cuda = begin()
    shift, freed, memory = Shift(), cuda.mem_alloc(SIZE * 4), cuda.mem_alloc(SIZE * 4)
    freed.free()
    shift(memory, int(freed), SIZE)
    raises("ILLEGAL_ADDRESS", cuda.Context.synchronize)


@on_simulated_gpu(status=-signal.SIGSEGV)
def test_the_host_cannot_read_memory_of_the_gpu() -> None:
    memory = begin().to_device(noise(SIZE))
    ctypes.string_at(int(memory), 4)


@on_simulated_gpu(memory=str(1 << 20))
def test_the_gpu_has_an_end() -> None:
    cuda = begin()
    half = cuda.mem_alloc(1 << 19)
    raises("OUT_OF_MEMORY", cuda.mem_alloc, (1 << 19) + 1)
    assert cuda.mem_get_info() == (1 << 19, 1 << 20)
    half.free()
    cuda.mem_alloc(1 << 20)
    assert statistic("peak_bytes") == 1 << 20


@on_simulated_gpu(says=("shift touched address",))
def test_memory_of_another_context() -> None:
    cuda = begin()
    shift, memory = Shift(), cuda.to_device(noise(SIZE))
    other = cuda.Device(0).make_context()
    theirs = cuda.to_device(noise(SIZE))
    raises("INVALID_VALUE", cuda.memcpy_dtoh, noise(SIZE), memory)
    raises("INVALID_HANDLE", shift, memory, memory, SIZE)
    cuda.Context.pop()
    shift(memory, theirs, SIZE)
    raises("ILLEGAL_ADDRESS", cuda.Context.synchronize)
    other.push()
    cuda.memcpy_dtoh(noise(SIZE), theirs)  # the other one goes on
    cuda.Context.pop()


@on_simulated_gpu()
def test_what_the_driver_knows_about_addresses() -> None:
    from repsr_kernels.gpu.driver import load_driver
    from repsr_kernels.gpu.memory import find_allocation

    cuda = begin()
    memory, host = cuda.mem_alloc(SIZE), cuda.pagelocked_empty(SIZE, np.uint8)
    driver = load_driver()
    found = find_allocation(driver, int(memory) + 5)
    assert found is not None
    assert (found.memory_type, found.start, found.bytes) == (2, int(memory), SIZE)
    pinned = find_allocation(driver, host.ctypes.data)
    assert pinned is not None
    assert (pinned.memory_type, pinned.context) == (1, found.context)
    memory.free()
    assert find_allocation(driver, int(memory)) is None
    assert find_allocation(driver, np.empty(SIZE).ctypes.data) is None


@on_simulated_gpu(fail="cuStreamCreate:1:2")
def test_functions_fail_when_they_are_told_to() -> None:
    cuda = begin()
    cuda.Stream()
    raises("OUT_OF_MEMORY", cuda.Stream)
    cuda.Stream()
    memory = cuda.mem_alloc(1)
    fail("cuMemcpyDtoH", 719)  # CUDA_ERROR_LAUNCH_FAILED, after which nothing works
    for _ in range(2):
        raises("LAUNCH_FAILED", cuda.memcpy_dtoh, np.empty(1, np.uint8), memory)
    raises("LAUNCH_FAILED", cuda.mem_alloc, 1)


@on_simulated_gpu(
    report="1", says=("1 launches, 1 copies, 0 memsets", "never freed: 1 allocations of the GPU, 0 of the host")
)
def test_leaks_are_counted() -> None:
    from repsr_kernels.gpu.primary import primary_context

    with primary_context(0).entered():
        begin_without_context = ctypes.CDLL("libcuda.so.1")
        address = ctypes.c_uint64()
        assert begin_without_context.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(4096)) == 0
    cuda = begin()
    shift, memory = Shift(), cuda.to_device(noise(SIZE))
    shift(memory, memory, SIZE)
    cuda.Context.synchronize()
    memory.free()


@on_simulated_gpu(memory="lots", says=("SIMULATED_GPU_MEMORY is 'lots'",))
def test_settings_that_make_no_sense() -> None:
    assert ctypes.CDLL("libcuda.so.1").cuInit(0) == 1
