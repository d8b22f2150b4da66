"""What is known of a video before it is upscaled."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from repsr_deploy.video.tags import Colour


@dataclass(frozen=True, kw_only=True)
class MasteringDisplay:
    """The screen on which an HDR video was graded (SMPTE ST 2086): CIE 1931 x, y and cd/m2."""

    red: tuple[Fraction, Fraction]
    green: tuple[Fraction, Fraction]
    blue: tuple[Fraction, Fraction]
    white: tuple[Fraction, Fraction]
    luminance: tuple[Fraction, Fraction]
    """Least and greatest."""


@dataclass(frozen=True, kw_only=True)
class ContentLight:
    """Light of an HDR video (CTA-861.3), cd/m2; 0 where it is not known."""

    max_content: int
    """Of the brightest pixel."""
    max_frame_average: int


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """A video as it is seen: turned, deinterlaced."""

    width: int
    height: int
    rate: Fraction
    """Frames per second, on average."""
    time_base: Fraction
    """Seconds of a time stamp's unit."""
    frames: int | None
    """About how many; None where the file does not say."""
    duration_s: float | None
    sample_aspect_ratio: Fraction
    """Width of a pixel by its height."""
    pix_fmt: str
    """FFmpeg's name, without the deprecated ones for full range (`yuvj420p`)."""
    bit_depth: int
    """Of a sample, 8 to 16."""
    has_alpha: bool
    colour: Colour
    interlaced: bool
    """Whether it is in the file, and has been deinterlaced."""
    rotation: int
    """Degrees, clockwise, by which the stored frames were turned."""
    mirrored: bool
    """Whether the stored frames were flipped left to right before that."""
    mastering_display: MasteringDisplay | None
    content_light: ContentLight | None
    codec: str
    """FFmpeg's name of the codec, `h264`."""
    stream_index: int
    """Of the video among all streams of the file."""
    seekable: bool
    """Whether it can be read from the middle and more than once."""


def mastering_display_of(side_data: dict[str, bytes]) -> MasteringDisplay | None:
    """From FFmpeg's `AVMasteringDisplayMetadata`: ten fractions, then whether they were set."""
    data = side_data.get("MASTERING_DISPLAY_METADATA")
    if data is None:
        return None
    numbers = struct.unpack_from("=22i", data)
    values = [Fraction(over, under or 1) for over, under in zip(numbers[0:20:2], numbers[1:20:2], strict=True)]
    if not all(numbers[20:22]):
        return None
    red, green, blue, white, luminance = zip(values[0::2], values[1::2], strict=True)
    return MasteringDisplay(red=red, green=green, blue=blue, white=white, luminance=luminance)


def content_light_of(side_data: dict[str, bytes]) -> ContentLight | None:
    """From FFmpeg's `AVContentLightMetadata`."""
    data = side_data.get("CONTENT_LIGHT_LEVEL")
    if data is None:
        return None
    brightest, average = struct.unpack_from("=2I", data)
    return ContentLight(max_content=brightest, max_frame_average=average)


def side_data_of(frame: Any) -> dict[str, bytes]:
    """What an `av.VideoFrame` carries beside its samples, by FFmpeg's name."""
    return {data.type.name: bytes(data) for data in frame.side_data}
