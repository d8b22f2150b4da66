"""The measurement on a GPU, real or simulated: memory, clock, and a pipeline that is a real one."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from repsr_deploy.bench.kernels.device import Card, measure_operation
from repsr_deploy.bench.kernels.device_cases import UPSAMPLINGS, upsampling_operation
from repsr_deploy.bench.kernels.device_memory import carry_out, memory_of, written
from repsr_deploy.bench.kernels.pipeline import measure_pipeline
from repsr_deploy.bench.kernels.processor import random_features
from repsr_deploy.bench.kernels.ways import Timer, Work, time_by_device
from repsr_deploy.bench.pictures import photograph_like
from repsr_deploy.bench.timing import Timing
from repsr_kernels.gpu.context import GpuContext
from repsr_kernels.gpu.pipeline import GpuPipeline
from tests.gpu import gpu_or_skip
from tests.kernels.gpu.pipeline.examples import picture, wanted
from tests.kernels.gpu.pipeline.shift_network import ShiftNetwork
from tests.simulated_gpu.child import simulated_gpu_or_skip

WORK = Work(where="GPU", what="w", data="d", size="s")


@pytest.fixture(scope="module")
def gpu() -> GpuContext:
    return gpu_or_skip()


@pytest.fixture
def card(gpu: GpuContext) -> Generator[Card]:
    with gpu.current():
        yield Card(gpu.cuda, "GPU", cache_bytes=0, most_launches=4)


def once(candidates: Any) -> dict[str, Timing]:
    return time_by_device(candidates, seconds=0.0, warmup_s=0.0)


@pytest.mark.gpu
def test_kernel_is_verified_and_timed_by_the_gpu(card: Card) -> None:
    operation = upsampling_operation(UPSAMPLINGS[0], random_features(5, 9, 2), photograph_like(5, 9), 2)
    carry_out(operation)
    timer: Timer = once
    cold, hot, copy = measure_operation(card, WORK, operation, None, timer)
    for row in (cold, hot, copy):
        assert row.timing is not None, row.failure
        assert all(value >= 0 for value in row.timing.times_s)
    assert cold.figures["verified_db"] == hot.figures["verified_db"] == float("inf")


@pytest.mark.gpu
def test_one_wrong_byte_takes_the_speed(card: Card) -> None:
    operation = upsampling_operation(UPSAMPLINGS[0], random_features(5, 9, 2), photograph_like(5, 9), 2)
    carry_out(operation)
    (out,) = written(operation)
    memory_of(out)[77] ^= 1
    cold, hot, copy = measure_operation(card, WORK, operation, None, once)
    assert cold.failure == hot.failure == "1 bytes differ from those that the reference writes"
    assert copy.timing is not None


@pytest.mark.gpu
def test_a_real_pipeline(gpu: GpuContext) -> None:
    network, frame = ShiftNetwork(gpu.cuda), picture(12, 18)
    expected = np.asarray(wanted(network, frame))
    with GpuPipeline(network) as pipeline:
        rows = measure_pipeline(WORK, pipeline, frame, expected, "fp32", frames=4, seconds=0.0)
        assert len(rows) == 5
        assert all(row.timing is not None for row in rows)
        assert rows[-1].figures["verified_db"] == float("inf")
        (wrong,) = measure_pipeline(WORK, pipeline, frame, 255 - expected, "fp32", frames=4, seconds=0.0)
        assert "fp32 must have" in wrong.failure


@pytest.mark.slow
def test_all_of_these_on_the_simulated_gpu() -> None:
    command = ["-m", "pytest", "-m", "gpu", "-q", "-rs", "-p", "no:cacheprovider", "tests/bench/kernels"]
    done = simulated_gpu_or_skip().run(command, {}, limit_s=600)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout, done.stdout
