"""Images from file to file: one failure stops no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from repsr_deploy.errors import RepsrError
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.image_file import QUALITY, read_picture, write_image
from repsr_deploy.imaging.upscaler import Upscaler


@dataclass(frozen=True)
class Outcome:
    """How one job ended."""

    job: Job
    error: RepsrError | None = None
    """Why it failed; None when the target is written."""
    size: tuple[int, int] = (0, 0)
    """(width, height) read."""
    new_size: tuple[int, int] = (0, 0)
    """(width, height) written."""
    seconds: float = 0.0
    """Reading, upscaling and writing."""


def upscale_files(
    upscaler: Upscaler,
    jobs: Sequence[Job],
    *,
    factor: float | None = None,
    quality: int = QUALITY,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Outcome]:
    """Read, upscale and write every job in turn; colour profiles are kept.

    Args:
        factor, quality: see `Upscaler.upscale` and `write_image`.
        progress: called with the jobs done so far, fractions included.
    """
    for index, job in enumerate(jobs):

        def report(done: int, total: int, index: int = index) -> None:
            if progress is not None:
                progress(index + done / total)

        start = time.perf_counter()
        try:
            picture = read_picture(job.source)
            image = picture.image_hwc
            output = upscaler.upscale(image, factor=factor, progress=report)
            write_image(job.target, output, quality=quality, icc_profile=picture.icc_profile)
        except RepsrError as error:
            yield Outcome(job, error)
        except MemoryError:
            yield Outcome(job, RepsrError(f"no memory to upscale {job.source}; choose a smaller factor or image"))
        else:
            sizes = (image.shape[1], image.shape[0]), (output.shape[1], output.shape[0])
            yield Outcome(job, None, *sizes, time.perf_counter() - start)
