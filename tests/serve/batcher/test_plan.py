"""Which tiles and batches are taken, by what the runtime is and takes."""

from __future__ import annotations

from typing import Any

import pytest

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.memory import BUDGET_BYTES, bytes_per_pixel
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes import Limits
from repsr_serve.batcher.plan import GPU_BATCH, GPU_SIDE, BatchPlan, plan_batches
from tests.serve.batcher.slowed import OnGpu, Slowed


def limits(count: tuple[int, int] = (1, 16), height: tuple[int, int] = (1, 400), width: Any = (1, 500)) -> Limits:
    return Limits(count=count, height=height, width=width)


def test_a_processor_takes_tiles_one_by_one_as_they_come() -> None:
    plan = plan_batches(Slowed(), tile=None, batch=None)
    assert plan == BatchPlan(tile_side=None, capacity=1, least=1, concurrency=1)
    assert plan.in_flight == 2


def test_a_gpu_takes_batches_of_equal_tiles() -> None:
    plan = plan_batches(OnGpu(), tile=None, batch=None)
    assert plan == BatchPlan(tile_side=GPU_SIDE, capacity=GPU_BATCH, least=1, concurrency=2)
    assert plan.in_flight == 3 * GPU_BATCH
    assert plan.batch_pixels == GPU_BATCH * GPU_SIDE**2


def test_what_is_asked_for() -> None:
    assert plan_batches(Slowed(), tile=100, batch=3) == BatchPlan(tile_side=100, capacity=3)
    assert plan_batches(Slowed(), tile=24, batch=None) == BatchPlan(tile_side=24, capacity=1)
    assert plan_batches(Slowed(), tile=None, batch=100).in_flight == 32
    assert plan_batches(OnGpu(), tile=None, batch=1).tile_side is None


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        (limits(), BatchPlan(tile_side=GPU_SIDE, capacity=GPU_BATCH, concurrency=2)),
        (limits(count=(3, 4)), BatchPlan(tile_side=GPU_SIDE, capacity=4, least=3, concurrency=2)),
        (limits(count=(12, 12)), BatchPlan(tile_side=GPU_SIDE, capacity=12, least=12, concurrency=2)),
        (limits(count=(1, 1)), BatchPlan(tile_side=None, capacity=1, concurrency=2)),
        (limits(height=(1, 96)), BatchPlan(tile_side=96, capacity=GPU_BATCH, concurrency=2)),
        (limits((1, 16), (352, 352), (352, 384)), BatchPlan(tile_side=352, capacity=GPU_BATCH, concurrency=2)),
        (limits((1, 16), (64, 80), (90, 100)), BatchPlan(tile_side=None, capacity=GPU_BATCH, concurrency=2)),
        (limits((1, 16), (20, 20), (20, 20)), BatchPlan(tile_side=None, capacity=GPU_BATCH, concurrency=2)),
    ],
)
def test_an_engine_says_what_it_takes(taken: Limits, expected: BatchPlan) -> None:
    assert plan_batches(OnGpu(limits=taken), tile=None, batch=None) == expected


def test_a_batch_fits_into_memory() -> None:
    runtime = OnGpu()
    runtime.info = ModelInfo(name="wide", scale=4, halo=6, width=512)
    plan = plan_batches(runtime, tile=None, batch=16)
    assert plan.tile_side is not None
    assert 28 <= plan.tile_side < GPU_SIDE
    assert plan.batch_pixels * bytes_per_pixel(runtime.info) <= BUDGET_BYTES
    assert 16 * (plan.tile_side + 1) ** 2 * bytes_per_pixel(runtime.info) > BUDGET_BYTES


def test_what_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"tile is 23 pixels with a halo of 4 .*; expected at least 24"):
        plan_batches(Slowed(), tile=23, batch=None)
    with pytest.raises(UsageError, match="batch is 17; Plain-M2C8 was built for batches of 1 to 16 images"):
        plan_batches(Slowed(limits=limits()), tile=None, batch=17)
    with pytest.raises(UsageError, match="built for height 1 to 400, not 401"):
        plan_batches(Slowed(limits=limits()), tile=401, batch=None)
    whole = Slowed()
    whole.info = ModelInfo(name="whole", scale=2, halo=None)
    assert plan_batches(whole, tile=None, batch=4).tile_side is None
    with pytest.raises(UsageError, match="whole cannot be tiled"):
        plan_batches(whole, tile=64, batch=4)
