"""Operations on a GPU write the bytes of the reference, all of them and no others; what cannot be launched is refused
before it is, and says why."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repsr_kernels import reference
from repsr_kernels.compile import Image, compiled
from repsr_kernels.errors import RuntimeUnavailableError, UsageError
from repsr_kernels.gpu import driver, modules
from repsr_kernels.gpu.context import GpuContext
from repsr_kernels.gpu.driver import CudaGraph, Driver
from repsr_kernels.gpu.launch import launch, prepare
from repsr_kernels.gpu.primary import primary_context
from repsr_kernels.operations import Preprocess
from repsr_kernels.tensors import Tensor, on_host
from repsr_kernels.variants import variant_of
from tests.kernels.comparison import assert_same
from tests.kernels.random_operations import Bytes, Case, random_fused_upsample
from tests.kernels.random_preprocess import random_preprocess

EXAMPLES = int(os.environ.get("REPSR_GPU_EXAMPLES", "6"))
"""Random operations of each kind: nearly every one is compiled for itself."""

Make = Callable[[np.random.Generator], Case]


@dataclass(frozen=True)
class OnDevice:
    """Copies of a case's buffers on the GPU."""

    cuda: Any
    case: Case
    memory: Mapping[str, Any]

    @classmethod
    def of(cls, cuda: Any, case: Case) -> OnDevice:
        """What is to be written begins as it does for the reference: with random bytes."""
        there = cls(cuda, case, {name: cuda.mem_alloc(buffer.nbytes) for name, buffer in case.buffers.items()})
        there.upload(case.buffers)
        there.upload(case.before)
        return there

    def upload(self, buffers: Mapping[str, Bytes]) -> None:
        """And wait: a copy from ordinary memory may still be under way when it returns, beside other streams."""
        for name, buffer in buffers.items():
            self.cuda.memcpy_htod(self.memory[name], buffer)
        self.cuda.Context.synchronize()

    @property
    def operation(self) -> Any:
        """The case's, on these buffers."""
        return self.case.moved({name: int(memory) for name, memory in self.memory.items()}, 0)

    def written(self) -> dict[str, Bytes]:
        """After all work."""
        self.cuda.Context.synchronize()
        return self.downloaded(None)

    def downloaded(self, stream: Any) -> dict[str, Bytes]:
        """As it is when it comes to that on a stream."""
        found: dict[str, Bytes] = {}
        for name, before in self.case.before.items():
            found[name] = self.cuda.pagelocked_empty(before.shape, np.uint8)
            if stream is None:
                self.cuda.memcpy_dtoh(found[name], self.memory[name])
            else:
                self.cuda.memcpy_dtoh_async(found[name], self.memory[name], stream)
        return found


def small() -> Case:
    """The same every time, so that one kernel is compiled."""
    return random_fused_upsample(np.random.default_rng(0), scale=2, channels=3, kind="picture", height=6, width=7)


@pytest.fixture
def there(cuda: Any) -> OnDevice:
    """The small case on the GPU."""
    return OnDevice.of(cuda, small())


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("make", [random_fused_upsample, random_preprocess])
@pytest.mark.parametrize("seed", range(EXAMPLES))
def test_the_bytes_of_the_reference(cuda: Any, make: Make, seed: int) -> None:
    """Every byte: those between and around the results stay what they were."""
    case = make(np.random.default_rng(seed))
    expected = case.run(reference.run)
    there = OnDevice.of(cuda, case)
    launch(there.operation)
    assert_same(case, expected, there.written())


@pytest.mark.gpu
def test_a_planted_error_is_seen(cuda: Any) -> None:
    case = small()
    expected = case.run(reference.run)
    there = OnDevice.of(cuda, case)
    launch(replace(there.operation, range=(0.125, 1.0)))
    with pytest.raises(AssertionError, match="elements differ"):
        assert_same(case, expected, there.written())


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["stream", "handle"])
def test_work_stays_in_the_order_of_its_stream(cuda: Any, kind: str) -> None:
    """Upload, kernel and download on one stream, with nobody waiting between them."""
    case = small()
    expected = case.run(reference.run)
    there, stream = OnDevice.of(cuda, case), cuda.Stream(1)
    prepared = prepare(there.operation)
    for name, memory in there.memory.items():
        cuda.memset_d8_async(memory, 0xAA, case.buffers[name].nbytes, stream)
        source = cuda.pagelocked_empty(case.buffers[name].shape, np.uint8)
        source[...] = case.before.get(name, case.buffers[name])
        cuda.memcpy_htod_async(memory, source, stream)
    prepared.enqueue(stream if kind == "stream" else stream.handle)
    found = there.downloaded(stream)
    stream.synchronize()
    assert_same(case, expected, found)


@pytest.mark.gpu
def test_prepared_once_and_recorded(cuda: Any) -> None:
    """Launched again and again, also as part of a CUDA graph."""
    case = small()
    expected = case.run(reference.run)
    there, stream = OnDevice.of(cuda, case), cuda.Stream(1)
    prepared = prepare(there.operation)
    graph = CudaGraph.record(stream.handle, lambda: prepared.enqueue(stream))
    for run in (lambda: graph.launch(stream.handle), lambda: prepared.enqueue(stream)) * 2:
        there.upload(case.before)
        run()
        stream.synchronize()
        assert_same(case, expected, there.written())
    graph.close()


@pytest.mark.gpu
def test_a_kernel_is_loaded_once(cuda: Any, there: OnDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    launch(there.operation)

    def load(*_: object) -> None:
        pytest.fail("loaded again")

    monkeypatch.setattr(modules, "_load", load)
    launch(there.operation)
    cuda.Context.synchronize()


@pytest.mark.gpu
def test_a_thread_without_a_context(cuda: Any) -> None:
    case = small()
    expected = case.run(reference.run)
    there = OnDevice.of(cuda, case)
    thread = threading.Thread(target=launch, args=(there.operation,))
    thread.start()
    thread.join()
    assert_same(case, expected, there.written())


@pytest.mark.gpu
def test_another_context_is_refused(gpu: GpuContext) -> None:
    with gpu.current():
        there = OnDevice.of(gpu.cuda, small())
        operation = there.operation
    other = gpu.cuda.Device(0).make_context()
    try:
        with pytest.raises(UsageError, match="another context than the primary one of GPU 0 is current in this thread"):
            launch(operation)
        elsewhere = gpu.cuda.mem_alloc(1 << 20)
        other.pop()
        with (
            gpu.current(),
            pytest.raises(UsageError, match=r"features .* another context than the primary one of GPU 0"),
        ):
            launch(with_features_at(operation, int(elsewhere)))
        other.push()
        elsewhere.free()
    finally:
        other.pop()
        other.detach()


def with_features_at(operation: Any, address: int) -> Any:
    return replace(operation, features=replace(operation.features, address=address))


@pytest.mark.gpu
def test_memory_of_the_host_is_refused(cuda: Any, there: OnDevice) -> None:
    operation = there.operation
    ordinary, locked = np.zeros(1 << 20, np.uint8), cuda.pagelocked_empty((1 << 20,), np.uint8)
    low = operation.features.address - operation.features.extent[0]
    with pytest.raises(UsageError, match=r"features lies at 0x\w+ to 0x\w+, where the NVIDIA driver knows of nothing"):
        prepare(with_features_at(operation, ordinary.ctypes.data + low))
    with pytest.raises(UsageError, match=r"features lies at .* in memory of the host; expected memory of GPU 0"):
        prepare(with_features_at(operation, locked.ctypes.data + low))


@pytest.mark.gpu
def test_memory_that_is_too_short_is_refused(cuda: Any, there: OnDevice) -> None:
    operation = there.operation
    low, high = operation.features.extent
    before = operation.features.address - low
    short = cuda.mem_alloc(high - low - 1)
    with pytest.raises(
        UsageError, match=r"features lies at .*, but its memory ends at 0x\w+; expected an allocation as"
    ):
        prepare(with_features_at(operation, int(short) + before))
    enough = cuda.mem_alloc(high - low)
    prepare(with_features_at(operation, int(enough) + before))


@pytest.mark.gpu
def test_freed_memory_is_refused(cuda: Any, there: OnDevice) -> None:
    operation = there.operation
    memory = cuda.mem_alloc(64 << 20)  # large: not a part of what the driver keeps for others
    address = int(memory)
    memory.free()
    with pytest.raises(
        UsageError, match="where the NVIDIA driver knows of nothing; expected memory of GPU 0 that was not"
    ):
        prepare(with_features_at(operation, address))


@pytest.mark.gpu
def test_the_counter_is_checked(cuda: Any, there: OnDevice) -> None:
    operation = there.operation
    memory = cuda.mem_alloc(12)
    with pytest.raises(UsageError, match=r"nonfinite lies at 0x\w+; expected a multiple of 8"):
        prepare(replace(operation, nonfinite=int(memory) + 4))
    with pytest.raises(UsageError, match=r"nonfinite lies at 0x\w+ to 0x\w+, but its memory ends"):
        prepare(replace(operation, nonfinite=int(memory) + 8))


@pytest.mark.gpu
def test_another_gpu_than_there_is(cuda: Any, there: OnDevice) -> None:
    count = cuda.Device.count()
    operation = there.case.moved({name: int(memory) for name, memory in there.memory.items()}, count)
    with pytest.raises(RuntimeUnavailableError, match=f"GPU {count} cannot be used here: cuDeviceGet .*INVALID_DEVICE"):
        launch(operation)


@pytest.mark.gpu
def test_a_stream_that_is_none(cuda: Any, there: OnDevice) -> None:
    operation = there.operation
    with pytest.raises(UsageError, match="stream is 'fast'; expected a handle"):
        launch(operation, "fast")


@pytest.mark.gpu
def test_a_driver_older_than_the_compiler(cuda: Any, there: OnDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = there.operation
    monkeypatch.setattr(modules, "_functions", {})

    def version(_: Driver) -> tuple[int, int]:
        return 11, 4

    monkeypatch.setattr(Driver, "version", version)
    message = (
        r"fused_upsample for sm_\d+, made by .*, is newer than the driver: driver for CUDA 11.4, .* update the driver"
    )
    with pytest.raises(RuntimeUnavailableError, match=message):
        launch(operation)


@pytest.mark.gpu
def test_an_image_that_does_not_fit_the_gpu(cuda: Any, there: OnDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = there.operation
    monkeypatch.setattr(modules, "_functions", {})
    image = compiled(variant_of(operation), 120 if primary_context(0).device.architecture < 120 else 75)

    def foreign(*_: object) -> Image:
        return image

    monkeypatch.setattr(modules, "compiled", foreign)
    with pytest.raises(
        RuntimeUnavailableError, match=f"fused_upsample for {image.target}, made by .*, (has no machine|can)"
    ):
        launch(operation)
    monkeypatch.undo()
    launch(operation)  # the context is as good as before
    cuda.Context.synchronize()


def test_tensors_of_the_host() -> None:
    source, out = np.zeros((8, 9, 3), np.uint8), np.zeros((1, 3, 8, 9), np.float32)
    operation = Preprocess(source=on_host(source, "nhwc"), out=on_host(out, "nchw"))
    with pytest.raises(
        UsageError, match=r"tensors lie in the memory of the host; expected a GPU's, or repsr_kernels.cpu"
    ):
        launch(operation)


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libnothing-of-the-kind.so.1")
    driver.load_driver.cache_clear()
    primary_context.cache_clear()
    source = Tensor(4096, "uint8", (1, 3, 4, 4), (48, 1, 12, 3), device=0)
    out = Tensor(8192, "fp32", (1, 3, 4, 4), (48, 16, 4, 1), device=0)
    with pytest.raises(RuntimeUnavailableError, match=r"GPU 0 cannot be used here: no NVIDIA driver \(libnothing"):
        launch(Preprocess(source=source, out=out))


DEAD = """
from repsr_kernels.gpu.context import shared_context
from repsr_kernels.gpu.driver import CudaError
from repsr_kernels.gpu.launch import launch, prepare
from tests.kernels.gpu.test_launch import OnDevice, small

gpu = shared_context()
with gpu.current():
    there = OnDevice.of(gpu.cuda, small())
    operation = there.operation
    prepared = prepare(operation)
    params = prepared._params
    params.out.data = 64  # nobody's
    print("first", flush=True)
try:
    with gpu.current():
        prepared.enqueue()
        gpu.cuda.Context.synchronize()
except CudaError as error:
    print("noticed:", error)
for attempt in (lambda: launch(operation), lambda: gpu.current().__enter__()):
    try:
        attempt()
    except CudaError as error:
        print("refused:", error)
print("lost:", gpu.primary.is_lost)
"""


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.usefixtures("cuda")
def test_what_broke_the_gpu_is_said_ever_after() -> None:
    """In a process of its own, whose GPU is lost then."""
    root = Path(__file__).parents[3]
    result = subprocess.run(
        [sys.executable, "-c", DEAD], cwd=root, capture_output=True, text=True, check=False, timeout=120
    )  # fmt: skip
    lines = [line for line in result.stdout.splitlines() if line != "first"]
    message = (
        "GPU 0 .* cannot be used by this process any more since CUDA_ERROR_.* first noticed as: .*; start the process"
    )
    assert len(lines) == 4, result.stderr
    noticed, *refused = (line.partition(": ")[2] for line in lines[:3])
    assert re.search(message, noticed)
    assert refused == [noticed] * 2
    assert lines[3] == "lost: True"
    assert result.returncode == 0
