"""Pixel formats of FFmpeg, and the samples of frames in planar ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import av
import numpy as np
from av.video.format import VideoFormat
from numpy.typing import NDArray

from repsr_deploy.errors import VideoFileError

Kind = Literal["yuv", "rgb", "gray"]
Samples = NDArray[Any]

_SUBSAMPLING = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (4, 1): "411", (4, 4): "410", (1, 2): "440"}
_SIDE = 64
_HIGH_BITS = re.compile(r"p[024]1[026]le")
"""Done here: swscale loses the last chroma samples of odd widths in them."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a pixel format holds, and the planar one that holds the same."""

    kind: Kind
    bits: int
    """Of a sample, 8 to 16."""
    alpha: bool
    factors: tuple[int, int]
    """Columns and rows of pixels for a chroma sample."""
    planar: str
    """FFmpeg's name of the format that has a plane for every component, in native byte order."""


@lru_cache
def layout_of(pix_fmt: str) -> Layout:
    """What FFmpeg's name of a pixel format stands for.

    Raises:
        VideoFileError: samples that are neither RGB, YUV nor gray with 16 bits at most.
    """
    shape = VideoFormat(pix_fmt, _SIDE, _SIDE)
    bits = max((component.bits for component in shape.components), default=0)
    if not 0 < bits <= 16 or shape.is_bayer or "f16" in pix_fmt or pix_fmt.startswith("xyz"):
        raise VideoFileError(
            f"the video's pixel format is {pix_fmt}; expected YUV, RGB or gray with integers of 16 bits at most; "
            "convert it with ffmpeg first"
        )
    bits = max(bits, 8)
    depth = "" if bits == 8 else f"{bits}le"
    alpha = shape.has_palette or any(component.is_alpha for component in shape.components)
    colours = len(shape.components) >= 3
    if shape.is_rgb or shape.has_palette or (alpha and not colours):
        planar = f"gbr{'a' if alpha else ''}p{depth}"
        return Layout(kind="rgb", bits=bits, alpha=alpha, factors=(1, 1), planar=planar)
    if not colours:
        return Layout(kind="gray", bits=bits, alpha=False, factors=(1, 1), planar=f"gray{depth}")
    factors = (_SIDE // shape.chroma_width(), _SIDE // shape.chroma_height())
    planar = f"yuv{'a' if alpha else ''}{_SUBSAMPLING[factors]}p{depth}"
    return Layout(kind="yuv", bits=bits, alpha=alpha, factors=factors, planar=planar)


def in_planar(frame: av.VideoFrame) -> av.VideoFrame:
    """The same samples in the planar format; the frame itself where it has that."""
    name = frame.format.name
    layout = layout_of(name)
    if name.replace("yuvj", "yuv") == layout.planar:
        return frame
    if not _HIGH_BITS.fullmatch(name):
        return frame.reformat(format=layout.planar, threads=1)
    planar = av.VideoFrame(frame.width, frame.height, layout.planar)
    for whole, high in zip(planes_of(planar), _high_samples(frame), strict=True):
        whole[...] = high >> (16 - layout.bits)
    return planar


def in_format(planar: av.VideoFrame, pix_fmt: str) -> av.VideoFrame:
    """The samples of a planar frame in another format that holds the same; the frame itself where it has that."""
    if planar.format.name == pix_fmt:
        return planar
    if not _HIGH_BITS.fullmatch(pix_fmt):
        return planar.reformat(format=pix_fmt, threads=1)
    frame = av.VideoFrame(planar.width, planar.height, pix_fmt)
    for whole, high in zip(planes_of(planar), _high_samples(frame), strict=True):
        high[...] = whole << (16 - layout_of(pix_fmt).bits)
    return frame


def _high_samples(frame: av.VideoFrame) -> list[Samples]:
    """Views of Y, Cb and Cr in a format like P010: the bits that count are the upper ones, Cb and Cr take turns."""
    luma, chroma = (
        np.frombuffer(memoryview(plane), np.uint16).reshape(plane.height, -1)[:, : plane.width * (1 + number)]
        for number, plane in enumerate(frame.planes)
    )
    return [luma, chroma[:, 0::2], chroma[:, 1::2]]


def planes_of(frame: av.VideoFrame) -> list[Samples]:
    """Views of the samples of a frame in a planar format: H x W each, uint8 or uint16, in the order of the components.

    That is Y, Cb, Cr or R, G, B, and alpha last. What is written into them is in the frame.
    """
    views = [_view(frame, plane) for plane in frame.planes]
    return [views[component.plane] for component in frame.format.components]


def _view(frame: av.VideoFrame, plane: Any) -> Samples:
    kind = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    lines = np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)[:, : plane.width]
    return lines[::-1] if plane.line_size < 0 else lines
