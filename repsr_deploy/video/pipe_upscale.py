"""Videos upscaled from a pipe, to a pipe, or both."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from repsr_deploy.imaging.enlargement import Enlargement, result_size
from repsr_deploy.imaging.outcome import Workers
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.video.flow import Flow, enlarger
from repsr_deploy.video.mux import join
from repsr_deploy.video.options import VideoOptions
from repsr_deploy.video.pipe import STANDARD_OUTPUT, PipeSource, PipeTarget, plan_pipe
from repsr_deploy.video.plan import plan_output
from repsr_deploy.video.problems import clock
from repsr_deploy.video.progress import Progress, VideoOutcome, Watch
from repsr_deploy.video.segments import WorkFolder
from repsr_deploy.video.source import SourceFrame, VideoSource
from repsr_deploy.video.upscale import check_size, write_segments

log = logging.getLogger(__name__)


def upscale_to_pipe(
    source: PipeSource | VideoSource,
    target: BinaryIO,
    upscaler: Upscaler,
    enlargement: Enlargement,
    options: VideoOptions,
    *,
    workers: Workers | None = None,
    max_pixels: int | None = None,
    progress: Progress | None = None,
    stopped: threading.Event | None = None,
) -> VideoOutcome:
    """Upscale a video into a stream, frame by frame, as `options.pipe` and `options.pix_fmt` say.

    Args:
        workers, max_pixels, progress: see `upscale_video`.
        stopped: set when the work ends early.

    Raises:
        BrokenPipeError: nobody reads on.
        VideoFileError: the input ends within a frame, raised when those before it are written; or it cannot be read.
        UsageError: an option that does not fit the video.
    """
    info = source.info
    piped = isinstance(source, PipeSource)
    check_size(info, source.name if piped else "the video", max_pixels)
    size = result_size((info.width, info.height), enlargement, upscaler.info.scale)
    output, header = plan_pipe(info, size, options.pipe, options.pix_fmt, source.header if piped else None)
    frames = source.frames() if piped else _said_if_uneven(source.frames(), 1 / (info.rate * info.time_base))
    watch, done = Watch(progress, info.frames), 0
    with Flow(
        frames, enlarger(upscaler, enlargement), output,
        deduplicate=options.deduplicate, workers=workers, stopped=stopped,
    ) as flow:  # fmt: skip
        results = PipeTarget(target, output, header)
        for done, frame in enumerate(flow, 1):
            results.write(frame)
            watch.tell(done, flow.limiting)
    if piped and source.problem is not None:
        raise source.problem
    return watch.outcome(info, output, flow, done)


def upscale_from_pipe(
    source: PipeSource,
    target: Path,
    upscaler: Upscaler,
    enlargement: Enlargement,
    options: VideoOptions,
    *,
    workers: Workers | None = None,
    max_pixels: int | None = None,
    progress: Progress | None = None,
    stopped: threading.Event | None = None,
) -> VideoOutcome:
    """Upscale a stream into a file.

    Nothing of a stream can be read twice, so that this cannot be continued: when it ends early, for whatever reason,
    the target gets the segments that are finished, and the log says so.

    Args:
        workers, max_pixels, progress: see `upscale_video`.
        stopped: set when the work ends early.

    Raises:
        VideoFileError: the stream holds no frame, or ends within one, raised when the target is written.
        UsageError: an option that does not fit the video or the target.
    """
    info = source.info
    check_size(info, source.name, max_pixels)
    size = result_size((info.width, info.height), enlargement, upscaler.info.scale)
    output = plan_output(options, target, info, size)
    watch, whole = Watch(progress, None), False
    flow = Flow(
        source.frames(), enlarger(upscaler, enlargement), output,
        deduplicate=options.deduplicate, workers=workers, stopped=stopped,
    )  # fmt: skip
    with WorkFolder(target, {"input": f"{source.name} of process {os.getpid()} at {time.time_ns()}"}) as folder:
        try:
            with flow:
                done = write_segments(flow, folder, output, options.segment_s, watch)
            whole = source.problem is None
        finally:
            if folder.segments:
                join(folder.segments, output, target, None)
                if not whole:
                    log.warning("%s holds the first %s of the video", target, clock(folder.frames / float(info.rate)))
            folder.remove()
    if source.problem is not None:
        raise source.problem
    return watch.outcome(info, output, flow, done)


def _said_if_uneven(frames: Iterator[SourceFrame], step: Fraction) -> Iterator[SourceFrame]:
    """The frames. Time stamps that are not `step` units apart are said once: they are lost in a pipe."""
    first: int | None = None
    said = False
    for number, frame in enumerate(frames):
        first = frame.pts if first is None else first
        if not said and abs(frame.pts - first - number * step) > step / 2:
            said = True
            log.warning(
                "%s: the frames are not evenly spaced in time, which a pipe cannot say, so they come at a constant "
                "rate; write to a file to keep their times", STANDARD_OUTPUT,
            )  # fmt: skip
        yield frame
