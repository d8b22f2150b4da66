"""Images and launches on the simulated GPU: it refuses what the real one would refuse."""

from __future__ import annotations

import numpy as np

from tests.simulated_gpu.child import on_simulated_gpu
from tests.simulated_gpu.simulated import Shift, begin, compiled, noise, raises, statistic

SIZE = 333  # floats


@on_simulated_gpu()
def test_a_kernel_does_what_it_says() -> None:
    cuda = begin()
    values, back = noise(SIZE), np.zeros(SIZE, np.float32)
    source, target = cuda.to_device(values), cuda.mem_alloc(values.nbytes)
    cuda.memset_d8(target, 0, values.nbytes)
    Shift()(target, source, SIZE - 3, add=0.5, offset=2)
    cuda.memcpy_dtoh(back, target)
    assert np.array_equal(back[2:-1], values[:-3] + np.float32(0.5))
    assert (back[[0, 1, -1]] == 0).all()
    assert statistic("launches") == 1


@on_simulated_gpu(says=("the image is no cubin", "no library for the processor", "a cubin of sm_80 on a GPU of sm_90"))
def test_images_that_it_refuses() -> None:
    cuda = begin()
    cubin = compiled()
    bare = cubin[: cubin.index(b"repsr-emulation\0")]
    for image in (compiled("-ptx", "compute_90"), bare, compiled(target="sm_80")):
        raises("NO_BINARY_FOR_GPU", cuda.module_from_buffer, image)
    raises("NOT_FOUND", cuda.module_from_buffer(cubin).get_function, "another")


@on_simulated_gpu(capability="8.9", driver_version="12080", says=("a cubin of CUDA 13 with an older driver",))
def test_another_gpu_with_an_old_driver() -> None:
    cuda = begin()
    assert cuda.get_driver_version() == 12080
    assert cuda.Device(0).compute_capability() == (8, 9)
    raises("INVALID_IMAGE", cuda.module_from_buffer, compiled(target="sm_86"))


@on_simulated_gpu(
    says=("a block of 1056 threads", "100000 bytes of dynamic shared memory", "the launch passes 4 bytes")
)
def test_launches_that_it_refuses() -> None:
    cuda = begin()
    shift, memory = Shift(), cuda.mem_alloc(SIZE * 4)

    def launch(block: tuple[int, int, int], grid: tuple[int, int] = (1, 1), shared: int = 0) -> None:
        shift.function(np.int32(0), block=block, grid=grid, shared=shared)

    raises("INVALID_VALUE", launch, (32, 33, 1))
    raises("INVALID_VALUE", launch, (1025, 1, 1))
    raises("INVALID_VALUE", launch, (1, 1, 65))
    raises("INVALID_VALUE", launch, (1, 1, 1), (1, 65536))
    raises("INVALID_VALUE", launch, (1, 1, 1))
    raises("INVALID_VALUE", launch, (1, 1, 1), (1, 1), 100000)
    attribute = cuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
    shift.function.set_attribute(attribute, 100000)
    assert shift.function.get_attribute(attribute) == 100000
    raises("INVALID_VALUE", shift.function.set_attribute, attribute, 227 * 1024 + 1)
    assert 8 <= shift.function.num_regs <= 255
    assert statistic("launches") == 0
    memory.free()
