"""A network over a whole image: row by row where the runtime works so, in tiles elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np

from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.imaging.memory import bytes_per_pixel
from repsr_deploy.imaging.network import PlaneNetwork
from repsr_deploy.imaging.samples import Image, Planes, checked_output, store_planes
from repsr_deploy.imaging.tiling import (
    BUILD_OTHERWISE,
    FAST_TILE,
    MIN_TILE,
    Tile,
    plan_tiles,
    tile_for_budget,
)
from repsr_deploy.runtimes.base import RowByRow, Runtime, SharesTiles, WholePictures
from repsr_kernels.tensors import LONGEST_SIDE

log = logging.getLogger(__name__)

ROWS_TILE = 1024
"""Longest side of a tile for a runtime that works row by row, of pictures that it does not take as they are, as those
of 16 bits: little of the work is halo, and Ctrl-C is heard soon."""
SIDE_IN_HALOS = 4
"""Shortest side that tiles are given for batches, in halos: half of it is core."""


class ImageNetwork:
    """Enlarges images by the model's scale. Tiled and untiled results are bit-identical.

    Args:
        runtime: gives pictures, so that its io is not `features`.
        tile: side of a tile in LR pixels, at least 16; None for what is fast and fits into the budget.
        budget_bytes: memory that one tile may take.

    Raises:
        UsageError: a tile, for a network of which every pixel depends on the whole image.
    """

    def __init__(self, runtime: Runtime, *, tile: int | None, budget_bytes: int) -> None:
        self._runtime, self._info, self._planes = runtime, runtime.info, PlaneNetwork(runtime)
        self._shared = runtime if isinstance(runtime, SharesTiles) else None
        self._in_rows = runtime if isinstance(runtime, RowByRow) and tile is None else None
        self.tile = tile
        """Side of a tile, if one was asked for, or had to be made smaller for want of memory."""
        if self._info.halo is None and tile is not None:
            raise UsageError(
                f"{self._info.name} cannot be tiled, as every pixel depends on the whole image; expected no tile "
                "size, or a model exported with --calibrate"
            )
        self._auto_tile = None if self._info.halo is None else self._best_tile(self._info.halo, budget_bytes)

    def _best_tile(self, halo: int, budget_bytes: int) -> int:
        limits = self._runtime.limits
        if self._shared is not None and self._shared.tile_side is not None:
            return self._shared.tile_side
        if limits is not None:
            longest = max(limits.height[1], limits.width[1])
        elif isinstance(self._runtime, WholePictures):
            longest = LONGEST_SIDE  # a GPU has no cache of the processor to keep a tile in, and loses with every call
        else:
            longest = FAST_TILE if self._in_rows is None else ROWS_TILE
        needed = bytes_per_pixel(self._info, in_rows=self._in_rows is not None)
        return tile_for_budget(budget_bytes, bytes_per_pixel=needed, halo=halo, longest=longest)

    def halo(self, channels: int) -> int:
        """How far the computation of an image of so many channels looks, LR pixels."""
        return self._planes.halo(channels)

    def enlarge(self, image: Image, output: Image, report: Callable[[int], None]) -> None:
        """Write an image H x W x C, enlarged, where it is to be.

        Args:
            output: scale*H x scale*W x C of the same type.
            report: called with the input pixels that are done, more and more.

        Raises:
            UsageError: an image that is smaller than the runtime takes, or larger and must not be cut.
            ModelFileError: the network gives NaN or infinity.
            RepsrError: not enough memory.
        """
        if self._in_rows is None or not self._planes.is_plain(image):
            self._enlarge_in_tiles(image, output, report)
            return
        try:
            self._in_rows.enlarge_rows(image, output, report)
        except MemoryError as error:
            raise RepsrError(
                f"no memory even for a few rows of {image.shape[1]} pixels; free some, or take a smaller model"
            ) from error

    def _enlarge_in_tiles(self, image: Image, output: Image, report: Callable[[int], None]) -> None:
        """With smaller tiles when memory runs out."""
        height, width = image.shape[:2]
        tile = self.tile or self._auto_tile or max(height, width, MIN_TILE)
        while True:
            try:
                self._run_tiles(image, output, tile, report)
            except MemoryError as error:
                if self._auto_tile is None:
                    raise RepsrError(
                        f"no memory for {width} x {height} pixels at once, which {self._info.name} needs as "
                        "every pixel depends on the whole image; free some, or export the model with --calibrate"
                    ) from error
                if tile <= MIN_TILE:
                    raise RepsrError(
                        f"no memory even for tiles of {tile} pixels; free some, or take a smaller model"
                    ) from error
                tile = max(MIN_TILE, min(tile, height, width) // 2)
                self.tile = tile
                log.warning("not enough memory: trying again with tiles of %d pixels", tile)
            else:
                return

    def _plan(self, image: Image, tile: int) -> list[Tile]:
        """Tiles with sides up to `tile`, within what the runtime takes.

        Raises:
            UsageError: the image is smaller than that, or larger and must not be cut.
        """
        height, width, channels = image.shape
        halo, limits = self._planes.halo(channels), self._runtime.limits
        least, most = (1, 1), (height, width)
        if limits is not None:
            least, most = zip(limits.height, limits.width, strict=True)
        if self._info.halo is None and (height > most[0] or width > most[1]):
            raise UsageError(
                f"image is {width} x {height} pixels, and {self._info.name} was built for at most "
                f"{most[1]} x {most[0]} and cannot be tiled, as every pixel depends on the whole image; "
                f"{BUILD_OTHERWISE}"
            )
        side = self._shared_side(halo)
        if side is not None:
            tile, most = side, (side, side)
            least = (max(least[0], min(height, side)), max(least[1], min(width, side)))
        return plan_tiles(height, width, tile=tile, halo=halo, least=least, most=most)

    def _shared_side(self, halo: int) -> int | None:
        """The side that tiles have to have for batches; None for any, also where most of such a tile would be halo."""
        side = self._shared.tile_side if self._shared is not None and self.tile is None else None
        return side if side is not None and side >= SIDE_IN_HALOS * halo else None

    def _run_tiles(self, image: Image, output: Image, tile: int, report: Callable[[int], None]) -> None:
        """Run every tile; one thread more than compute stores a tile meanwhile, which hides the conversion."""
        tiles = self._plan(image, tile)
        if isinstance(self._runtime, WholePictures) and self._planes.is_plain(image):
            self._runtime.enlarge_tiles(image, tiles, output, report)
            return
        in_flight = 1 if self._shared is None else self._shared.in_flight
        computing = threading.Semaphore(in_flight)

        def enlarge(part: Tile) -> int:
            with computing:
                made = self._planes.enlarge_samples(image[part.source.slices])
            self._store(made, output, part)
            return part.core.pixels

        try:
            self._expect(len(tiles))
            if len(tiles) == 1:  # there is nothing to hide, and a thread takes longer to start than a small picture
                report(enlarge(tiles[0]))
            else:
                self._run_at_once(enlarge, tiles, in_flight + 1, report)
        finally:
            self._expect(0)

    def _run_at_once(
        self, enlarge: Callable[[Tile], int], tiles: Sequence[Tile], threads: int, report: Callable[[int], None]
    ) -> None:
        pool = ThreadPoolExecutor(threads)
        done = 0
        try:
            finished = as_completed([pool.submit(enlarge, part) for part in tiles])
            for left in reversed(range(len(tiles))):
                # under a name, the future of an error would keep the picture in memory until the next gc.collect()
                done += next(finished).result()
                self._expect(left)
                report(done)
        finally:
            pool.shutdown(cancel_futures=True)

    def _expect(self, tiles: int) -> None:
        if self._shared is not None:
            self._shared.expect(tiles)

    def _store(self, made: Planes | Image, output: Image, part: Tile) -> None:
        """Check and store what a tile yields."""
        rows, columns = part.crop.scaled(self._info.scale).slices
        target = output[part.core.scaled(self._info.scale).slices]
        if made.dtype == np.uint8:
            target[...] = made[rows, columns]
        else:
            store_planes(checked_output(made[:, rows, columns], self._info.name), target)
