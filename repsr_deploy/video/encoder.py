"""Frames into packets: one encoder, told everything that a player must know about the picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import av
from av.codec.context import ThreadType
from av.error import FFmpegError

from repsr_deploy.errors import VideoFileError
from repsr_deploy.video.tags import Colour

_GLOBAL_HEADER = 1 << 22
_OWN_THREADS = {"libx265": ("x265-params", "pools"), "libsvtav1": ("svtav1-params", "lp")}
"""Encoders that start threads of their own: the option, and the name in it, that says how many."""


@dataclass(frozen=True, kw_only=True)
class OutputVideo:
    """The video stream that is written: the same for all segments of a file."""

    encoder: str
    codec: str
    options: Mapping[str, str]
    """Quality and preset, as the encoder names them."""
    pix_fmt: str
    width: int
    height: int
    time_base: Fraction
    """Of the input: time stamps go through unchanged."""
    rate: Fraction
    """Frames a second on average, which encoders use to spend bits."""
    sample_aspect_ratio: Fraction
    colour: Colour
    parameters: Mapping[str, str]
    """Options that an encoder takes as one string, by its name: `x265-params`."""

    def identity(self) -> dict[str, str]:
        """All of it as text: two encoders of equal identities make segments that can be joined."""
        return {name: str(value) for name, value in asdict(self).items()}


class Encoder:
    """An open encoder. The first frame becomes a key frame; no frame refers to one of another encoder.

    Args:
        output: what to make.
        threads: of the processor; None for what the encoder thinks best.

    Raises:
        VideoFileError: it does not open on this machine, or not for this size.
    """

    def __init__(self, output: OutputVideo, *, threads: int | None = None) -> None:
        self._context: Any = open_context(output, threads)
        self._output = output
        self._durations: dict[int, int] = {}
        self._last_pts: int | None = None

    @property
    def extradata(self) -> bytes:
        """What decoders need before the first packet; may be empty."""
        return bytes(self._context.extradata or b"")

    def encode(self, frame: av.VideoFrame) -> list[av.Packet[Any]]:
        """Hand over the next frame; gives the packets that are ready, in decoding order.

        Args:
            frame: of `colour.to_frame`; its pts, in the time base of the output, is later than that of the last one.
        """
        pts, duration = frame.pts, frame.duration
        if pts is None or (self._last_pts is not None and pts <= self._last_pts):
            raise ValueError(f"a frame at {pts} after one at {self._last_pts}")
        frame.time_base = self._output.time_base
        self._last_pts = pts
        self._durations[pts] = duration or 0
        return self._packets(frame)

    def flush(self) -> list[av.Packet[Any]]:
        """The packets of the frames that are still inside. Nothing can be encoded afterwards.

        Raises:
            VideoFileError: the encoder lost a frame.
        """
        packets = self._packets(None)
        if self._durations:
            raise VideoFileError(f"the encoder lost {len(self._durations)} frames; choose another with --codec")
        return packets

    def close(self) -> None:
        """Let go of its memory and threads."""
        self._context = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _packets(self, frame: av.VideoFrame | None) -> list[av.Packet[Any]]:
        try:
            packets: list[av.Packet[Any]] = self._context.encode(frame)
        except FFmpegError as error:
            raise VideoFileError(
                f"{self._context.name} failed: {error.strerror}; choose another with --codec"
            ) from error
        for packet in packets:
            if packet.pts not in self._durations:
                raise VideoFileError(f"{self._context.name} gave a frame at {packet.pts} that it was not given")
            packet.duration = self._durations.pop(packet.pts)
        return packets


def open_context(output: OutputVideo, threads: int | None = None) -> Any:
    """FFmpeg's encoder for `output`, open.

    Raises:
        VideoFileError: it does not open.
    """
    context: Any = av.CodecContext.create(output.encoder, "w")
    configure(context, output, threads)
    try:
        context.open()
    except FFmpegError as error:
        raise VideoFileError(
            f"{output.encoder} does not open for {output.width}x{output.height} {output.pix_fmt} on this machine "
            f"({error.strerror}); choose another with --codec"
        ) from error
    return context


def configure(context: Any, output: OutputVideo, threads: int | None = None) -> None:
    """Tell an encoder that is not open yet (a codec context, or a stream) all about `output`."""
    os.environ.setdefault("SVT_LOG", "1")  # libsvtav1 else writes its settings to standard error
    context.width, context.height, context.pix_fmt = output.width, output.height, output.pix_fmt
    context.time_base, context.framerate = output.time_base, output.rate
    context.sample_aspect_ratio = output.sample_aspect_ratio
    output.colour.tag(context)
    context.thread_type = ThreadType.AUTO  # PyAV's own choice makes libx264 cut frames into slices
    context.thread_count = threads or 0
    context.flags |= _GLOBAL_HEADER
    parameters = dict(output.parameters)
    if threads and output.encoder in _OWN_THREADS:
        option, name = _OWN_THREADS[output.encoder]
        parameters[option] = ":".join(filter(None, (parameters.get(option), f"{name}={threads}")))
    context.options = {
        "chroma_sample_location": output.colour.chroma_location,
        **output.options,
        **parameters,
    }
