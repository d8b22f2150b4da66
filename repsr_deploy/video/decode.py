"""A file, decoded by FFmpeg: the frames of its video from the start, or exactly from a time stamp on."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError, InvalidDataError

from repsr_deploy.errors import VideoFileError
from repsr_deploy.video.deinterlace import deinterlaced
from repsr_deploy.video.opening import Input, Opened, error_count, open_input
from repsr_deploy.video.problems import Problems, expected_end_s

TIMED_FORMATS = ("mov", "matroska", "mpegts")
"""Formats that store when a frame is seen. In others FFmpeg concludes it from the frames before: they are not sought
in, but read from the start."""
STEPS_BACK_S = (0, 1, 10, 60)
"""How much earlier to look for a key frame when that found is too late, as formats seek by the time of decoding."""
UNKNOWN_TIME_BASE = Fraction(1, 1000)


class Decoder:
    """Decoded frames of the video of a file, with time stamps that increase.

    Raises:
        VideoFileError: no file, or none with a video that can be decoded.
    """

    def __init__(self, file: Input, *, deinterlace: bool) -> None:
        self.deinterlace = deinterlace
        self.name = file.name if isinstance(file, Path) else str(getattr(file, "name", "the video"))
        self._file = file
        self._problems = Problems(self.name)
        self._lock = threading.Lock()  # closing waits for the thread that decodes
        self._turn: object = None  # that of the one iteration that may read, for FFmpeg has one place in a file
        self._packets: Generator[Any] | None = None
        self._opened: Opened | None = open_input(file, self.name)
        self.time_base = self.opened.stream.time_base or UNKNOWN_TIME_BASE
        """Seconds of a time stamp's unit."""
        try:
            fresh = self._decoded()
            first = next(fresh, None)
            if first is None:
                raise VideoFileError(
                    f"no frame of {self.name} can be decoded ({self.opened.stream.codec.canonical_name}; "
                    f"{self._problems.last or 'no data'}); it is damaged, cut off or encrypted"
                )
        except BaseException:
            self.close()
            raise
        self.first = first
        self._fresh: Iterator[av.VideoFrame] | None = chain([first], fresh)
        self._reorder_depth = self.opened.stream.codec_context.reorder_depth

    @property
    def opened(self) -> Opened:
        """The file; not after `close`."""
        if self._opened is None:
            raise VideoFileError(f"{self.name} is closed")
        return self._opened

    @property
    def seekable(self) -> bool:
        """Whether it can be read again, or from the middle."""
        return isinstance(self._file, Path) or self._file.seekable()

    def frames(self, start_pts: int | None, rate: Fraction) -> Iterator[tuple[av.VideoFrame, int, int]]:
        """Frames with time stamp and duration, in `time_base`; see `VideoSource.frames`."""
        frames = None if start_pts is None else self._from_key_frame(start_pts)
        if frames is None:
            frames = self._from_start()
        turn = self._turn
        if self.deinterlace:
            frames = deinterlaced(frames, self.time_base)
        for frame, pts, duration in self._timed(frames, rate):
            if turn is not self._turn:
                return
            if start_pts is None or pts >= start_pts:
                yield frame, pts, duration

    def close(self) -> None:
        """Release file and decoder; may be called twice."""
        with self._lock:
            opened, self._opened, self._fresh, self._turn = self._opened, None, None, None
            if opened is None:
                return
            if self._packets is not None:
                self._packets.close()
                self._packets = None
            opened.stream.codec_context.flush_buffers()  # waits for its threads, which may want to log
            opened.container.close()

    @property
    def _is_timed(self) -> bool:
        return self.opened.container.format.name.startswith(TIMED_FORMATS)

    def _from_start(self) -> Iterator[av.VideoFrame]:
        if self._fresh is not None:
            fresh, self._fresh = self._fresh, None
            return fresh
        if not self.seekable:
            raise VideoFileError(f"{self.name} is a pipe and can be read only once; expected a file")
        self.close()
        if not isinstance(self._file, Path):
            self._file.seek(0)
        self._opened = open_input(self._file, self.name)
        return self._decoded()

    def _from_key_frame(self, start_pts: int) -> Iterator[av.VideoFrame] | None:
        """Frames from a key frame before on, None where only the start will do.

        A deinterlaced frame needs the one before it, too.
        """
        if not self.seekable or not self._is_timed:
            return None
        latest = start_pts - 1 if self.deinterlace else start_pts
        container, stream = self.opened
        self._fresh = None
        for back_s in STEPS_BACK_S:
            try:
                container.seek(latest - int(back_s / self.time_base), stream=stream)
            except FFmpegError:
                return None
            stream.codec_context.reorder_depth = self._reorder_depth  # seeking forgets it
            frames = self._decoded(said_from=start_pts)
            key = next((frame for frame in frames if frame.key_frame), None)
            if key is not None and key.pts is not None and key.pts <= latest:
                return chain([key], frames)
        return None

    def _decoded(self, said_from: int | None = None) -> Iterator[av.VideoFrame]:
        """Frames as the decoder gives them, until another iteration begins.

        Args:
            said_from: time stamp from which on damage is said. What is decoded before a key frame always looks damaged.
        """
        with self._lock:
            turn = self._turn = object()
            if self._packets is not None:
                self._packets.close()
            self._packets = self.opened.container.demux(self.opened.stream)  # type: ignore[assignment]  # a generator
        return self._decoded_in(turn, said_from)

    def _decoded_in(self, turn: object, said_from: int | None) -> Iterator[av.VideoFrame]:
        end: int | None = None
        self._problems.heeded = said_from is None
        while (frames := self._next_frames(turn)) is not None:
            for frame in frames:
                if frame.pts is None:
                    frame.pts = frame.dts  # the time of the packet that made the decoder give it, as ffmpeg's program
                if frame.pts is not None:
                    end = max(end or 0, frame.pts + (frame.duration or 0))
                    self._problems.heeded = said_from is None or frame.pts >= said_from
                if frame.is_corrupt:
                    self._problems.damaged(_seconds(frame.pts, self.time_base), "parts of the frame are lost")
                yield frame
        if turn is self._turn:
            self._problems.ended(_seconds(end, self.time_base), expected_end_s(self.opened))

    def _next_frames(self, turn: object) -> list[av.VideoFrame] | None:
        """Those of the next packet, None at the end. Damage is said, and passed over as players do."""
        with self._lock:
            if turn is not self._turn or self._packets is None:
                return None
            errors, _ = error_count()
            packet = self._next_packet(self._packets)
            if packet is None:
                return None
            try:
                frames = packet.decode()
            except FFmpegError as error:
                frames = []
                self._problems.damaged(_seconds(packet.pts, self.time_base), str(error.strerror))
            else:
                count, last = error_count()
                if count > errors or packet.is_corrupt:
                    reason = last if count > errors else "parts of its data are lost"
                    self._problems.damaged(_seconds(packet.pts, self.time_base), reason)
            return frames

    def _next_packet(self, packets: Iterator[Any]) -> Any:
        """None at the end. Where the file cannot be read on for damage, that is said, and the frames before count."""
        try:
            return next(packets, None)
        except InvalidDataError as error:
            self._problems.damaged(None, str(error.strerror))
            return None
        except FFmpegError as error:
            raise VideoFileError(f"cannot read {self.name}: {error.strerror}") from error

    def _timed(self, frames: Iterator[av.VideoFrame], rate: Fraction) -> Iterator[tuple[av.VideoFrame, int, int]]:
        """Every frame with a time stamp after that of the one before, given or made, and a duration."""
        step = max(1, round(1 / (rate * self.time_base)))
        before: int | None = None
        for frame in frames:
            pts = frame.pts
            if pts is None:
                if before is None or self._is_timed:  # else the last frames of AVI, which no packet has made come
                    self._problems.untimed(float(rate))
                pts = 0 if before is None else before + step
            elif before is not None and pts <= before:
                pts = before + 1
                self._problems.out_of_order(float(pts * self.time_base))
            before = pts
            yield frame, pts, frame.duration or step


def _seconds(pts: int | None, time_base: Fraction) -> float | None:
    return None if pts is None else float(pts * time_base)
