"""The upscaler: a model, a runtime and a tiling plan over images of any depth and layout."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.imaging.borders import Seamless, padded, resized
from repsr_deploy.imaging.ensemble import SelfEnsemble
from repsr_deploy.imaging.memory import BUDGET_BYTES, bytes_per_pixel
from repsr_deploy.imaging.network import PlaneNetwork
from repsr_deploy.imaging.samples import FULL_SCALE, Allocate, Image, Planes, checked_output, store_planes
from repsr_deploy.imaging.sizes import MAX_FACTOR, Size, checked_factor, checked_size, network_passes, scaled
from repsr_deploy.imaging.tiling import (
    BUILD_OTHERWISE,
    FAST_TILE,
    MIN_TILE,
    Tile,
    checked_tile,
    plan_tiles,
    tile_for_budget,
)
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.runtimes import AUTO, Runtime, open_runtime
from repsr_deploy.runtimes.base import RowByRow, SharesTiles, WholePictures
from repsr_deploy.runtimes.finished import check_range, finished
from repsr_deploy.weights import find_model
from repsr_kernels.tensors import LONGEST_SIDE

__all__ = ["MAX_FACTOR", "Progress", "Upscaler", "checked_factor"]

log = logging.getLogger(__name__)

ROWS_TILE = 1024
"""Longest side of a tile for a runtime that works row by row, of pictures that it does not take as they are, as those
of 16 bits: little of the work is halo, and Ctrl-C is heard soon."""
SIDE_IN_HALOS = 4
"""Shortest side that tiles are given for batches, in halos: half of it is core."""

Progress = Callable[[int, int], None]
"""Called with the input pixels done and those to do."""


class Upscaler:
    """Takes a model over images. Tiled and untiled results are bit-identical.

    Args:
        model: a bundled name, a model file of any io, or an open runtime.
        runtime: backend that opens the model; `auto` for the fastest one here with the same picture.
        precision: that the backend computes in; None for what it finds best (`runtimes.open_runtime`).
        threads: threads of the backend; None for one per core.
        tile: side of a tile in LR pixels, at least 16; None fits it to `budget_bytes`.
        budget_bytes: memory that one tile may take.

    Raises:
        UsageError: an unknown model name or runtime, an impossible tile or budget.
        RuntimeUnavailableError: the runtime cannot be used here, or not with this model and precision.
        ModelFileError: not a model that upscales images in 0..1.
    """

    def __init__(
        self,
        model: str | Path | Runtime,
        *,
        runtime: str = AUTO,
        precision: Precision | None = None,
        threads: int | None = None,
        tile: int | None = None,
        budget_bytes: int = BUDGET_BYTES,
    ) -> None:
        if budget_bytes < 1:
            raise UsageError(f"memory budget is {budget_bytes} bytes; expected more than none")
        self._tile = None if tile is None else checked_tile(tile)
        self._budget_bytes = budget_bytes
        if isinstance(model, str | Path):
            model = open_runtime(find_model(model), runtime, threads=threads, precision=precision)
        check_range(model.info)
        self.runtime: Runtime = finished(model, threads=threads)
        """What gives the pictures: for a model of io `features`, with the kernels that finish them."""
        info = self.runtime.info
        self._shared = self.runtime if isinstance(self.runtime, SharesTiles) else None
        self._in_rows = self.runtime if isinstance(self.runtime, RowByRow) and tile is None else None
        self._network = PlaneNetwork(self.runtime)
        if info.halo is None and tile is not None:
            raise UsageError(
                f"{info.name} cannot be tiled, as every pixel depends on the whole image; expected no tile size, or a "
                "model exported with --calibrate"
            )
        self._auto_tile = None if info.halo is None else self._best_tile(info.halo, budget_bytes)

    def _best_tile(self, halo: int, budget_bytes: int) -> int:
        limits = self.runtime.limits
        if self._shared is not None and self._shared.tile_side is not None:
            return self._shared.tile_side
        # a GPU has no cache of the processor to keep a tile in, and loses with every call
        if limits is not None:
            longest = max(limits.height[1], limits.width[1])
        elif isinstance(self.runtime, WholePictures):
            longest = LONGEST_SIDE
        else:
            longest = FAST_TILE if self._in_rows is None else ROWS_TILE
        needed = bytes_per_pixel(self.runtime.info, self.runtime.name)
        return tile_for_budget(budget_bytes, bytes_per_pixel=needed, halo=halo, longest=longest)

    @property
    def info(self) -> ModelInfo:
        """What the model says about itself."""
        return self.runtime.info

    @cached_property
    def ensembled(self) -> Upscaler:
        """An upscaler that takes the mean over eight flips and turns (`ensemble.SelfEnsemble`), of the same runtime.

        Raises:
            UsageError: an engine that takes no turned pictures.
        """
        return Upscaler(SelfEnsemble(self.runtime), tile=self._tile, budget_bytes=self._budget_bytes)

    def upscale(
        self,
        image_hwc: Image,
        *,
        factor: float | None = None,
        size: Size | None = None,
        seamless: Seamless = "no",
        progress: Progress | None = None,
        allocate: Allocate = np.empty,
    ) -> Image:
        """Enlarge one image.

        Args:
            image_hwc: uint8, uint16 or float32 in 0..1 (clipped), H x W or H x W x C. C is 1 (gray), 2 (gray, alpha),
                3 (RGB) or 4 (RGB, alpha, not premultiplied).
            factor: enlargement, above 0 to 16; None for the model's scale. For another one the network runs once, or
                until it has reached it, and an antialiased bicubic resize (`metrics.resize.imresize`) does the rest.
            size: (height, width) of the result, in place of a factor.
            seamless: what lies beyond the borders, for each of these steps.
            progress: called after every tile.
            allocate: gives the array H x W x C for the result, as in memory that is shared with another process.

        Returns:
            The same type and layout, of `size`, or of each side times `factor`, rounded half up, at least 1.

        Raises:
            UsageError: an impossible factor or size, an array that is no such image, one of more than 8 bits for a
                model of io `image`, or one smaller than an engine was built for.
            ModelFileError: the network gives NaN or infinity.
            RepsrError: not enough memory.
        """
        image = _checked_image(image_hwc)
        if self.info.io == "image" and image.dtype != np.uint8:
            raise UsageError(
                f"image is {image.dtype}, but {self.info.name} takes and gives 8 bits (io image); expected uint8, or a "
                "model exported with --io float"
            )
        source = image.shape[0], image.shape[1]
        if size is None:
            size = scaled(source, checked_factor(float(self.info.scale) if factor is None else factor))
        passes = network_passes(source, checked_size(source, size), self.info.scale)
        border = 0 if seamless == "no" else self._border(image.shape[2])
        direct = not border and scaled(passes[-1], self.info.scale) == size
        todo = sum((rows + 2 * border) * (columns + 2 * border) for rows, columns in passes)
        done = 0

        def report(pixels: int) -> None:
            if progress is not None:
                progress(done + pixels, todo)

        for index, (rows, columns) in enumerate(passes, 1):
            is_result = direct and index == len(passes)
            image = self._enlarge(padded(image, border, seamless), report, allocate if is_result else np.empty)
            image = _without_border(image, border * self.info.scale)
            done += (rows + 2 * border) * (columns + 2 * border)
        if not direct:
            image = _placed(_resized(image, size, seamless), allocate)
        return image.reshape(*size, *image_hwc.shape[2:])

    def _border(self, channels: int) -> int:
        """Pixels that a picture takes beyond its borders so that the network's own padding changes none of it."""
        if self.info.halo is None:
            log.warning(
                "%s looks at the whole image, not only %d pixels beyond a border: a faint seam may stay",
                self.info.name, self._network.halo(channels),
            )  # fmt: skip
        return self._network.halo(channels)

    def _enlarge(self, image: Image, report: Callable[[int], None], allocate: Allocate) -> Image:
        """One run of the network over a whole image: row by row, or in tiles, smaller ones when memory runs out."""
        height, width, channels = image.shape
        scale = self.info.scale
        output = _allocated(allocate, (height * scale, width * scale, channels), image.dtype)
        if self._in_rows is not None and self._network.is_plain(image):
            try:
                self._in_rows.enlarge_rows(image, output, report)
            except MemoryError as error:
                raise RepsrError(
                    f"no memory even for a few rows of {width} pixels; free some, or take a smaller model"
                ) from error
            return output
        tile = self._tile or self._auto_tile or max(height, width, MIN_TILE)
        while True:
            try:
                self._run_tiles(image, output, tile, report)
            except MemoryError as error:
                if self._auto_tile is None:
                    raise RepsrError(
                        f"no memory for {width} x {height} pixels at once, which {self.info.name} needs as every pixel "
                        "depends on the whole image; free some, or export the model with --calibrate"
                    ) from error
                if tile <= MIN_TILE:
                    raise RepsrError(
                        f"no memory even for tiles of {tile} pixels; free some, or take a smaller model"
                    ) from error
                tile = max(MIN_TILE, min(tile, height, width) // 2)
                self._tile = tile
                log.warning("not enough memory: trying again with tiles of %d pixels", tile)
            else:
                return output

    def _plan(self, image: Image, tile: int) -> list[Tile]:
        """Tiles with sides up to `tile`, within what the runtime takes.

        Raises:
            UsageError: the image is smaller than that, or larger and must not be cut.
        """
        height, width, channels = image.shape
        halo, limits = self._network.halo(channels), self.runtime.limits
        least, most = (1, 1), (height, width)
        if limits is not None:
            least, most = zip(limits.height, limits.width, strict=True)
        if self.info.halo is None and (height > most[0] or width > most[1]):
            raise UsageError(
                f"image is {width} x {height} pixels, and {self.info.name} was built for at most {most[1]} x {most[0]} "
                f"and cannot be tiled, as every pixel depends on the whole image; {BUILD_OTHERWISE}"
            )
        side = self._shared_side(halo)
        if side is not None:
            tile, most = side, (side, side)
            least = (max(least[0], min(height, side)), max(least[1], min(width, side)))
        return plan_tiles(height, width, tile=tile, halo=halo, least=least, most=most)

    def _shared_side(self, halo: int) -> int | None:
        """The side that tiles have to have for batches; None for any, also where most of such a tile would be halo."""
        side = self._shared.tile_side if self._shared is not None and self._tile is None else None
        return side if side is not None and side >= SIDE_IN_HALOS * halo else None

    def _run_tiles(self, image: Image, output: Image, tile: int, report: Callable[[int], None]) -> None:
        """Run every tile; one thread more than compute stores a tile meanwhile, which hides the conversion."""
        tiles = self._plan(image, tile)
        if isinstance(self.runtime, WholePictures) and self._network.is_plain(image):
            self.runtime.enlarge_tiles(image, tiles, output, report)
            return
        in_flight = 1 if self._shared is None else self._shared.in_flight
        computing = threading.Semaphore(in_flight)

        def enlarge(part: Tile) -> int:
            with computing:
                made = self._network.enlarge_samples(image[part.source.slices])
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
        rows, columns = part.crop.scaled(self.info.scale).slices
        target = output[part.core.scaled(self.info.scale).slices]
        if made.dtype == np.uint8:
            target[...] = made[rows, columns]
        else:
            store_planes(checked_output(made[:, rows, columns], self.info.name), target)


def _without_border(image: Image, border: int) -> Image:
    return image[border : len(image) - border, border : image.shape[1] - border]


def _resized(image: Image, size: Size, seamless: Seamless) -> Image:
    if image.shape[:2] == size:
        return image
    image = resized(image, size, seamless)
    if image.dtype.kind == "f":
        np.clip(image, 0, 1, out=image)
    return image


def _placed(image: Image, allocate: Allocate) -> Image:
    """The image, contiguous, in memory of its own."""
    if allocate is np.empty:
        return np.ascontiguousarray(image)
    output = _allocated(allocate, image.shape, image.dtype)
    output[...] = image
    return output


def _allocated(allocate: Allocate, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Image:
    try:
        return allocate(shape, dtype)
    except MemoryError as error:
        raise RepsrError(
            f"no memory for an image of {shape[1]} x {shape[0]} pixels; "
            "expected one that fits, so choose a smaller factor or image"
        ) from error


def _checked_image(image_hwc: Image) -> Image:
    """The image as contiguous H x W x C."""
    layout = image_hwc.ndim == 2 or (image_hwc.ndim == 3 and 1 <= image_hwc.shape[2] <= 4)
    if not layout or image_hwc.size == 0 or image_hwc.dtype.name not in FULL_SCALE:
        raise UsageError(
            f"image is {image_hwc.dtype} of shape {image_hwc.shape}; expected {', '.join(FULL_SCALE)} of shape "
            "H x W or H x W x C with 1 to 4 channels"
        )
    return np.ascontiguousarray(image_hwc.reshape(*image_hwc.shape[:2], -1))
