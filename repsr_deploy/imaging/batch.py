"""Pictures from file to file: decoding, upscaling and encoding overlap, and one failure stops no other."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator

from repsr_deploy.imaging.enlargement import Enlargement
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.outcome import AS_THE_MODEL, BatchOptions, Outcome, Workers, Written
from repsr_deploy.imaging.picture_work import PictureWork, Task
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.stages import Pipeline, Stage

__all__ = [
    "LOAD", "LOOK", "PROCESS", "SAVE", "BatchOptions", "Outcome", "Workers", "Written", "capacity_bytes",
    "picture_pipeline", "upscale_files", "workers_for",
]  # fmt: skip

LOOK, LOAD, PROCESS, SAVE = "look", "load", "process", "save"
"""Stages, the first of which is what finds out how large a picture is and whether its result is there."""
LEAST_BYTES, MOST_BYTES = 2**30, 2**33
"""Memory for pictures under way, whatever the machine has."""


def upscale_files(
    upscaler: Upscaler, jobs: Iterable[Job], enlargement: Enlargement = AS_THE_MODEL
) -> Iterator[Outcome]:
    """Outcomes of all jobs, as they end: see `picture_pipeline`."""
    with picture_pipeline(upscaler, jobs, BatchOptions(enlargement=enlargement)) as pipeline:
        yield from pipeline


def picture_pipeline(
    upscaler: Upscaler,
    jobs: Iterable[Job],
    options: BatchOptions | None = None,
    *,
    progress: Callable[[float], None] | None = None,
    ended: Callable[[Outcome], None] | None = None,
) -> Pipeline:
    """A pipeline that reads, upscales and writes every job, and gives an `Outcome` for each as it ends.

    A job fails by what a user can act on (`RepsrError`, no memory, what the system refuses); anything else is a defect
    and ends the pipeline. When it is left early, the pictures under way are given up at the next tile.

    Args:
        progress: called with the pictures processed so far, fractions included, from several threads.
        ended: called with every outcome, from several threads, also of pictures that are finished while the pipeline
            stops, which nobody iterates over any more.
    """
    options = options or BatchOptions()
    workers = options.workers or workers_for(os.cpu_count() or 1)
    stopped = threading.Event()
    work = PictureWork(upscaler, options, progress, ended, stopped)
    return Pipeline(
        map(work.step(LOOK, work.look), map(Task, jobs)),
        [
            Stage(name=LOAD, work=work.step(LOAD, work.load), workers=workers.load),
            Stage(name=PROCESS, work=work.step(PROCESS, work.process), workers=workers.process),
            Stage(name=SAVE, work=work.last_step(SAVE, work.save), workers=workers.save),
        ],
        waiting=1,
        source_name=LOOK,
        weigh=lambda task: task.weight,
        capacity=capacity_bytes(),
        stopped=stopped,
    )


def workers_for(cores: int) -> Workers:
    """Threads that keep so many cores busy: encoding takes longest, decoding a fraction of it, and the runtime that
    upscales has threads of its own."""
    return Workers(load=max(1, cores // 4), process=1, save=cores)


def capacity_bytes() -> int:
    """Memory for pictures under way: a quarter of the machine's, within bounds."""
    if not hasattr(os, "sysconf"):  # Windows
        return 2 * LEAST_BYTES
    return min(max(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4, LEAST_BYTES), MOST_BYTES)
