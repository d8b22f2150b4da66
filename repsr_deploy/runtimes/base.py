"""What every runtime is, and the checks that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import ModelFileError, UsageError
from repsr_deploy.model_info import ModelInfo, Precision

Batch = NDArray[np.float32]
Images = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Shapes that a runtime takes, inclusive; an engine's profile. Sides in LR pixels."""

    count: tuple[int, int]
    """Fewest and most images of a batch."""
    height: tuple[int, int]
    width: tuple[int, int]

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
    """In which it computes; may be shorter than the model's own."""
    info: ModelInfo
    """What the model says about itself."""
    limits: Limits | None
    """Shapes that it takes; None for any."""

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
            ModelFileError: the network gives NaN.
            MemoryError: as `run`.
        """
        ...


class CheckedRuntime(ABC):
    """Checks what goes in and what comes out, once for every backend; a backend implements `_run`.

    What `_run` takes and gives is what the model's io says: float32 N x C x H x W, or uint8 N x H x W x C for `image`.
    """

    name: str
    precision: Precision
    info: ModelInfo
    limits: Limits | None = None

    def run(self, batch_nchw: NDArray[Any]) -> Batch:
        """See `Runtime.run`."""
        self._check_input(batch_nchw, np.dtype(np.float32), channels_last=False)
        if self.info.io != "image":
            return self._checked_run(np.ascontiguousarray(batch_nchw))
        images_nhwc = _as_images(batch_nchw)
        return _as_batch(self._checked_run(images_nhwc))

    def run_images(self, images_nhwc: NDArray[Any]) -> Images:
        """See `Runtime.run_images`."""
        self._check_input(images_nhwc, np.dtype(np.uint8), channels_last=True)
        if self.info.io == "features":
            raise UsageError(f"{self.info.name} gives features, not pictures; expected a model of io float or image")
        if self.info.io == "image":
            return self._checked_run(np.ascontiguousarray(images_nhwc))
        output_nchw = self._checked_run(_as_batch(images_nhwc))
        if not np.isfinite(output_nchw.min()):  # the minimum of anything with NaN is NaN
            raise ModelFileError(f"{self.info.name} gives NaN for this image; its weights are broken")
        return _as_images(output_nchw)

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

    def _checked_run(self, batch: Any) -> Any:
        output = self._run(batch)
        scale = self.info.scale
        if self.info.io == "image":
            count, height, width, channels = batch.shape
            expected = (count, height * scale, width * scale, channels)
        else:
            count, channels, height, width = batch.shape
            features = (count, channels * scale**2, height, width)
            picture = (count, channels, height * scale, width * scale)
            expected = features if self.info.io == "features" else picture
        if output.shape != expected:
            raise ModelFileError(
                f"{self.info.name} gives {output.shape} for an input of {batch.shape}; "
                f"expected {expected}, because the model says scale {scale}"
            )
        return output

    @abstractmethod
    def _run(self, batch: Any) -> Any:
        """Run a checked, contiguous batch."""


def _as_batch(images_nhwc: NDArray[Any]) -> Batch:
    """uint8 N x H x W x C as float32 N x C x H x W in 0..1."""
    return np.ascontiguousarray(images_nhwc.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def _as_images(batch_nchw: NDArray[Any]) -> Images:
    """float32 N x C x H x W, clipped to 0..1, as uint8 N x H x W x C, rounded half to even."""
    scaled = np.rint(np.clip(batch_nchw, 0, 1) * np.float32(255)).astype(np.uint8)
    return np.ascontiguousarray(scaled.transpose(0, 2, 3, 1))
