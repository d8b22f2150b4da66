"""Frames of a video file, in the order in which they are seen."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import av
import numpy as np

from repsr_deploy.video.colour import Colour, Image, image_of
from repsr_deploy.video.decode import Decoder
from repsr_deploy.video.info import VideoInfo
from repsr_deploy.video.opening import Input
from repsr_deploy.video.orientation import Orientation
from repsr_deploy.video.pixel_formats import in_planar, planes_of
from repsr_deploy.video.probe import Probe, probe


class SourceFrame:
    """A decoded frame."""

    def __init__(self, frame: av.VideoFrame, pts: int, duration: int, colour: Colour, orientation: Orientation) -> None:
        self.pts = pts
        """Time stamp, in `VideoInfo.time_base`; of every frame greater than of the one before."""
        self.duration = duration
        """In `VideoInfo.time_base`."""
        self._frame = frame
        self._colour = colour
        self._orientation = orientation

    @cached_property
    def image_hwc(self) -> Image:
        """As seen: RGB H x W x 3, RGBA H x W x 4 or gray H x W; uint8 for 8-bit video, else uint16 of full scale.

        Converted at the first access, in the thread that asks.
        """
        return self._orientation.turned(image_of(self._frame, self._colour))

    def same_as(self, other: SourceFrame) -> bool:
        """Whether both, of one video, were decoded to the same samples, which mean the same colours."""
        if self._colour != other._colour:
            return False
        pairs = zip(planes_of(self._planar), planes_of(other._planar), strict=True)
        return all(np.array_equal(a, b) for a, b in pairs)

    @cached_property
    def _planar(self) -> av.VideoFrame:
        return in_planar(self._frame)


class VideoSource:
    """A video that is open; see `open_video`."""

    def __init__(self, file: Input, *, deinterlace: bool) -> None:
        self._decoder = Decoder(file, deinterlace=deinterlace)
        try:
            self._probe: Probe = probe(self._decoder)
        except BaseException:
            self._decoder.close()
            raise

    @property
    def info(self) -> VideoInfo:
        """What is known of it."""
        return self._probe.info

    def frames(self, start_pts: int | None = None) -> Iterator[SourceFrame]:
        """Its frames, as they are seen; one iteration at a time, a new one ends that before.

        Args:
            start_pts: leave out those with a smaller time stamp. The frames are the same as without it.

        Raises:
            VideoFileError: a frame is interlaced (and is not to be deinterlaced) or of another size than the first; or
                the file is a pipe, of which no frame can be read twice.
        """
        info = self.info
        for frame, pts, duration in self._decoder.frames(start_pts, info.rate):
            colour = self._probe.check(frame, pts)
            yield SourceFrame(frame, pts, duration, colour, self._probe.orientation)

    def close(self) -> None:
        """Release the file and the decoder; may be called twice."""
        self._decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_video(path: Path | BinaryIO, *, deinterlace: bool = False) -> VideoSource:
    """Open a video and decode its first frame; a context manager.

    Args:
        path: a file, or a stream of bytes, which may be a pipe.
        deinterlace: make whole frames of interlaced video, one of every two fields (bwdif). It is refused without.

    Raises:
        VideoFileError: no file, or none with a video that can be decoded; interlaced video.
    """
    return VideoSource(path, deinterlace=deinterlace)
