"""Frames as the host holds them, and how their samples lie in memory: pictures of bytes, and video frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.errors import UsageError
from repsr_kernels.operations import Picture
from repsr_kernels.tensors import Order, Type, place
from repsr_kernels.yuv import YuvColour, YuvFrame


class VideoPlanes(NamedTuple):
    """A video frame, or a batch with an axis N in front: uint8 (NV12), or uint16 whose upper ten bits count (P010)."""

    luma: NDArray[Any]
    """H x W."""
    chroma: NDArray[Any]
    """ceil(H / 2) x ceil(W / 2) x 2, Cb before Cr."""


Frame = NDArray[Any] | VideoPlanes
"""uint8 H x W x C, C as the network's, or a video frame; or a batch of such, with an axis N in front."""


@dataclass(frozen=True, kw_only=True)
class PictureFormat:
    """uint8 samples side by side, H x W x C."""

    order: Order = "rgb"


@dataclass(frozen=True, kw_only=True)
class VideoFormat:
    """NV12 (8 bits) or P010 (10 bits)."""

    colour: YuvColour
    bits: Literal[8, 10] = 8

    @property
    def type(self) -> Type:
        """Of the samples."""
        return "uint8" if self.bits == 8 else "uint16"


FrameFormat = PictureFormat | VideoFormat


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a batch of frames lies in memory: plane behind plane, without gaps."""

    format: FrameFormat
    count: int
    channels: int
    height: int
    width: int

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the arrays that it consists of, each with an axis N in front."""
        if isinstance(self.format, PictureFormat):
            return ((self.count, self.height, self.width, self.channels),)
        rows, columns = -(-self.height // 2), -(-self.width // 2)
        return (self.count, self.height, self.width), (self.count, rows, columns, 2)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all arrays."""
        return np.dtype(np.uint16 if isinstance(self.format, VideoFormat) and self.format.bits == 10 else np.uint8)

    @property
    def nbytes(self) -> int:
        """Of all arrays together."""
        return sum(map(math.prod, self.shapes)) * self.dtype.itemsize

    def arrays(self, memory: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The arrays in such memory, which may be longer."""
        return [
            memory[start:end].view(self.dtype).reshape(shape)
            for shape, (start, end) in zip(self.shapes, self._spans(), strict=True)
        ]

    def picture(self, address: int, device: int, owner: Any) -> Picture:
        """The frames at an address of a GPU's memory, as kernels take them."""
        size = self.dtype.itemsize

        def placed(shape: tuple[int, ...], start: int, order: Order) -> Any:
            sides = shape if len(shape) == 4 else (*shape, 1)
            strides = [math.prod(sides[axis + 1 :]) * size for axis in range(4)]
            kind: Type = "uint8" if size == 1 else "uint16"
            return place(address + start, kind, sides, strides, "nhwc", order=order, device=device, owner=owner)

        (first, *others), (start, *starts) = self.shapes, [start for start, _ in self._spans()]
        if isinstance(self.format, PictureFormat):
            return placed(first, start, self.format.order)
        return YuvFrame(placed(first, start, "rgb"), placed(others[0], starts[0], "rgb"), colour=self.format.colour)

    def _spans(self) -> list[tuple[int, int]]:
        """Where the bytes of each array begin and end."""
        sizes = [math.prod(shape) * self.dtype.itemsize for shape in self.shapes]
        ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
        return [(end - size, end) for size, end in zip(sizes, ends, strict=True)]


@dataclass(frozen=True)
class Batch:
    """A frame as a batch."""

    layout: Layout
    arrays: list[NDArray[Any]]
    """Each with an axis N in front."""
    single: bool
    """Whether that axis was not there before."""


def batch_of(frame: Frame, expected: FrameFormat, channels: int) -> Batch:
    """A frame, or a batch of frames, as a batch.

    Raises:
        UsageError: it is no such frame.
    """
    arrays = list(frame) if isinstance(frame, VideoPlanes) else [frame]
    axes = 3 if isinstance(expected, PictureFormat) else 2
    single = arrays[0].ndim == axes
    if single:
        arrays = [array[None] for array in arrays]
    first = arrays[0]
    if first.ndim == axes + 1 and first.size:
        count, height, width = first.shape[:3]
        layout = Layout(format=expected, count=count, channels=channels, height=height, width=width)
        if [(array.shape, array.dtype) for array in arrays] == [(shape, layout.dtype) for shape in layout.shapes]:
            return Batch(layout, arrays, single)
    found = " and ".join(f"{array.dtype} of shape {array.shape}" for array in arrays)
    raise UsageError(f"frame is {found}; expected {_described(expected, channels)}, or N of such")


def as_frame(arrays: Sequence[NDArray[Any]], *, single: bool) -> Frame:
    """The arrays of a batch as a frame, or as a batch of frames."""
    planes = [array[0] for array in arrays] if single else arrays
    return planes[0] if len(planes) == 1 else VideoPlanes(*planes)


def _described(expected: FrameFormat, channels: int) -> str:
    if isinstance(expected, PictureFormat):
        return f"uint8, H x W x {channels}"
    return f"luma H x W and chroma ceil(H / 2) x ceil(W / 2) x 2 of {expected.type}"
