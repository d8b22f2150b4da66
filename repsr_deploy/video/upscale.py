"""A video from file to file: upscaled in segments that are finished one by one, so that a killed run goes on."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from fractions import Fraction
from hashlib import sha256
from itertools import chain
from pathlib import Path

import av
import numpy as np

from repsr_deploy._version import __version__
from repsr_deploy.errors import VideoFileError
from repsr_deploy.imaging.enlargement import Enlargement, result_size
from repsr_deploy.imaging.outcome import Workers
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.video.encoder import Encoder, OutputVideo
from repsr_deploy.video.flow import Flow, enlarger
from repsr_deploy.video.info import VideoInfo
from repsr_deploy.video.mux import Original, join, warn_of_losses
from repsr_deploy.video.options import VideoOptions
from repsr_deploy.video.plan import plan_output
from repsr_deploy.video.progress import Progress, VideoOutcome, Watch
from repsr_deploy.video.segments import WorkFolder
from repsr_deploy.video.source import open_video
from repsr_deploy.video.state import file_identity

log = logging.getLogger(__name__)

PROBE_SIDE = 64
"""Of the noise by which a model is known, in pixels."""


def upscale_video(
    source: Path,
    target: Path,
    upscaler: Upscaler,
    enlargement: Enlargement,
    options: VideoOptions,
    *,
    workers: Workers | None = None,
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> VideoOutcome:
    """Upscale a video, with all other streams of its file as they are.

    Every `options.segment_s` seconds of the video what was done is finished, in a folder beside `target`. A run that
    was interrupted or killed is continued by the next one of the same input, model and options.

    Args:
        workers: see `Flow`.
        max_pixels: of a frame that is upscaled; None for any.
        progress: called after every frame.

    Raises:
        VideoFileError: the input cannot be read, or is not of whole frames; the target cannot be written.
        UsageError: an option that does not fit the video or the target.
        RepsrError: the disk is full, or there is no memory.
    """
    with open_video(source, deinterlace=options.deinterlace) as video:
        info = video.info
        check_size(info, str(source), max_pixels)
        new_size = result_size((info.width, info.height), enlargement, upscaler.info.scale)
        output = plan_output(options, target, info, new_size)
        original = Original(path=source, video_index=info.stream_index)
        warn_of_losses(original, target)
        identity = {
            **file_identity(source), **model_identity(upscaler), **_wishes(enlargement, options), **output.identity(),
            "version": f"{__version__}, FFmpeg {av.ffmpeg_version_info}",
        }  # fmt: skip
        with WorkFolder(target, identity, restart=options.restart) as folder:
            if folder.frames:
                log.info("%s: %d frames are finished already", target, folder.frames)
            watch = Watch(progress, info.frames, folder.frames)
            frames, enlarge = video.frames(folder.resume_pts), enlarger(upscaler, enlargement)
            with _kept(folder, target):
                with Flow(frames, enlarge, output, deduplicate=options.deduplicate, workers=workers) as flow:
                    done = write_segments(flow, folder, output, options.segment_s, watch)
                join(folder.segments, output, target, original)
            folder.remove()
    return watch.outcome(info, output, flow, done)


def write_segments(flow: Flow, folder: WorkFolder, output: OutputVideo, segment_s: float, watch: Watch) -> int:
    """Encode frames into segments of at least `segment_s` seconds, each finished before the next begins.

    The first frame of a segment says where it ends, whichever run makes it, so that a run that is continued makes the
    segments that one run would.

    Returns:
        How many frames there were.
    """
    done = 0
    for part in _parts(iter(flow), Fraction(segment_s) / output.time_base):
        with Encoder(output) as encoder, folder.segment(encoder.extradata) as writer:
            for frame in part:
                writer.write(encoder.encode(frame))
                done += 1
                watch.tell(done, flow.limiting)
            writer.write(encoder.flush())
    return done


@contextmanager
def _kept(folder: WorkFolder, target: Path) -> Generator[None]:
    """Say what is finished when the block ends early, for whatever reason."""
    try:
        yield
    except BaseException:
        if folder.frames:
            log.warning(
                "%s is not finished; its first %d frames are kept, and the same command continues after them",
                target, folder.frames,
            )  # fmt: skip
        raise


def _parts(frames: Iterator[av.VideoFrame], length: Fraction) -> Iterator[Iterator[av.VideoFrame]]:
    """Frames in groups: each has those less than `length` after its first one. To be taken to its end in turn."""
    following = next(frames, None)

    def part(first: av.VideoFrame) -> Iterator[av.VideoFrame]:
        nonlocal following
        end = _pts(first) + length
        for following in chain([first], frames):
            if _pts(following) >= end:
                return
            yield following
        following = None

    while following is not None:
        yield part(following)


def _pts(frame: av.VideoFrame) -> int:
    assert frame.pts is not None
    return frame.pts


def check_size(info: VideoInfo, name: str, max_pixels: int | None) -> None:
    """Refuse a video before its frames take memory.

    Raises:
        VideoFileError: they are larger than is allowed.
    """
    if max_pixels is not None and info.width * info.height > max_pixels:
        raise VideoFileError(
            f"{name} has frames of {info.width} x {info.height} pixels; expected at most {max_pixels}, or a higher "
            "--max-pixels (0 for any)"
        )


def model_identity(upscaler: Upscaler) -> dict[str, str]:
    """A model by what it makes, here, of noise, to the bit: whatever would change the result changes this, too."""
    info, limits = upscaler.info, upscaler.runtime.limits
    sides = (PROBE_SIDE, PROBE_SIDE) if limits is None else limits.nearest(1, PROBE_SIDE, PROBE_SIDE)[1:]
    noise = np.random.default_rng(0).integers(0, 256, (*sides, 3), np.uint8)
    return {
        "model": f"{info.name} x{info.scale} in {upscaler.runtime.name} {upscaler.runtime.precision}",
        "model content": sha256(upscaler.upscale(noise).tobytes()).hexdigest()[:16],
    }


def _wishes(enlargement: Enlargement, options: VideoOptions) -> dict[str, str]:
    wishes = {**asdict(enlargement), "deinterlace": options.deinterlace}
    return {name: str(value) for name, value in wishes.items()}
