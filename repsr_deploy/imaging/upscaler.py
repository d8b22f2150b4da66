"""The upscaler: a model, a runtime and a tiling plan over images of any depth and layout."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.imaging.borders import Seamless, padded, resized
from repsr_deploy.imaging.ensemble import SelfEnsemble
from repsr_deploy.imaging.image_network import ImageNetwork
from repsr_deploy.imaging.memory import BUDGET_BYTES
from repsr_deploy.imaging.samples import FULL_SCALE, Allocate, Image
from repsr_deploy.imaging.sizes import MAX_FACTOR, Size, checked_factor, checked_size, network_passes, scaled
from repsr_deploy.imaging.tiling import checked_tile
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.runtimes import AUTO, Runtime, open_runtime
from repsr_deploy.runtimes.finished import check_range, finished
from repsr_deploy.weights import find_model

__all__ = ["MAX_FACTOR", "Progress", "Upscaler", "checked_factor"]

log = logging.getLogger(__name__)

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
        if tile is not None:
            checked_tile(tile)
        self._budget_bytes = budget_bytes
        if isinstance(model, str | Path):
            model = open_runtime(find_model(model), runtime, threads=threads, precision=precision)
        check_range(model.info)
        self.runtime: Runtime = finished(model, threads=threads)
        """What gives the pictures: for a model of io `features`, with the kernels that finish them."""
        self._network = ImageNetwork(self.runtime, tile=tile, budget_bytes=budget_bytes)

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
        return Upscaler(SelfEnsemble(self.runtime), tile=self._network.tile, budget_bytes=self._budget_bytes)

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
        """One run of the network over a whole image."""
        height, width, channels = image.shape
        output = _allocated(allocate, (height * self.info.scale, width * self.info.scale, channels), image.dtype)
        self._network.enlarge(image, output, report)
        return output


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
