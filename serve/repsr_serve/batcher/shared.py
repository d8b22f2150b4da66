"""What a request sees of the batcher: a runtime of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np

from repsr_deploy.runtimes.base import CheckedRuntime, Images, Runtime, SharesTiles, output_shape
from repsr_serve.batcher.plan import ANY_NUMBER, BatchPlan


class SharedRuntime(CheckedRuntime, SharesTiles):
    """A runtime whose tiles travel in batches with those of other requests; see `base.SharesTiles`.

    Args:
        runtime: that runs the batches.
        submit: lets a tile, checked, wait for its turn: uint8, 1 x H x W x C, or float32, 1 x C x H x W.
        expect: is told how many tiles are still to come.
    """

    def __init__(
        self, runtime: Runtime, plan: BatchPlan, submit: Callable[[Any], Future[Any]], expect: Callable[[int], None]
    ) -> None:
        self.name, self.precision, self.info = runtime.name, runtime.precision, runtime.info
        self.native_images = runtime.native_images
        self.limits = runtime.limits and replace(runtime.limits, count=(1, ANY_NUMBER))
        self.tile_side, self.in_flight = plan.tile_side, plan.in_flight
        self._submit, self._expect = submit, expect

    def expect(self, tiles: int) -> None:
        """See `base.SharesTiles.expect`."""
        self._expect(tiles)

    def _run(self, batch: Any) -> Any:
        if len(batch) == 1:
            return self._submit(batch).result()
        output = np.empty(output_shape(self.info, batch), batch.dtype)
        try:
            for image, made in zip(output, self._one_by_one(batch), strict=True):
                image[...] = made[0]
        finally:
            self.expect(0)
        return output

    def _one_by_one(self, batch: Any) -> Iterator[Any]:
        """What becomes of each image, no more than `in_flight` of which are inside at a time."""
        inside: deque[Future[Any]] = deque()
        for index in range(len(batch)):
            self.expect(len(batch) - index + len(inside))
            if len(inside) == self.in_flight:
                yield inside.popleft().result()
            inside.append(self._submit(batch[index : index + 1]))
        while inside:
            self.expect(len(inside))
            yield inside.popleft().result()

    def _run_images(self, images_nhwc: Images) -> Images:
        return self._run(images_nhwc)
