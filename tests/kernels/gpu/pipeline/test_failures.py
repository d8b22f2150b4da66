"""What goes wrong with one frame of the pipeline stays with it, and what is no longer needed is given back."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from repsr_kernels.errors import UsageError
from repsr_kernels.gpu.context import GpuContext
from repsr_kernels.gpu.driver import CudaError, CudaGraph, CudaMemoryError
from repsr_kernels.gpu.pipeline import GpuPipeline, NonFiniteError
from tests.kernels.gpu.pipeline.conftest import Make
from tests.kernels.gpu.pipeline.examples import picture, same, tiles_of, wanted
from tests.kernels.gpu.pipeline.shift_network import ShiftNetwork

pytestmark = pytest.mark.gpu


def free_bytes(gpu: GpuContext) -> int:
    gc.collect()
    with gpu.current():
        gpu.cuda.Context.synchronize()
        return gpu.cuda.mem_get_info()[0]


@pytest.mark.parametrize("kind", ["fp32", "fp16"])
def test_values_that_are_not_finite_are_counted_and_named(make: Make, kind: Any) -> None:
    network = make(type=kind, capturable=False)
    with GpuPipeline(network) as pipeline:
        tickets: list[Any] = []
        for seed, broken in enumerate((0, 7, 0, 40, 0)):
            network.broken_values = broken
            tickets.append(pipeline.submit(picture(10, 20, seed)))
        for seed in (0, 2, 4):
            assert same(tickets[seed].result(), wanted(network, picture(10, 20, seed)))
        for number, count in ((1, 7), (3, 40)):
            for _ in range(2):  # it says so whenever it is asked
                with pytest.raises(
                    NonFiniteError, match=f"shifts gives NaN or infinity in {count} of 2400 values of frame {number}"
                ):
                    tickets[number].result()


def test_a_defect_leaves_the_pipeline_usable(make: Make) -> None:
    network = make(capturable=False)
    with GpuPipeline(network, slots=2) as pipeline:
        pipeline.run(picture(10, 20))
        network.broken_runs = {1}
        with pytest.raises(ZeroDivisionError):  # a defect is nobody's frame
            pipeline.submit(picture(10, 20))
        for seed in range(4):
            assert same(pipeline.run(picture(10, 20, seed)), wanted(network, picture(10, 20, seed)))


def test_a_launch_that_fails_is_its_own_frame_s_failure(
    make: Make, monkeypatch: pytest.MonkeyPatch, gpu: GpuContext
) -> None:
    network = make(capturable=False)
    original = ShiftNetwork.lane

    def lane(self: ShiftNetwork, stream: int) -> Any:
        made = original(self, stream)
        enqueue = made.enqueue

        def failing() -> None:
            if network.runs == 4:
                network.runs += 1
                raise CudaError("cuLaunchKernel says no")
            enqueue()

        monkeypatch.setattr(made, "enqueue", failing)
        return made

    monkeypatch.setattr(ShiftNetwork, "lane", lane)
    with GpuPipeline(network) as pipeline:
        tickets = [pipeline.submit(picture(10, 20, seed)) for seed in range(9)]
        for seed, ticket in enumerate(tickets):
            if seed == 4:
                with pytest.raises(CudaError, match="cuLaunchKernel says no"):
                    ticket.result()
            else:
                assert same(ticket.result(), wanted(network, picture(10, 20, seed)))


def test_a_recording_that_fails_is_a_launch(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(stream: int, enqueue: Callable[[], None]) -> CudaGraph:
        raise CudaError("cannot be recorded")

    monkeypatch.setattr(CudaGraph, "record", refuse)
    network = make()
    with GpuPipeline(network, slots=1) as pipeline:
        for seed in range(4):
            assert same(pipeline.run(picture(10, 20, seed)), wanted(network, picture(10, 20, seed)))
    assert caplog.messages == ["shifts runs without CUDA graphs: cannot be recorded"]


def test_memory_that_runs_out_is_an_error_of_the_frame(
    make: Make, gpu: GpuContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And memory of the other slots, which is for frames of another size, is given back before."""
    network = make()
    taken: list[int] = []
    take = gpu.cuda.mem_alloc

    def limited(size: int) -> Any:
        if size > limit:
            raise gpu.cuda.MemoryError("cuMemAlloc failed: out of memory")
        taken.append(size)
        return take(size)

    limit = 10_000
    monkeypatch.setattr(gpu.cuda, "mem_alloc", limited)
    with GpuPipeline(network) as pipeline:
        for _ in range(2):
            with pytest.raises(CudaMemoryError, match=r"no GPU memory for shifts: .*out of memory"):
                pipeline.run(picture(60, 60))
            assert issubclass(CudaMemoryError, MemoryError)
            for seed in range(4):
                assert same(pipeline.run(picture(10, 20, seed)), wanted(network, picture(10, 20, seed)))
        small = network.lanes
        limit = 10**9
        assert same(pipeline.run(picture(60, 60)), wanted(network, picture(60, 60)))
        assert network.lanes <= small
    assert network.lanes == 0


def test_everything_is_given_back(make: Make, gpu: GpuContext) -> None:
    def work() -> Any:
        with GpuPipeline(make()) as pipeline:
            list(pipeline.stream([picture(64, 80, seed) for seed in range(8)], tiles_of(64, 80, 30)))
            return pipeline.run(picture(50, 60))

    kept = work()  # kernels that are loaded stay
    before = free_bytes(gpu)
    for _ in range(3):
        work()
        assert free_bytes(gpu) == before
    assert same(kept, wanted(make(), picture(50, 60)))
    pipeline = GpuPipeline(make())
    ticket = pipeline.submit(picture(50, 60))
    assert free_bytes(gpu) < before
    del pipeline  # not closed by anybody
    assert same(ticket.result(), kept)
    assert free_bytes(gpu) == before


def test_closing_finishes_what_is_under_way(make: Make) -> None:
    network = make()
    pipeline = GpuPipeline(network)
    tickets = [pipeline.submit(picture(30, 40, seed)) for seed in range(5)]
    pipeline.close()
    pipeline.close()
    assert network.lanes == 0
    for seed, ticket in enumerate(tickets):
        assert same(ticket.result(), wanted(network, picture(30, 40, seed)))
    with pytest.raises(UsageError, match="the pipeline of shifts is closed"):
        pipeline.submit(picture(30, 40))


def test_results_take_memory_out_of_the_pool(make: Make) -> None:
    """Page-locked memory is used again when a result has gone, and never before."""
    network = make()
    with GpuPipeline(network, slots=1) as pipeline:
        first: Any = pipeline.run(picture(30, 40))
        kept: list[Any] = [pipeline.run(picture(30, 40, seed)) for seed in range(1, 6)]
        addresses = {result.ctypes.data for result in (first, *kept)}
        assert len(addresses) == 6
        copy = first.copy()
        del kept
        gc.collect()
        again: Any = pipeline.run(picture(30, 40))
        assert again.ctypes.data in addresses
        np.testing.assert_array_equal(first, copy)
