"""Y4M, the format of video in pipes: a line of text, then frames, each after a line of its own (yuv4mpeg(5)).

A stream says its size, rate, chroma and range, and neither its matrix nor any time stamp. It is read here and not by
FFmpeg because that waits for more than a frame before it gives one, and drops a frame that is cut off without a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

from repsr_deploy.errors import VideoFileError

MAGIC, FRAME = b"YUV4MPEG2", b"FRAME"
LONGEST_LINE = 4096
PROGRESSIVE = ("p", "?")
DEFAULT_CHROMA = "420jpeg"

CHROMA: dict[str, tuple[str, str]] = {
    "420jpeg": ("yuv420p", "center"), "420mpeg2": ("yuv420p", "left"), "420paldv": ("yuv420p", "topleft"),
    "420": ("yuv420p", "center"), "411": ("yuv411p", ""), "422": ("yuv422p", ""), "444": ("yuv444p", ""),
    "mono": ("gray", ""), "mono9": ("gray9le", ""), "mono10": ("gray10le", ""), "mono12": ("gray12le", ""),
    "mono16": ("gray16le", ""),
    **{f"{layout}p{bits}": (f"yuv{layout}p{bits}le", "") for layout in (420, 422, 444) for bits in (9, 10, 12, 14, 16)},
}  # fmt: skip
"""Value of C -> FFmpeg's pixel format, and where the chroma samples lie (empty: not said)."""


@dataclass(frozen=True, kw_only=True)
class Y4mHeader:
    """The first line of a stream."""

    width: int
    height: int
    rate: Fraction | None
    """Frames per second; None where it is not said (`F0:0`)."""
    sample_aspect_ratio: Fraction | None
    """Width of a pixel by its height; None where it is not said (`A0:0`)."""
    chroma: str
    """A key of `CHROMA`."""
    full_range: bool | None
    """Whether samples use all of their values; None where it is not said."""

    @property
    def pix_fmt(self) -> str:
        """FFmpeg's name."""
        return CHROMA[self.chroma][0]

    @property
    def chroma_location(self) -> str:
        """`center`, `left`, `topleft`; empty where it is not said."""
        return CHROMA[self.chroma][1]

    def line(self) -> bytes:
        """The stream's first line. XYSCSS repeats the chroma, as FFmpeg has it."""
        fields = [f"W{self.width}", f"H{self.height}", f"F{_ratio(self.rate)}", "Ip"]
        fields += [f"A{_ratio(self.sample_aspect_ratio)}", f"C{self.chroma}"]
        if not self.chroma.startswith("mono"):
            fields.append(f"XYSCSS={self.chroma.upper()}")
        if self.full_range is not None:
            fields.append(f"XCOLORRANGE={'FULL' if self.full_range else 'LIMITED'}")
        return b" ".join([MAGIC, *map(str.encode, fields)]) + b"\n"


def chroma_of(pix_fmt: str, chroma_location: str) -> str:
    """The value of C for samples of a pixel format, its chroma at a location (one that Y4M does not know: left).

    Raises:
        VideoFileError: Y4M has no such format.
    """
    pix_fmt = {"yuvj420p": "yuv420p", "yuvj422p": "yuv422p", "yuvj444p": "yuv444p"}.get(pix_fmt, pix_fmt)
    values = [value for value, (name, _) in CHROMA.items() if name == pix_fmt]
    if not values:
        raise VideoFileError(
            f"Y4M cannot hold {pix_fmt}; choose one of {', '.join(sorted({name for name, _ in CHROMA.values()}))} with "
            "--pix-fmt, or --pipe raw"
        )
    wanted = chroma_location if any(CHROMA[value][1] == chroma_location for value in values) else "left"
    return next((value for value in values if CHROMA[value][1] == wanted), values[0])


def read_header(stream: BinaryIO, name: str) -> Y4mHeader:
    """Read the first line of `stream`, which messages call `name`.

    Raises:
        VideoFileError: it is no Y4M stream, one of interlaced video, or of a chroma that is not known here.
    """
    line = stream.readline(LONGEST_LINE)
    if not line:
        raise VideoFileError(f"{name} is empty; expected a Y4M stream")
    if not line.startswith(MAGIC + b" ") or not line.endswith(b"\n"):
        raise VideoFileError(
            f"{name} starts with {line[:16]!r}; expected a Y4M stream (ffmpeg -f yuv4mpegpipe), or --raw and its format"
        )
    fields: dict[str, str] = {}
    extensions: dict[str, str] = {}
    for word in line.decode("ascii", "replace").split()[1:]:
        if word.startswith("X"):
            key, _, value = word[1:].partition("=")
            extensions[key] = value
        else:
            fields[word[0]] = word[1:]
    if fields.get("I", "p") not in PROGRESSIVE:
        raise VideoFileError(
            f"{name} is interlaced (I{fields['I']}); expected progressive frames; deinterlace first (ffmpeg -vf bwdif)"
        )
    chroma = fields.get("C", DEFAULT_CHROMA)
    if chroma not in CHROMA:
        raise VideoFileError(f"{name} has chroma C{chroma}; expected one of {', '.join(CHROMA)}")
    return Y4mHeader(
        width=_side(fields.get("W", ""), name),
        height=_side(fields.get("H", ""), name),
        rate=_fraction(fields.get("F", "0:0"), name),
        sample_aspect_ratio=_fraction(fields.get("A", "0:0"), name),
        chroma=chroma,
        full_range={"FULL": True, "LIMITED": False}.get(extensions.get("COLORRANGE", "")),
    )


def read_frame_line(stream: BinaryIO, name: str, number: int) -> bool:
    """Read the line before frame `number` (from 1); False at the end of the stream.

    Raises:
        VideoFileError: something else stands there.
    """
    line = stream.readline(LONGEST_LINE)
    if not line:
        return False
    if not line.startswith(FRAME) or line[len(FRAME) : len(FRAME) + 1] not in (b" ", b"\n") or not line.endswith(b"\n"):
        raise VideoFileError(f"{name} has {line[:16]!r} where frame {number} starts; expected FRAME")
    return True


def _ratio(value: Fraction | None) -> str:
    return f"{value.numerator}:{value.denominator}" if value is not None else "0:0"


def _side(text: str, name: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,4}", text):
        raise VideoFileError(f"{name} has a side of {text!r} in its header; expected pixels, 1 to 99999")
    return int(text)


def _fraction(text: str, name: str) -> Fraction | None:
    parts = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
    if parts is None:
        raise VideoFileError(f"{name} has {text!r} in its header; expected a ratio, as 24000:1001")
    numerator, denominator = map(int, parts.groups())
    return Fraction(numerator, denominator) if numerator and denominator else None
