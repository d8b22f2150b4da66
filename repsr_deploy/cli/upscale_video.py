"""`repsr-upscale` for videos in files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from repsr_deploy.cli.printable import printable
from repsr_deploy.cli.upscale_request import Request
from repsr_deploy.cli.video_bar import video_bar
from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.outcome import Outcome
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.video.preview import preview_video
from repsr_deploy.video.progress import VideoOutcome
from repsr_deploy.video.upscale import upscale_video
from repsr_deploy.video.whole import is_whole

log = logging.getLogger(__name__)


def upscale_videos(request: Request, jobs: Sequence[Job]) -> Iterator[Outcome]:
    """Upscale videos one after the other, each when it is asked for; one that fails does not stop the others.

    Raises, at once:
        UsageError: options that say nothing about videos.
        RuntimeUnavailableError, ModelFileError: no model.
    """
    check_video_request(request)
    refuse("says what standard input holds, and the input is a file", {"--raw": request.video.raw is not None})
    refuse("is for standard output, and the output is a file", {"--pipe": request.video.pipe != "y4m"})
    upscaler = request.model.open(request.enlargement.factor)
    return (_outcome(request, upscaler, job) for job in jobs)


def check_video_request(request: Request) -> None:
    """Refuse options that would be without effect on a video.

    Raises:
        UsageError: so it is.
    """
    refuse("shows pictures; for a video, expected --preview SECONDS", {"--compare": request.compare})
    refuse(
        "is for pictures; for a video, expected --pix-fmt, as yuv420p10le",
        {"--depth": request.enlargement.depth != "auto"},
    )


def refuse(why: str, given: Mapping[str, bool]) -> None:
    """Refuse options that are given.

    Raises:
        UsageError: one is.
    """
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} {why}; leave it out")


def _outcome(request: Request, upscaler: Upscaler, job: Job) -> Outcome:
    if request.skip_existing and is_whole(job.target):
        return Outcome(job, skipped=True)
    try:
        made = _upscaled(request, upscaler, job)
    except RepsrError as error:
        return Outcome(job, error)
    except MemoryError:
        return Outcome(job, RepsrError(f"no memory to upscale {job.source}; choose a smaller factor, or -j 1:1:1"))
    return Outcome(job, None, made.size, made.new_size, made.seconds)


def _upscaled(request: Request, upscaler: Upscaler, job: Job) -> VideoOutcome:
    upscale = upscale_video
    if request.video.preview_s is not None:
        upscale = partial(preview_video, seconds=request.video.preview_s)
    with video_bar(job.source.name) as progress:
        made = upscale(
            job.source, job.target, upscaler, request.enlargement, request.video,
            workers=request.workers, max_pixels=request.max_pixels, progress=progress,
        )  # fmt: skip
    say(str(job.source), str(job.target), made)
    return made


def say(source: str, target: str, made: VideoOutcome) -> None:
    """What became of a video, as a line of the log."""
    resumed = f" ({made.resumed_frames} of an earlier run)" if made.resumed_frames else ""
    repeated = f", {made.repeated_frames} repeated" if made.repeated_frames else ""
    limited = f", limited by: {made.limiting}" if made.limiting else ""
    log.info(
        "%s %dx%d -> %s %dx%d: %d frames%s%s in %.2f s, %.3g fps, %s %s%s", printable(source), *made.size,
        printable(target), *made.new_size, made.frames, resumed, repeated, made.seconds, made.rate, made.encoder,
        made.pix_fmt, limited,
    )  # fmt: skip
