"""In what batches a model runs: by what it runs on, and what was measured there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.memory import BUDGET_BYTES, bytes_per_pixel
from repsr_deploy.imaging.tiling import FAST_TILE, MIN_TILE
from repsr_deploy.runtimes.base import OnDevice, RowByRow, Runtime, WholePictures

GPU_BATCH, GPU_SIDE = 8, 256
"""Tiles of a batch on a GPU, and their side, LR pixels. Not yet measured on one."""
GPU_CONCURRENCY = 2
"""Batches under way on a GPU: one is copied while the other is computed."""
MOST_IN_FLIGHT = 32
"""Tiles of a request at a time, for each of which a thread waits."""
ANY_NUMBER = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """How tiles become batches.

    On a processor a batch is one tile, of any shape, unless something else is asked for. Nanoseconds per LR pixel in
    batches of 1, 2, 4 and 8 tiles of 320 x 320 pixels, two threads on two cores:

        photo-x2  OpenVINO bf16   63  61  66  69    photo-x4  OpenVINO bf16  144 154 155 158
                  OpenVINO fp32   88 120 103  94              OpenVINO fp32  195 200 194 197
                  ONNX Runtime   124 137 159 162              ONNX Runtime   216 276 275 284

    Tiles of one fixed shape overlap by more than their halo. With sides of 320 pixels they are 1.9 times the work for
    pictures of 0.1 to 0.5 megapixels, 1.5 times up to 2 and 1.24 times up to 12; tiles that divide each picture evenly,
    1.1 times. What OpenVINO prepares for each new shape cannot be seen beside that (1 thread, 25 shapes in turn).
    """

    tile_side: int | None
    """Sides of every tile, halo included, LR pixels; None for any."""
    capacity: int
    """Most tiles of a batch."""
    least: int = 1
    """Fewest tiles of a batch that an engine takes."""
    concurrency: int = 1
    """Batches under way at a time."""

    @property
    def in_flight(self) -> int:
        """Tiles of a request at a time: one request alone keeps all batches full, and the next one waiting."""
        return min(MOST_IN_FLIGHT, self.capacity * (self.concurrency + 1))

    @property
    def batch_pixels(self) -> int:
        """LR pixels of a full batch, where pictures are cut into tiles."""
        return self.capacity * (self.tile_side or FAST_TILE) ** 2


def plan_batches(runtime: Runtime, *, tile: int | None, batch: int | None) -> BatchPlan:
    """What is asked for, within what the runtime takes; where nothing is asked for, what is fast.

    Args:
        runtime: as it was opened, so that it says whether it runs on a GPU.
        tile: sides of every tile, halo included, LR pixels.
        batch: most tiles of a batch.

    Raises:
        UsageError: the runtime, or the model, does not allow such tiles or batches.
    """
    on_gpu = isinstance(runtime, OnDevice | WholePictures)
    low, high = (1, ANY_NUMBER) if runtime.limits is None else runtime.limits.count
    if batch is not None and not low <= batch <= high:
        raise UsageError(f"batch is {batch}; {runtime.info.name} was built for batches of {low} to {high} images")
    capacity = batch or max(low, min(high, GPU_BATCH if on_gpu else 1))
    return BatchPlan(
        tile_side=_best_side(runtime, capacity) if tile is None else _checked_side(runtime, tile),
        capacity=capacity,
        least=low,
        concurrency=GPU_CONCURRENCY if on_gpu else 1,
    )


def _best_side(runtime: Runtime, capacity: int) -> int | None:
    """The side with which tiles fit into one batch; None where they need not, or there are no tiles."""
    halo = runtime.info.halo
    if halo is None or capacity == 1:
        return None
    in_rows = isinstance(runtime, RowByRow)
    affordable = math.isqrt(BUDGET_BYTES // (capacity * bytes_per_pixel(runtime.info, in_rows=in_rows)))
    low, high = _least_side(halo), GPU_SIDE
    side = max(low, min(high, affordable))
    if runtime.limits is not None:
        (low_rows, high_rows), (low_columns, high_columns) = runtime.limits.height, runtime.limits.width
        low, high = max(low, low_rows, low_columns), min(high_rows, high_columns)
        side = max(low, min(high, side))
    return side if side <= high else None


def _checked_side(runtime: Runtime, tile: int) -> int:
    info, limits = runtime.info, runtime.limits
    if info.halo is None:
        raise UsageError(
            f"{info.name} cannot be tiled, as every pixel depends on the whole image; expected no tile size, or a "
            "model exported with --calibrate"
        )
    if tile < _least_side(info.halo):
        raise UsageError(
            f"tile is {tile} pixels with a halo of {info.halo} on each side, for {info.name}; expected at least "
            f"{_least_side(info.halo)}"
        )
    if limits is not None:
        limits.check(info.name, limits.count[0], tile, tile)
    return tile


def _least_side(halo: int) -> int:
    return 2 * halo + MIN_TILE
