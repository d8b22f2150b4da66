"""Frames for the tests of the pipeline, and what is to become of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from repsr_deploy.imaging.tiling import Box, plan_tiles
from repsr_kernels.gpu.pipeline import FrameFormat, PictureFormat, Tile, VideoFormat, VideoPlanes
from repsr_kernels.operations import Crop, Picture
from repsr_kernels.tensors import on_host
from repsr_kernels.yuv import YuvColour, YuvFrame
from tests.kernels.gpu.pipeline.shift_network import HALO, ShiftNetwork, expected

RGB = PictureFormat()
NV12 = VideoFormat(colour=YuvColour(matrix="bt709"))
P010 = VideoFormat(colour=YuvColour(matrix="bt2020", full_range=True, siting="top-left"), bits=10)


def picture(height: int, width: int, seed: int = 0) -> Any:
    """uint8 H x W x 3."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def video(kind: VideoFormat, height: int, width: int, seed: int = 0) -> VideoPlanes:
    """Any samples, those below the upper ten bits of 16 being 0."""
    random = np.random.default_rng(seed)
    luma, chroma = (random.integers(0, 2**kind.bits, shape) << (kind.bits - 8) * 3 for shape in _planes(height, width))
    dtype = np.uint8 if kind.bits == 8 else np.uint16
    return VideoPlanes(luma.astype(dtype), chroma.astype(dtype))


def wanted(network: ShiftNetwork, frame: Any, source: FrameFormat = RGB, out: FrameFormat | None = None) -> Any:
    """What the pipeline is to make of one frame."""
    out = out or source
    rows, columns = (frame.luma if isinstance(frame, VideoPlanes) else frame).shape[:2]
    height, width = rows * network.scale, columns * network.scale
    if isinstance(out, PictureFormat):
        made: Any = np.empty((height, width, 3), np.uint8)
    else:
        dtype = np.uint8 if out.bits == 8 else np.uint16
        made = VideoPlanes(*(np.empty(shape, dtype) for shape in _planes(height, width)))
    expected(network, _on_host(frame, source), _on_host(made, out))
    return made


def same(actual: Any, expected: Any) -> bool:
    """Whether two frames are the same, samples and types."""
    pairs = zip(actual, expected, strict=True) if isinstance(expected, VideoPlanes) else [(actual, expected)]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def tiles_of(height: int, width: int, tile: int, halo: int = HALO) -> list[Tile]:
    """As the upscaler cuts pictures."""

    def crop(box: Box) -> Crop:
        return Crop(top=box.top, left=box.left, rows=box.bottom - box.top, columns=box.right - box.left)

    plan = plan_tiles(height, width, tile=tile, halo=halo)
    return [Tile(core=crop(part.core), source=crop(part.source)) for part in plan]


def _planes(height: int, width: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of luma and chroma."""
    return (height, width), ((height + 1) // 2, (width + 1) // 2, 2)


def _on_host(frame: Any, kind: FrameFormat) -> Picture:
    if isinstance(kind, PictureFormat):
        return on_host(frame, "nhwc", order=kind.order)
    return YuvFrame(on_host(frame.luma[..., None], "nhwc"), on_host(frame.chroma, "nhwc"), colour=kind.colour)
