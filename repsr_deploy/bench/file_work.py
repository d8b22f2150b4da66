"""What `repsr-bench end-to-end` times: a picture, a folder and a video, each in several ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsr_deploy.bench.stages_apart import StagesApart
from repsr_deploy.imaging.batch import BatchOptions, Workers, picture_pipeline
from repsr_deploy.imaging.enlargement import Enlargement
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.image_file import read_image
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.video.options import VideoOptions

if TYPE_CHECKING:
    from repsr_deploy.bench.plain_script import PlainScript

OURS, PLAIN, APART = "repsr-upscale", "plain script", "stages in turn"
CODEC, PIX_FMT = "h264", "yuv420p"


@dataclass(frozen=True)
class Way:
    """One way to do the work."""

    run: Callable[[], Any]
    limiting: Callable[[], str]
    """The stage that takes longest; after a run."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """The same files for all ways."""

    what: str
    pixels: int
    """Of output."""
    ways: Mapping[str, Way]
    stages: StagesApart | None = None
    """Behind the way `APART`."""


def picture_work(upscaler: Upscaler, jobs: Sequence[Job], plain: PlainScript | None, workers: Workers) -> Work:
    """Pictures from file to file, as `repsr-upscale` does them; several are a folder, with its stages in turn.

    Raises:
        RepsrError: one cannot be read, or two are written to one file.
    """
    shapes = [read_image(job.source).shape for job in jobs]
    limiting = ""

    def ours() -> None:
        nonlocal limiting
        with picture_pipeline(upscaler, jobs, BatchOptions(workers=workers)) as pipeline:
            for outcome in pipeline:
                if outcome.error is not None:
                    raise outcome.error
            limiting = pipeline.limiting

    ways: dict[str, Way] = {OURS: Way(ours, lambda: limiting)}
    if plain is not None:
        ways[PLAIN] = Way(lambda: [plain.picture(job.source, job.target) for job in jobs], lambda: plain.limiting)
    stages = StagesApart(upscaler, jobs, workers) if len(jobs) > 1 else None
    if stages is not None:
        ways[APART] = Way(stages, lambda: stages.limiting)
    return Work(
        what=f"folder of {len(jobs)}" if len(jobs) > 1 else f"picture {shapes[0][1]}x{shapes[0][0]}",
        pixels=sum(shape[0] * shape[1] for shape in shapes) * upscaler.info.scale**2,
        ways=ways,
        stages=stages,
    )


def video_work(upscaler: Upscaler, source: Path, folder: Path, plain: PlainScript | None) -> Work:
    """A video from file to file, both ways with the encoder, the quality and the pixels that `repsr-upscale` takes.

    Raises:
        RepsrError: it cannot be read, or H.264 cannot be written.
    """
    from repsr_deploy.bench.plain_script import VideoEncoding
    from repsr_deploy.video.plan import plan_output
    from repsr_deploy.video.source import open_video
    from repsr_deploy.video.upscale import upscale_video

    options = VideoOptions(codec=CODEC, restart=True)
    target = folder / f"{source.stem}.mkv"
    with open_video(source) as video:
        info, frames = video.info, sum(1 for _ in video.frames())
    scale = upscaler.info.scale
    output = plan_output(options, target, info, (info.width * scale, info.height * scale))
    limiting = ""

    def ours() -> None:
        nonlocal limiting
        limiting = upscale_video(source, target, upscaler, Enlargement(), options).limiting

    ways = {OURS: Way(ours, lambda: limiting)}
    if plain is not None:
        encoding = VideoEncoding(encoder=output.encoder, pix_fmt=output.pix_fmt, options=output.options)
        ways[PLAIN] = Way(lambda: plain.video(source, folder / "plain.mkv", encoding), lambda: plain.limiting)
    return Work(
        what=f"video {info.width}x{info.height}, {frames} frames",
        pixels=frames * output.width * output.height,
        ways=ways,
    )
