"""The start of a video, before and after side by side: to see what hours of work would give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, inf
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from repsr_deploy.imaging.enlargement import Enlargement, result_size
from repsr_deploy.imaging.outcome import Workers
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.metrics.resize import imresize
from repsr_deploy.video.flow import Enlarge, Flow, enlarger
from repsr_deploy.video.mux import join
from repsr_deploy.video.options import VideoOptions
from repsr_deploy.video.plan import plan_output
from repsr_deploy.video.progress import Progress, VideoOutcome, Watch
from repsr_deploy.video.segments import WorkFolder
from repsr_deploy.video.source import SourceFrame, open_video
from repsr_deploy.video.upscale import check_size, write_segments


def preview_video(
    source: Path,
    target: Path,
    upscaler: Upscaler,
    enlargement: Enlargement,
    options: VideoOptions,
    *,
    seconds: float,
    workers: Workers | None = None,
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> VideoOutcome:
    """Write the first seconds of a video twice as wide, without sound: left by bicubic interpolation, right upscaled.

    Args and errors are those of `upscale_video`. The outcome's `new_size` is that of both together.
    """
    with open_video(source, deinterlace=options.deinterlace) as video, TemporaryDirectory() as folder:
        info = video.info
        check_size(info, str(source), max_pixels)
        width, height = result_size((info.width, info.height), enlargement, upscaler.info.scale)
        output = plan_output(options, target, info, (2 * width, height))
        watch = Watch(progress, None if info.frames is None else min(info.frames, ceil(seconds * info.rate)))
        frames = _beginning(video.frames(), seconds / float(info.time_base))
        enlarge = side_by_side(enlarger(upscaler, enlargement), enlargement)
        with (
            WorkFolder(Path(folder) / target.name, {}) as parts,
            Flow(frames, enlarge, output, deduplicate=options.deduplicate, workers=workers) as flow,
        ):
            done = write_segments(flow, parts, output, seconds, watch)
            join(parts.segments, output, target, None)
    return watch.outcome(info, output, flow, done)


def side_by_side(enlarge: Enlarge, enlargement: Enlargement) -> Enlarge:
    """A picture enlarged by bicubic interpolation, and right of it as `enlarge` makes it."""

    def both(image: Image, abandoned: Callable[[], bool]) -> Image:
        after = enlarge(image, abandoned)
        return np.concatenate([_plainly_enlarged(image, after.shape[:2], enlargement), after], axis=1)

    return both


def _plainly_enlarged(image: Image, size: tuple[int, int], enlargement: Enlargement) -> Image:
    """By bicubic interpolation to (height, width), the same part of the picture as the network's result."""
    height, width = size
    if enlargement.fit != "cover":
        return imresize(image, output_size=size)
    whole = [
        result_size((image.shape[1], image.shape[0]), side, 1)
        for side in (Enlargement(width=width), Enlargement(height=height))
    ]
    wide, high = next(sides for sides in whole if sides[0] >= width and sides[1] >= height)
    top, left = (high - height) // 2, (wide - width) // 2
    return imresize(image, output_size=(high, wide))[top : top + height, left : left + width]


def _beginning(frames: Iterator[SourceFrame], length: float) -> Iterator[SourceFrame]:
    """Frames less than `length` after the first one, in units of their time stamps."""
    end = inf
    for frame in frames:
        end = min(end, frame.pts + length)
        if frame.pts >= end:
            return
        yield frame
