"""Pictures out of models that give features on a GPU: they go there once and come back once.

Not yet measured on a GPU.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from repsr_deploy.imaging.tiling import Box, Tile
from repsr_deploy.runtimes.base import Images, Runtime
from repsr_deploy.runtimes.finished import FinishedFeatures, broken_weights
from repsr_kernels.gpu.pipeline import DeviceNetwork, GpuPipeline, NonFiniteError, Ticket
from repsr_kernels.gpu.pipeline import Tile as DeviceTile
from repsr_kernels.operations import Crop

BANDS_AHEAD = 2
"""Rows of tiles that are under way while one is copied out."""


class FinishedOnGpu(FinishedFeatures):
    """A runtime of io `features` in a `GpuPipeline`: 8-bit pictures go there and come back, and nothing else.

    What has other values, as 16-bit images and the colours under transparency, takes the way of `FinishedFeatures`.
    """

    def __init__(self, runtime: Runtime, network: DeviceNetwork, threads: int | None) -> None:
        super().__init__(runtime, threads)
        self._pipeline = GpuPipeline(network)

    def _run_images(self, images_nhwc: Images) -> Images:
        return self._picture(self._pipeline.submit(images_nhwc))

    def enlarge_tiles(
        self, image_hwc: Images, tiles: Sequence[Tile], out_hwc: Images, report: Callable[[int], None]
    ) -> None:
        """See `base.WholePictures`: a row of tiles goes up while the one before is computed and another comes down."""
        waiting: deque[tuple[list[Tile], Ticket]] = deque()
        done = 0

        def store() -> None:
            nonlocal done
            band, ticket = waiting.popleft()
            core, scale = band[0].core, self.info.scale
            out_hwc[core.top * scale : core.bottom * scale] = self._picture(ticket)
            done += sum(tile.core.pixels for tile in band)
            report(done)

        for _, group in groupby(tiles, key=lambda tile: (tile.core.top, tile.core.bottom)):
            band = list(group)
            top, bottom = band[0].source.top, band[0].source.bottom
            ticket = self._pipeline.submit(image_hwc[top:bottom], [_on_device(tile, top) for tile in band])
            waiting.append((band, ticket))
            if len(waiting) > BANDS_AHEAD:
                store()
        while waiting:
            store()

    def _picture(self, ticket: Ticket) -> Any:
        try:
            return ticket.result()
        except NonFiniteError as error:
            raise broken_weights(self.info, error.count) from error


def _on_device(tile: Tile, top: int) -> DeviceTile:
    """A tile of a picture that begins with row `top`."""

    def crop(box: Box) -> Crop:
        return Crop(top=box.top - top, left=box.left, rows=box.bottom - box.top, columns=box.right - box.left)

    return DeviceTile(core=crop(tile.core), source=crop(tile.source))
