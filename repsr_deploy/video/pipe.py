"""Video from standard input and to standard output, as Y4M or as raw frames: for chains with other programs.

Frames go through as they come: each is read without waiting for the next, and is out before the next is asked for.
"""

from __future__ import annotations

import io
import logging
import select
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any, BinaryIO

import av

from repsr_deploy.errors import RepsrError, UsageError, VideoFileError
from repsr_deploy.video.codecs import EncoderChoice, choose_pix_fmt
from repsr_deploy.video.encoder import OutputVideo
from repsr_deploy.video.info import VideoInfo
from repsr_deploy.video.options import PipeFormat, RawFormat
from repsr_deploy.video.orientation import Orientation
from repsr_deploy.video.pixel_formats import layout_of
from repsr_deploy.video.source import SourceFrame
from repsr_deploy.video.tags import MATRICES, RGB, UNSPECIFIED_LOCATION, Colour, assumed_matrix, colour_of
from repsr_deploy.video.y4m import CHROMA, FRAME, Y4mHeader, chroma_of, read_frame_line, read_header

log = logging.getLogger(__name__)

STANDARD_INPUT, STANDARD_OUTPUT = "standard input", "standard output"
DEFAULT_RATE = Fraction(25)
"""Where a Y4M stream does not say it; FFmpeg's."""
LOOK_S = 0.2
"""How long a read that waits for data goes without looking whether it is still wanted."""
FFMPEG_MATRICES = {"bt601": "smpte170m", "bt709": "bt709", "bt2020": "bt2020nc"}


class StoppableInput(io.RawIOBase):
    """Bytes of a file descriptor, which end when `stopped` is set: a thread that waits for a pipe can be ended.

    What goes wrong is raised as VideoFileError, on reading, too.
    """

    def __init__(self, descriptor: int, stopped: threading.Event, name: str = STANDARD_INPUT) -> None:
        self._stopped, self._name = stopped, name
        with self._errors_said():
            self._file = io.FileIO(descriptor, closefd=False)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        with self._errors_said():
            # Windows can wait for sockets only
            while sys.platform != "win32" and not select.select([self._file], [], [], LOOK_S)[0]:
                if self._stopped.is_set():
                    return 0
            return self._file.readinto(buffer)

    @contextmanager
    def _errors_said(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise VideoFileError(f"cannot read {self._name}: {error.strerror or error}") from error


class PipeSource:
    """A Y4M or raw stream, its header read.

    Args:
        stream: read to its end, and not closed.
        raw: what it holds; None for Y4M.
        name: what messages call it.

    Raises:
        VideoFileError: no Y4M stream, or one of interlaced video.
        UsageError: no such pixel format.
    """

    def __init__(self, stream: BinaryIO, raw: RawFormat | None = None, name: str = STANDARD_INPUT) -> None:
        self._stream, self.name = stream, name
        self.header = read_header(stream, name) if raw is None else None
        """None for raw frames."""
        self.problem: VideoFileError | None = None
        """What is wrong with the stream, once its frames have ended."""
        if self.header is not None:
            width, height, pix_fmt = self.header.width, self.header.height, self.header.pix_fmt
        else:
            assert raw is not None
            width, height, pix_fmt = raw.width, raw.height, checked_pix_fmt(raw.pix_fmt)
        self._layout = width, height, pix_fmt
        rate = Fraction(raw.rate) if raw is not None else (self.header and self.header.rate) or DEFAULT_RATE
        aspect = (self.header and self.header.sample_aspect_ratio) or Fraction(1)
        described = layout_of(pix_fmt)
        self.info = VideoInfo(
            width=width, height=height, rate=rate, time_base=1 / rate, frames=None, duration_s=None,
            sample_aspect_ratio=aspect, pix_fmt=pix_fmt.replace("yuvj", "yuv"), bit_depth=described.bits,
            has_alpha=described.alpha, colour=self._colour(), interlaced=False, rotation=0, mirrored=False,
            mastering_display=None, content_light=None, codec="rawvideo", stream_index=0, seekable=False,
        )  # fmt: skip

    def frames(self) -> Iterator[SourceFrame]:
        """Its frames, once. What is wrong with the rest of the stream ends them, and is `problem` then."""
        width, height, pix_fmt = self._layout
        decoder = _raw_codec("r", self._layout)
        size = frame_bytes(width, height, pix_fmt)
        number = 0
        while (packet := self._next(number + 1, size)) is not None:
            for frame in decoder.decode(packet):
                yield SourceFrame(frame, number, 1, self.info.colour, Orientation())
            number += 1
        if not number and self.problem is None:
            self.problem = VideoFileError(f"{self.name} ends before the first frame; expected a video")

    def _next(self, number: int, size: int) -> Any:
        """The bytes of frame `number`, from 1; None at the end."""
        packet: Any = av.Packet(size)
        try:
            if self.header is not None and not read_frame_line(self._stream, self.name, number):
                return None
            there = _read_into(self._stream, memoryview(packet))
        except VideoFileError as error:
            self.problem = error
            return None
        if there == size:
            return packet
        if there or self.header is not None:
            self.problem = VideoFileError(
                f"{self.name} ends within frame {number}, after {there} of {size} bytes; the frames before it are done"
            )
        return None

    def _colour(self) -> Colour:
        """As of a file that says as little."""
        width, height, pix_fmt = self._layout
        frame = av.VideoFrame(16, 16, pix_fmt)
        if self.header is not None and self.header.full_range is not None:
            frame.color_range = 2 if self.header.full_range else 1
        colour = colour_of(frame, (self.header and self.header.chroma_location) or UNSPECIFIED_LOCATION)
        return colour if colour.matrix == RGB else replace(colour, matrix=assumed_matrix(width, height))


class PipeTarget:
    """A stream of Y4M or raw frames.

    Args:
        stream: written to frame by frame, flushed, and not closed.
        output: of `plan_pipe`.
        header: what the stream begins with; None for raw frames.
    """

    def __init__(self, stream: BinaryIO, output: OutputVideo, header: Y4mHeader | None) -> None:
        self._stream, self._header = stream, header
        self._encoder = _raw_codec("w", (output.width, output.height, output.pix_fmt))
        if header is not None:
            self._put(header.line())

    def write(self, frame: av.VideoFrame) -> None:
        """Write a frame, which has left when this returns.

        Raises:
            BrokenPipeError: nobody reads on.
            RepsrError: the disk is full.
        """
        frame.time_base = self._encoder.time_base
        parts = [memoryview(packet) for packet in self._encoder.encode(frame)]
        self._put(*([FRAME + b"\n"] if self._header is not None else []), *parts)

    def _put(self, *parts: bytes | memoryview) -> None:
        try:
            for part in parts:
                left = memoryview(part)
                while left:
                    left = left[self._stream.write(left) :]
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise RepsrError(f"cannot write to {STANDARD_OUTPUT}: {error.strerror or error}") from error


def plan_pipe(
    info: VideoInfo, size: tuple[int, int], form: PipeFormat, pix_fmt: str = "", source: Y4mHeader | None = None
) -> tuple[OutputVideo, Y4mHeader | None]:
    """What goes to a pipe, and the header before it (None for raw frames). What a pipe cannot say is said in the log.

    Args:
        info: of the input.
        size: (width, height) of the result.
        pix_fmt: FFmpeg's name of the one to write; empty for the input's, or the nearest that Y4M holds.
        source: header of the input, the rest of which is kept.

    Raises:
        UsageError: no such pixel format, or none for Y4M.
    """
    if form == "y4m":
        y4m = EncoderChoice(name="Y4M", codec="", options={}, pix_fmts=tuple({name: 0 for name, _ in CHROMA.values()}))
        made, loss = choose_pix_fmt(y4m, source=info.pix_fmt, wanted=pix_fmt, size=(0, 0))
        if loss and not pix_fmt:
            log.warning("%s: %s as Y4M loses %s of the input", STANDARD_OUTPUT, made, loss)
    else:
        made = checked_pix_fmt(pix_fmt or info.pix_fmt)
    colour = info.colour.in_format(made)
    output = OutputVideo(
        encoder="rawvideo", codec="rawvideo", options={}, pix_fmt=made, width=size[0], height=size[1],
        time_base=info.time_base, rate=info.rate, sample_aspect_ratio=info.sample_aspect_ratio, colour=colour,
        parameters={},
    )  # fmt: skip
    _warn_of_matrix(colour, made, size)
    if form != "y4m":
        return output, None
    header = Y4mHeader(
        width=size[0], height=size[1], rate=info.rate, sample_aspect_ratio=info.sample_aspect_ratio,
        chroma=chroma_of(made, colour.chroma_location), full_range=colour.range == "pc",
    )  # fmt: skip
    if source is not None:
        header = replace(header, rate=source.rate, sample_aspect_ratio=source.sample_aspect_ratio)
        if source.pix_fmt == made:
            header = replace(header, chroma=source.chroma, full_range=source.full_range)
    return output, header


def checked_pix_fmt(name: str) -> str:
    """FFmpeg's own name of a pixel format.

    Raises:
        UsageError: it has none.
        VideoFileError: one whose samples are not known here.
    """
    try:
        pix_fmt = av.VideoFormat(name).name
    except ValueError:
        raise UsageError(f"pixel format is {name!r}; expected one of FFmpeg (`ffmpeg -pix_fmts`), as yuv420p") from None
    layout_of(pix_fmt)
    return pix_fmt


def frame_bytes(width: int, height: int, pix_fmt: str) -> int:
    """Bytes of a raw frame: its planes, one after the other, without padding."""
    encoder = _raw_codec("w", (width, height, pix_fmt))
    return sum(packet.size for packet in encoder.encode(av.VideoFrame(width, height, pix_fmt)))


def _raw_codec(mode: str, layout: tuple[int, int, str]) -> Any:
    """FFmpeg's codec that turns a frame into its bytes, or these into a frame."""
    context: Any = av.CodecContext.create("rawvideo", mode)  # type: ignore[call-overload]
    context.width, context.height, context.pix_fmt = layout
    if mode == "w":
        context.time_base = Fraction(1, 25)  # needs one, and does nothing with it
    return context


def _read_into(stream: BinaryIO, buffer: memoryview) -> int:
    """Fill the buffer; how much was there."""
    filled = 0
    while filled < len(buffer):
        count = stream.readinto(buffer[filled:])  # type: ignore[attr-defined]
        if not count:
            break
        filled += count
    return filled


def _warn_of_matrix(colour: Colour, pix_fmt: str, size: tuple[int, int]) -> None:
    """A pipe does not say the matrix, and the next program takes the one that is usual for the size."""
    if layout_of(pix_fmt).kind != "yuv" or colour.name == MATRICES[assumed_matrix(*size)]:
        return
    log.warning(
        "the matrix is %s, as of the input, and for %d x %d pixels other programs take %s, as a pipe says nothing of "
        "it; tell the next one (ffmpeg -i - -vf setparams=colorspace=%s)",
        colour.name, *size, MATRICES[assumed_matrix(*size)], FFMPEG_MATRICES[colour.name],
    )  # fmt: skip
