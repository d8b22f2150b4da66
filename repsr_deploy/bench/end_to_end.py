"""From file to file: pictures, folders, video; beside a plain script and the stages alone: `repsr-bench end-to-end`."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.file_work import APART, OURS, PLAIN, Work, picture_work, video_work
from repsr_deploy.bench.machine import describe_machine, warning
from repsr_deploy.bench.pictures import photograph_like
from repsr_deploy.bench.report import Report, Row, utc_now
from repsr_deploy.bench.timing import Timing, time_side_by_side
from repsr_deploy.bench.upscaling import measure_upscaling, peak_memory_bytes
from repsr_deploy.bench.verify import least_db, psnr_db
from repsr_deploy.errors import ProofError, UsageError
from repsr_deploy.imaging.batch import Workers, workers_for
from repsr_deploy.imaging.folders import EXTENSIONS, Job, find_images
from repsr_deploy.imaging.kinds import is_video
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes import AUTO, unavailable
from repsr_deploy.weights import find_model

if TYPE_CHECKING:
    from repsr_deploy.bench.plain_script import PlainScript

Progress = Callable[[str, float], None]
MIN_ROUNDS = 3
FULL_HD = (1080, 1920)
"""H x W of the picture on which the upscaler is compared with the bare runtime."""
CLIP = (640, 360, 96)
"""Width, height and frames of the video that is made when none is given."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """With what to upscale, and how long to measure."""

    model: str = "photo-x2"
    runtime: str = AUTO
    precision: Precision | None = None
    """To compute in; None for what the runtime finds best."""
    threads: int = 1
    seconds: float = 20.0
    """For all measurements; everything is done three times at least, after two rounds that do not count."""
    workers: Workers | None = None
    """Threads of the stages of a folder; None for what `repsr-upscale` takes."""
    plain: bool = False
    """Beside a plain script of spandrel, PyTorch and OpenCV."""
    video: bool = True


def measure_end_to_end(files: Sequence[Path], settings: Settings, *, arguments: str, progress: Progress) -> Report:
    """Time the largest picture, all pictures, and videos, in turns with other ways to do the same.

    Args:
        files: pictures, videos and folders of them. Results go to a temporary folder and are removed.
        arguments: the command line, for the report.

    Raises:
        UsageError: no files are given; an unknown model or runtime; a package is missing.
        ImageFileError: a file is no image, or a folder holds none.
        ProofError: the plain script gives another picture.
        RepsrError: the runtime cannot be used.
    """
    if not files:
        raise UsageError("no FILES are given; expected pictures, or folders of them")
    machine = describe_machine(settings.threads)
    upscaler = Upscaler(
        settings.model, runtime=settings.runtime, precision=settings.precision, threads=settings.threads
    )
    runtime, precision = upscaler.runtime.name, upscaler.runtime.precision
    who = {"model": settings.model, "runtime": runtime, "computes": precision}
    with tempfile.TemporaryDirectory(prefix="repsr-bench-") as name:
        folder = Path(name)
        plain = _plain_script(settings, upscaler, folder) if settings.plain else None
        found = find_images(files, videos=True).images
        videos = [path for path in found if is_video(path)]
        pictures = [path for path in found if path not in videos]
        works = _works(upscaler, pictures, videos, folder, plain, settings)
        share = 1 / (len(works) + 1)
        rows: list[Row] = []
        for index, work in enumerate(works):
            progress(work.what, index * share)
            rows += measure(work, who, share * settings.seconds)
        progress("the bare runtime", len(works) * share)
        bare = measure_upscaling(upscaler, _full_hd(upscaler), seconds=share * settings.seconds)
        notes = [f"the upscaler takes {bare.upscaler_over_session:.3f} times the bare runtime"]
        if settings.runtime == AUTO and (missed := unavailable(find_model(settings.model)).get("native")):
            notes.append(f"native takes no part: {missed}")
        if pictures:
            largest = max(pictures, key=_file_bytes)
            options = ["--runtime", runtime, "--precision", precision, "--threads", str(settings.threads)]
            memory = peak_memory_bytes(largest, folder / "largest.png", settings.model, options)
            notes.append(f"repsr-upscale of {largest.name} takes {memory / 2**20:,.0f} MiB of resident memory at most")
        progress("done", 1.0)
    pixels = bare.height * bare.width * upscaler.info.scale**2
    what = f"picture {bare.width}x{bare.height}, in memory"
    rows += [
        Row(key={"what": what, "way": way, "limited by": "", **who}, timing=timing, figures={**_speed(timing, pixels)})
        for way, timing in bare.timings.items()
    ]
    notes += warning(machine)
    return Report(command="end-to-end", arguments=arguments, created=utc_now(), machine=machine, rows=rows, notes=notes)


def measure(work: Work, who: Mapping[str, str], seconds: float) -> list[Row]:
    """A row for each way to do the work, and for each stage of it alone.

    Raises:
        RepsrError: the work fails.
    """
    busy_s: list[float] = []

    def ours() -> None:
        before = time.process_time()
        work.ways[OURS].run()
        busy_s.append(time.process_time() - before)

    runs = {name: way.run for name, way in work.ways.items()} | {OURS: ours}
    timings = time_side_by_side(runs, seconds=seconds, min_rounds=MIN_ROUNDS, warmup_s=0.0)
    figures: dict[str, dict[str, float | None]] = {name: {} for name in timings}
    if PLAIN in timings:
        for name in (OURS, PLAIN):
            figures[name]["times_plain"] = timings[PLAIN].median_s / timings[name].median_s
    times_s = timings[OURS].times_s
    figures[OURS]["cores_share"] = sum(busy_s[-len(times_s) :]) / sum(times_s) / (os.cpu_count() or 1)
    limiting = {name: way.limiting() for name, way in work.ways.items()}
    if work.stages is not None:
        alone = work.stages.timings(len(timings[APART].times_s))
        slowest_s = max(timing.median_s for timing in alone.values())
        figures[OURS]["stage_share"] = slowest_s / timings[OURS].median_s
        timings |= {f"{stage} alone": timing for stage, timing in alone.items()}
    return [
        Row(
            key={"what": work.what, "way": name, "limited by": limiting.get(name, ""), **who},
            timing=timing,
            figures={**_speed(timing, work.pixels), **figures.get(name, {})},
        )
        for name, timing in timings.items()
    ]


def _speed(timing: Timing, pixels: int) -> dict[str, float]:
    return {"megapixels_per_s": pixels / 1e6 / timing.median_s, "ms_per_megapixel": timing.median_s * 1e9 / pixels}


def _works(
    upscaler: Upscaler,
    pictures: Sequence[Path],
    videos: Sequence[Path],
    folder: Path,
    plain: PlainScript | None,
    settings: Settings,
) -> list[Work]:
    """The largest picture, all pictures, and each video; one is made where none is given."""
    jobs = [Job(path, folder / f"{index}{_ending(path)}") for index, path in enumerate(pictures)]
    works: list[Work] = []
    workers = settings.workers or workers_for(os.cpu_count() or 1)
    if jobs:
        works.append(picture_work(upscaler, [max(jobs, key=lambda job: _file_bytes(job.source))], plain, workers))
    if len(jobs) > 1:
        works.append(picture_work(upscaler, jobs, plain, workers))
    if settings.video and not videos:
        from repsr_deploy.bench.clip import write_clip

        width, height, frames = CLIP
        videos = [folder / "clip.mp4"]
        write_clip(videos[0], width=width, height=height, frames=frames)
    return [*works, *(video_work(upscaler, path, folder, plain) for path in videos)]


def _plain_script(settings: Settings, upscaler: Upscaler, folder: Path) -> PlainScript:
    """The script with the weights of the model, seen to give the same picture."""
    from repsr_deploy.bench.plain_script import PlainScript, write_checkpoint

    checkpoint = folder / "plain.pth"
    write_checkpoint(find_model(settings.model), checkpoint)
    plain = PlainScript(checkpoint, threads=settings.threads)
    image = photograph_like(120, 160)
    made = plain.upscale(np.ascontiguousarray(image[..., ::-1]))[..., ::-1]
    apart_db, least = psnr_db(upscaler.upscale(image), made), least_db(upscaler.runtime.precision, rounded=True)
    if not apart_db >= least:
        raise ProofError(f"the plain script gives another picture: {apart_db:.1f} dB, not {least:.0f} or more")
    return plain


def _file_bytes(path: Path) -> int:
    """0 of a file that is missing: what reads it will say so."""
    return path.stat().st_size if path.is_file() else 0


def _ending(path: Path) -> str:
    return path.suffix if path.suffix.lower()[1:] in EXTENSIONS else ".png"


def _full_hd(upscaler: Upscaler) -> NDArray[np.uint8]:
    """The picture for the bare runtime, cut to what an engine takes."""
    height, width = FULL_HD
    limits = upscaler.runtime.limits
    if limits is not None:
        height, width = min(height, limits.height[1]), min(width, limits.width[1])
    return photograph_like(height, width)
