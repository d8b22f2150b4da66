"""Raw tensors through the same models, batches and memory as pictures."""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import Coroutine
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import UsageError
from repsr_serve.errands import Errand
from repsr_serve.models import ServedModel
from repsr_serve.passage import enlarge_image
from repsr_serve.pipeline import Pipeline
from repsr_serve.plan import check_pixels

AT_ONCE = 8
"""Images of one tensor in networks at a time, so that their tiles share batches."""
IMAGE_BYTES = 2**20
"""What a thread with its tiles takes beside its image."""


async def infer(
    pipeline: Pipeline, model: ServedModel, batch: NDArray[Any], *, max_pixels: int, errand: Errand
) -> NDArray[Any]:
    """See `Service.infer`. The memory of the result goes back with the array."""
    images_nhwc = _images(batch, model)
    count, height, width, channels = images_nhwc.shape
    check_pixels(width, count * height, max_pixels)
    scale = model.info.scale
    shape = (count, height * scale, width * scale, channels)
    made_bytes = math.prod(shape) * batch.itemsize
    threads = min(count, AT_ONCE)
    # each image is made contiguous, enlarged, and copied to its place
    needed = made_bytes + batch.nbytes + threads * ((made_bytes + batch.nbytes) // count + IMAGE_BYTES)
    lane = pipeline.lane(count * height * width, needed, background=errand.background)
    with pipeline.throughput.work(count * height * width, lane) as work:
        with errand.watch.stage("wait"):
            lease = await pipeline.budget.reserve(needed, lane)
        try:
            made_nhwc = np.empty(shape, batch.dtype)

            def enlarge(first: int) -> None:
                for index in range(first, count, threads):
                    made_nhwc[index] = enlarge_image(model, images_nhwc[index], scale, errand.ticket)

            with errand.watch.stage("upscale"):
                await _all(
                    [pipeline.threads.run(lane, errand.ticket, partial(enlarge, first)) for first in range(threads)]
                )
            lease.shrink(made_bytes)
        except BaseException:
            lease.release()
            raise
        work.reached(count * height * width)
    weakref.finalize(made_nhwc, lease.release).atexit = False
    return made_nhwc if batch.dtype == np.uint8 else made_nhwc.transpose(0, 3, 1, 2)


def _images(batch: NDArray[Any], model: ServedModel) -> NDArray[Any]:
    """The batch as N x H x W x C."""
    planar = batch.dtype == np.float32
    if batch.ndim != 4 or batch.size == 0 or batch.dtype.name not in ("float32", "uint8"):
        raise UsageError(
            f"tensor is {batch.dtype} of shape {batch.shape}; expected float32, N x C x H x W, or uint8, N x H x W x C"
        )
    images_nhwc = batch.transpose(0, 2, 3, 1) if planar else batch
    if not 1 <= images_nhwc.shape[3] <= 4:
        raise UsageError(f"tensor of shape {batch.shape} has {images_nhwc.shape[3]} channels; expected 1 to 4")
    if planar and model.info.io == "image":
        raise UsageError(f"tensor is float32, and {model.name} takes and gives 8 bits; expected uint8, N x H x W x C")
    return images_nhwc


async def _all(parts: list[Coroutine[Any, Any, None]]) -> None:
    """Do all of them; the first failure ends the others and is raised when they have ended."""
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
