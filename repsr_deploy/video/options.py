"""How a video is to be read and written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PipeFormat = Literal["y4m", "raw"]
SEGMENT_S = 20.0


@dataclass(frozen=True, kw_only=True)
class RawFormat:
    """Raw video on standard input, which says nothing about itself."""

    width: int
    height: int
    pix_fmt: str
    """FFmpeg's name."""
    rate: str
    """Frames per second, as `24000/1001`."""


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """Everything but the enlargement itself."""

    codec: str = "auto"
    """`auto` (what the container usually holds), a codec (`h264`, `hevc`, `av1`, `vp9`, `prores`, `ffv1`), or the name
    of an encoder of FFmpeg (`hevc_nvenc`)."""
    crf: float | None = None
    """Constant quality, as the encoder counts it; None for a value that is visually lossless."""
    preset: str = ""
    """As the encoder names it; empty for its own."""
    pix_fmt: str = ""
    """FFmpeg's name; empty for that of the input where the encoder takes it, else the nearest that loses nothing."""
    deinterlace: bool = False
    """Interlaced video is deinterlaced, not refused."""
    deduplicate: bool = False
    """Frames equal to the one before are upscaled once. Their time stamps stay."""
    preview_s: float | None = None
    """Length of a clip that shows the start, before and after side by side; None for the whole video, upscaled."""
    restart: bool = False
    """Start anew where an interrupted run could be continued."""
    segment_s: float = SEGMENT_S
    """Length of what is finished at a time, and lost at most."""
    raw: RawFormat | None = None
    """What standard input holds; None for Y4M."""
    pipe: PipeFormat = "y4m"
    """What goes to standard output."""
