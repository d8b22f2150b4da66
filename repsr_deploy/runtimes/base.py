"""What every runtime is, and the checks that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError, UsageError
from repsr_deploy.imaging.samples import checked_output, planes_from, store_planes
from repsr_deploy.imaging.tiling import Tile
from repsr_deploy.model_info import ModelInfo, Precision

if TYPE_CHECKING:
    from repsr_kernels.gpu.pipeline import DeviceNetwork

Batch = NDArray[np.float32]
Images = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Shapes that a runtime takes, inclusive; an engine's profile. Sides in LR pixels."""

    count: tuple[int, int]
    """Fewest and most images of a batch."""
    height: tuple[int, int]
    width: tuple[int, int]

    def nearest(self, count: int, height: int, width: int) -> tuple[int, int, int]:
        """The shape within that is nearest to one."""
        count, height, width = (
            max(low, min(value, high))
            for value, (low, high) in zip((count, height, width), (self.count, self.height, self.width), strict=True)
        )
        return count, height, width

    def check(self, name: str, count: int, height: int, width: int) -> None:
        """Refuse what lies outside.

        Raises:
            UsageError: says which side, and what is allowed.
        """
        for side, value, (low, high) in (
            ("images", count, self.count), ("height", height, self.height), ("width", width, self.width)
        ):  # fmt: skip
            if not low <= value <= high:
                raise UsageError(
                    f"{name} was built for {side} {low} to {high}, not {value}; build it with a wider shape range "
                    "(`repsr-fuse export --shape MIN:OPT:MAX`), or let the Upscaler cut the image into tiles"
                )


class Runtime(Protocol):
    """A model, ready to run. Safe to call from several threads."""

    name: str
    """Name of the backend."""
    precision: Precision
    """In which it computes; may be shorter or longer than the model's own."""
    info: ModelInfo
    """What the model says about itself."""
    limits: Limits | None
    """Shapes that it takes; None for any."""
    native_images: bool
    """Whether it runs 8-bit images through a model of io `float` in one pass, faster than `run` between conversions."""

    def run(self, batch_nchw: NDArray[Any]) -> Batch:
        """Upscale a batch of images.

        Args:
            batch_nchw: float32, N x C x H x W, values in `info.range`; C is 3, or 1 for colour `y`. A model of io
                `image` gets them rounded to 8 bits.

        Returns:
            float32, N x C x scale*H x scale*W; of a model of io `features`, N x C*scale^2 x H x W.

        Raises:
            UsageError: another type or shape, or one outside `limits`.
            MemoryError: not enough memory for a batch of this size; a smaller one may fit.
        """
        ...

    def run_images(self, images_nhwc: NDArray[Any]) -> Images:
        """Upscale a batch of 8-bit images.

        Args:
            images_nhwc: uint8, N x H x W x C; C is 3, or 1 for colour `y`.

        Returns:
            uint8, N x scale*H x scale*W x C, rounded half to even.

        Raises:
            UsageError: another type or shape, one outside `limits`, or a model of io `features`.
            ModelFileError: the network gives NaN or infinity.
            MemoryError: as `run`.
        """
        ...


@runtime_checkable
class OnDevice(Protocol):
    """What a runtime is that computes features on a GPU, and can leave them there."""

    def device_network(self) -> DeviceNetwork | None:
        """The model as `GpuPipeline` drives it; None where this machine lacks something for that, which is logged.

        It lives no longer than the runtime.

        Raises:
            UsageError: a model of another io than `features`.
            MemoryError: no GPU memory.
        """
        ...


@runtime_checkable
class WholePictures(Protocol):
    """What a runtime is that puts the tiles of a picture together by itself, as on a GPU, which then sees it once."""

    def enlarge_tiles(
        self, image_hwc: Images, tiles: Sequence[Tile], out_hwc: Images, report: Callable[[int], None]
    ) -> None:
        """Upscale an 8-bit image tile by tile.

        Args:
            image_hwc: uint8, H x W x C; C is 3, or 1 for colour `y`.
            tiles: of one plan (`tiling.plan_tiles`), within `limits`.
            out_hwc: uint8, scale*H x scale*W x C, written.
            report: called with the input pixels that are done, more and more.

        Raises:
            ModelFileError: the network gives NaN or infinity.
            MemoryError: not enough memory for such tiles; smaller ones may fit.
        """
        ...


@runtime_checkable
class RowByRow(Protocol):
    """What a runtime is that needs no tiles: it goes through a picture row by row, in memory that does not grow."""

    def enlarge_rows(self, image_hwc: Images, out_hwc: Images, report: Callable[[int], None]) -> None:
        """Upscale an 8-bit image from where it lies to where the result is to be, with no copy of either.

        Args:
            image_hwc: uint8, H x W x C, of which rows may lie apart; C is 3, or 1 for colour `y`.
            out_hwc: uint8, scale*H x scale*W x C, likewise; written.
            report: called with the input pixels that are done, more and more, every few tenths of a second. What it
                raises ends the work.

        Raises:
            UsageError: another type or shape, or a model of io `features`.
            ModelFileError: the network gives NaN or infinity.
            MemoryError: not even enough for a few rows.
        """
        ...


@runtime_checkable
class SharesTiles(Protocol):
    """What a runtime is that computes tiles of different pictures in one batch; towards each picture it is a `Runtime`.

    A call of it waits until its tile is done, so that a picture needs several calls under way to be quick.
    """

    tile_side: int | None
    """Sides of every tile, halo included, LR pixels, so that tiles fit into one batch; None for any."""
    in_flight: int
    """Tiles of a picture that it wants at a time, 1 or more."""

    def expect(self, tiles: int) -> None:
        """Be told how many tiles of the picture are still to come or under way, so that nobody waits for more."""
        ...


class CheckedRuntime(Runtime, ABC):
    """Checks what goes in and what comes out, once for every backend; a backend implements `_run`.

    What `_run` takes and gives is what the model's io says: float32 N x C x H x W, or uint8 N x H x W x C for `image`.
    """

    limits: Limits | None = None
    native_images: bool = False

    def run(self, batch_nchw: NDArray[Any]) -> Batch:
        """See `Runtime.run`."""
        self._check_input(batch_nchw, np.dtype(np.float32), channels_last=False)
        if self.info.io == "image":
            return _as_batch(self._checked(self._run, _as_images(np.clip(batch_nchw, 0, 1))))
        return self._checked(self._run, np.ascontiguousarray(batch_nchw))

    def run_images(self, images_nhwc: NDArray[Any]) -> Images:
        """See `Runtime.run_images`."""
        self._check_input(images_nhwc, np.dtype(np.uint8), channels_last=True)
        if self.info.io == "features":
            raise UsageError(f"{self.info.name} gives features, not pictures; expected a model of io float or image")
        images_nhwc = np.ascontiguousarray(images_nhwc)
        return self._checked(self._run if self.info.io == "image" else self._run_images, images_nhwc)

    def _run_images(self, images_nhwc: Images) -> Images:
        """Run checked, contiguous images through a model of io `float`."""
        output_nchw = self._checked(self._run, _as_batch(images_nhwc))
        return _as_images(checked_output(output_nchw, self.info.name))

    def _check_input(self, batch: NDArray[Any], dtype: np.dtype[Any], *, channels_last: bool) -> None:
        channels = 3 if self.info.colour == "rgb" else 1
        axis = 3 if channels_last else 1
        layout = f"N x H x W x {channels}" if channels_last else f"N x {channels} x H x W"
        if batch.dtype != dtype or batch.ndim != 4 or batch.shape[axis] != channels:
            raise UsageError(
                f"batch is {batch.dtype} of shape {batch.shape}; {self.info.name} expects {dtype}, {layout}"
            )
        if batch.size == 0:
            raise UsageError(f"batch of shape {batch.shape} is empty; expected at least one pixel")
        if self.limits is not None:
            height, width = batch.shape[1:3] if channels_last else batch.shape[2:]
            self.limits.check(self.info.name, len(batch), height, width)

    def _checked(self, run: Callable[[Any], Any], batch: Any) -> Any:
        """What `run` makes of a batch, if that has the shape that the model promises."""
        output = run(batch)
        expected = output_shape(self.info, batch)
        if output.shape != expected:
            raise ModelFileError(
                f"{self.info.name} gives {output.shape} for an input of {batch.shape}; "
                f"expected {expected}, because the model says scale {self.info.scale}"
            )
        return output

    @abstractmethod
    def _run(self, batch: Any) -> Any:
        """Run a checked, contiguous batch."""


def output_shape(info: ModelInfo, batch: NDArray[Any]) -> tuple[int, int, int, int]:
    """Shape of what a model makes of a batch: uint8 N x H x W x C, or float32 N x C x H x W."""
    scale = info.scale
    if batch.dtype == np.uint8:
        count, height, width, channels = batch.shape
        return count, height * scale, width * scale, channels
    count, channels, height, width = batch.shape
    if info.io == "features":
        return count, channels * scale**2, height, width
    return count, channels, height * scale, width * scale


def checked_precision(
    runtime: str, info: ModelInfo, offered: Sequence[Precision], asked: Precision | None
) -> Precision:
    """The computing precision that was asked for, or the first that is offered.

    Raises:
        RuntimeUnavailableError: the backend cannot compute this model, or not in this precision.
    """
    if not offered:
        raise RuntimeUnavailableError(
            f"runtime {runtime} cannot compute {info.name}, a {info.precision} model, on this machine; take another "
            "runtime, or export it with another --precision, such as fp32"
        )
    if asked not in (None, *offered):
        raise RuntimeUnavailableError(
            f"runtime {runtime} computes {info.name}, a {info.precision} model, in {' or '.join(offered)} on this "
            f"machine, not in {asked}; ask for {'one of these' if len(offered) > 1 else 'that'}, take another runtime, "
            "or export the model in another --precision"
        )
    return asked or offered[0]


def _as_batch(images_nhwc: Images) -> Batch:
    """uint8 N x H x W x C as float32 N x C x H x W in 0..1."""
    return np.stack([planes_from(image) for image in images_nhwc])


def _as_images(batch_nchw: Batch) -> Images:
    """float32 N x C x H x W in 0..1 as uint8 N x H x W x C, rounded half to even."""
    count, channels, height, width = batch_nchw.shape
    images_nhwc = np.empty((count, height, width, channels), np.uint8)
    for planes, image in zip(batch_nchw, images_nhwc, strict=True):
        store_planes(planes, image)
    return images_nhwc
