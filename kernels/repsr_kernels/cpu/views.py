"""Pictures in memory as the engine's library takes them: an address, a size, and how far apart rows and planes are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class View:
    """Where an array lies, which must live as long as this is used. Sizes and distances are bytes."""

    channels: int
    height: int
    width: int
    address: int
    size: int
    """From its first byte to behind its last one."""
    pitch: int
    """From row to row."""
    plane: int
    """From plane to plane; of images 0."""

    def check_shape(self, name: str, channels: int, height: int, width: int) -> None:
        """Raise a UsageError where it is another."""
        if (self.channels, self.height, self.width) != (channels, height, width):
            raise UsageError(
                f"{name} has {self.channels} channels of {self.height} x {self.width} (height x width); expected "
                f"{channels} of {height} x {width}"
            )


def view_of_image(name: str, array_hwc: NDArray[np.uint8], *, written: bool = False) -> View:
    """A picture of bytes, H x W x C: pixels one behind another, rows any number of bytes apart.

    Args:
        name: of the array in messages.

    Raises:
        UsageError: another type or layout, empty, or read-only though it is to be written.
    """
    _check(name, array_hwc, np.uint8, "H x W x C", written=written)
    height, width, channels = array_hwc.shape
    row = width * channels
    pitch, pixel, channel = _strides(array_hwc, (row, channels, 1))
    if (pixel, channel) != (channels, 1) or pitch < row:
        raise _layout_error(name, array_hwc, f"({row} or more, {channels}, 1)")
    size = (height - 1) * pitch + row
    return View(
        channels=channels, height=height, width=width, address=_address(array_hwc), size=size, pitch=pitch, plane=0
    )


def view_of_planes(name: str, array_chw: NDArray[np.float32], *, written: bool = False) -> View:
    """Planes of floats, C x H x W: pixels of a row one behind another, rows and planes any number of floats apart.

    Args:
        name: of the array in messages.

    Raises:
        UsageError: another type or layout, empty, or read-only though it is to be written.
    """
    _check(name, array_chw, np.float32, "C x H x W", written=written)
    channels, height, width = array_chw.shape
    row = 4 * width
    _, pitch, _ = _strides(array_chw, (row, row, 4))
    plane, _, pixel = _strides(array_chw, (height * pitch, row, 4))
    if pixel != 4 or min(pitch, plane) < row or pitch % 4 or plane % 4:
        raise _layout_error(name, array_chw, f"({row} or more, {row} or more, 4), multiples of 4")
    size = (channels - 1) * plane + (height - 1) * pitch + row
    return View(
        channels=channels, height=height, width=width, address=_address(array_chw), size=size, pitch=pitch, plane=plane
    )


def _check(name: str, array: NDArray[Any], dtype: type[np.generic], expected: str, *, written: bool) -> None:
    wanted = np.dtype(dtype)
    if array.dtype != wanted:
        raise UsageError(f"{name} is of type {array.dtype}; expected {wanted}")
    if array.ndim != 3 or array.size == 0:
        raise UsageError(f"{name} has shape {array.shape}; expected {expected}, each 1 or more")
    if not array.flags.aligned:
        raise UsageError(f"{name} begins at an address that is no multiple of {wanted.itemsize}; expected one")
    if written and not array.flags.writeable:
        raise UsageError(f"{name} is read-only; expected an array to write to")


def _strides(array: NDArray[Any], dense: tuple[int, int, int]) -> list[int]:
    """Its strides, but where there is one element only, whose stride says nothing: those of a dense array."""
    return [
        stride if size > 1 else other for size, stride, other in zip(array.shape, array.strides, dense, strict=True)
    ]


def _layout_error(name: str, array: NDArray[Any], expected: str) -> UsageError:
    return UsageError(f"{name} has strides {array.strides}; expected {expected}: pass np.ascontiguousarray of it")


def _address(array: NDArray[Any]) -> int:
    return array.__array_interface__["data"][0]
