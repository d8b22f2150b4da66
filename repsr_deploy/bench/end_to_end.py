"""From file to file: what decoding, upscaling and encoding take, apart and together: `repsr-bench end-to-end`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.machine import describe_machine, warning
from repsr_deploy.bench.pictures import photograph_like
from repsr_deploy.bench.report import Report, Row, utc_now
from repsr_deploy.bench.timing import Timing
from repsr_deploy.bench.upscaling import measure_upscaling, peak_memory_bytes
from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.batch import upscale_files
from repsr_deploy.imaging.folders import Job, find_images
from repsr_deploy.imaging.image_file import FORMATS, read_image, write_image
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.model_info import Precision

Progress = Callable[[str, float], None]
STAGES = ("decode", "upscale", "encode")
PIPELINE = "together, as repsr-upscale"
MIN_ROUNDS = 3
FULL_HD = (1080, 1920)
"""H x W of the picture on which the upscaler is compared with the bare runtime."""
BARE_SHARE = 0.3
"""Of the time, for that comparison."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """With what to upscale, and how long to measure."""

    model: str = "photo-x2"
    runtime: str = "auto"
    precision: Precision | None = None
    """To compute in; None for what the runtime finds best."""
    threads: int = 1
    seconds: float = 20.0
    """For all measurements; every file is done three times at least."""


def measure_end_to_end(files: Sequence[Path], settings: Settings, *, arguments: str, progress: Progress) -> Report:
    """Time every stage over all files, the whole pipeline, the upscaler beside the bare runtime, and memory.

    Args:
        files: images and folders of them. Results go to a temporary folder and are removed.
        arguments: the command line, for the report.

    Raises:
        UsageError: no files are given; an unknown model or runtime; two files of the same name.
        ImageFileError: a file is no image, or a folder holds none.
        RepsrError: the runtime cannot be used.
    """
    if not files:
        raise UsageError("no FILES are given; expected images, or folders of them")
    machine = describe_machine(settings.threads)
    upscaler = Upscaler(
        settings.model, runtime=settings.runtime, precision=settings.precision, threads=settings.threads
    )
    runtime, precision = upscaler.runtime.name, upscaler.runtime.precision
    who = {"model": settings.model, "runtime": runtime, "computes": precision}
    with tempfile.TemporaryDirectory(prefix="repsr-bench-") as folder:
        jobs = [_job(index, image, Path(folder)) for index, image in enumerate(find_images(files).images)]
        rounds_s = (1 - BARE_SHARE) * settings.seconds
        timings, sizes = time_stages(upscaler, jobs, rounds_s, lambda part: progress("files", (1 - BARE_SHARE) * part))
        progress("the bare runtime", 1 - BARE_SHARE)
        bare = measure_upscaling(upscaler, _full_hd(upscaler), seconds=BARE_SHARE * settings.seconds)
        progress("memory", 1.0)
        largest = jobs[sizes.index(max(sizes))]
        options = ["--runtime", runtime, "--precision", precision, "--threads", str(settings.threads)]
        memory = peak_memory_bytes(largest.source, largest.target, settings.model, options)
    pixels = sum(sizes)
    in_turn_s = sum(timings[stage].median_s for stage in STAGES)
    files_text = f"{len(jobs)} files, {pixels / 1e6:,.1f} MP out"
    rows = [
        Row(
            key={"what": stage, "of": files_text, **who},
            timing=timing,
            figures={
                "ms_per_megapixel": timing.median_s * 1e9 / pixels,
                "share": timing.median_s / in_turn_s if stage in STAGES else None,
            },
        )
        for stage, timing in timings.items()
    ]
    hd_pixels = bare.height * bare.width * upscaler.info.scale**2
    hd_text = f"{bare.width}x{bare.height} picture, {hd_pixels / 1e6:,.1f} MP out"
    rows += [
        Row(
            key={"what": name, "of": hd_text, **who},
            timing=timing,
            figures={"ms_per_megapixel": timing.median_s * 1e9 / hd_pixels},
        )
        for name, timing in bare.timings.items()
    ]
    notes = [
        f"one after the other takes {in_turn_s / timings[PIPELINE].median_s:.2f} times as long as together",
        f"the upscaler takes {bare.upscaler_over_session:.3f} times the bare runtime",
        f"repsr-upscale of {largest.source.name} takes {memory / 2**20:,.0f} MiB of resident memory at most",
        *warning(machine),
    ]
    return Report(command="end-to-end", arguments=arguments, created=utc_now(), machine=machine, rows=rows, notes=notes)


def time_stages(
    upscaler: Upscaler, jobs: Sequence[Job], seconds: float, progress: Callable[[float], None]
) -> tuple[dict[str, Timing], list[int]]:
    """Times over all jobs of every stage and of the pipeline, in turns, after one round that does not count.

    Returns:
        Stage -> times of all jobs together, and the pixels that each job writes.

    Raises:
        RepsrError: a job fails.
    """
    times: dict[str, list[float]] = {stage: [] for stage in (*STAGES, PIPELINE)}
    sizes: list[int] = []
    rounds, started = -1, 0.0
    while rounds < MIN_ROUNDS or time.perf_counter() - started < seconds:
        stages_s = dict.fromkeys(STAGES, 0.0)
        sizes.clear()
        for job in jobs:
            marks = [time.perf_counter()]
            image = read_image(job.source)
            marks.append(time.perf_counter())
            output = upscaler.upscale(image)
            marks.append(time.perf_counter())
            write_image(job.target, output)
            marks.append(time.perf_counter())
            sizes.append(output.shape[0] * output.shape[1])
            for stage, start, end in zip(STAGES, marks, marks[1:], strict=False):
                stages_s[stage] += end - start
        begin = time.perf_counter()
        for outcome in upscale_files(upscaler, jobs):
            if outcome.error is not None:
                raise outcome.error
        whole_s = time.perf_counter() - begin
        rounds += 1
        if rounds == 0:
            started = time.perf_counter()
            continue
        for stage, value in {**stages_s, PIPELINE: whole_s}.items():
            times[stage].append(value)
        progress(min(1.0, rounds / MIN_ROUNDS, (time.perf_counter() - started) / seconds))
    return {stage: Timing(tuple(values)) for stage, values in times.items()}, sizes


def _job(index: int, image: Path, folder: Path) -> Job:
    """An image and a target of its own, in the same format."""
    return Job(image, folder / f"{index}{image.suffix if image.suffix.lower() in FORMATS else '.png'}")


def _full_hd(upscaler: Upscaler) -> NDArray[np.uint8]:
    """The picture for the bare runtime, cut to what an engine takes."""
    height, width = FULL_HD
    limits = upscaler.runtime.limits
    if limits is not None:
        height, width = min(height, limits.height[1]), min(width, limits.width[1])
    return photograph_like(height, width)
