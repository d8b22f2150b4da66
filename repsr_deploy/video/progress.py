"""How far a video is, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from repsr_deploy.video.encoder import OutputVideo
from repsr_deploy.video.flow import Flow
from repsr_deploy.video.info import VideoInfo

Progress = Callable[["VideoProgress"], None]


@dataclass(frozen=True, kw_only=True)
class VideoProgress:
    """How far a video is."""

    frames: int
    """Finished, those of earlier runs included."""
    total: int | None
    """About how many there are; None where nothing says so."""
    new_frames: int
    """Finished in this run."""
    seconds: float
    """Of this run."""
    limiting: str
    """The stage that the others wait for; see `flow`."""

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.new_frames / self.seconds if self.seconds > 0 else 0.0

    @property
    def remaining_s(self) -> float | None:
        """None where it cannot be told."""
        if self.total is None or not self.rate:
            return None
        return max(0, self.total - self.frames) / self.rate


@dataclass(frozen=True, kw_only=True)
class VideoOutcome:
    """What became of a video."""

    frames: int
    size: tuple[int, int]
    """(width, height) of a frame read."""
    new_size: tuple[int, int]
    """(width, height) of a frame written."""
    encoder: str
    """FFmpeg's name."""
    pix_fmt: str
    """FFmpeg's name."""
    seconds: float
    resumed_frames: int
    """Of earlier runs."""
    repeated_frames: int
    """Equal to the one before, and not upscaled again."""
    limiting: str
    """The stage that the others waited for; empty when nothing was left to be upscaled."""

    @property
    def rate(self) -> float:
        """Frames a second, of this run."""
        return (self.frames - self.resumed_frames) / self.seconds if self.seconds > 0 else 0.0


class Watch:
    """Measures a run from when it is made, and tells how far it is.

    Args:
        progress: told after every frame.
        total: about how many frames there are.
        resumed: frames of earlier runs.
    """

    def __init__(self, progress: Progress | None, total: int | None, resumed: int = 0) -> None:
        self._progress, self._total, self._resumed = progress, total, resumed
        self._start = time.perf_counter()

    def tell(self, new_frames: int, limiting: str) -> None:
        """So many frames are finished in this run."""
        if self._progress is None:
            return
        self._progress(
            VideoProgress(
                frames=self._resumed + new_frames, total=self._total, new_frames=new_frames, seconds=self._seconds,
                limiting=limiting,
            )
        )  # fmt: skip

    def outcome(self, info: VideoInfo, output: OutputVideo, flow: Flow, new_frames: int) -> VideoOutcome:
        """What became of it, now that it is finished."""
        return VideoOutcome(
            frames=self._resumed + new_frames, size=(info.width, info.height), new_size=(output.width, output.height),
            encoder=output.encoder, pix_fmt=output.pix_fmt, seconds=self._seconds, resumed_frames=self._resumed,
            repeated_frames=flow.repeated, limiting=flow.limiting if new_frames else "",
        )  # fmt: skip

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._start
