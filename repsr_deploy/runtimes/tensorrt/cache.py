"""Engines that were built once: found again by everything that changes them, built again when they are not whole."""

from __future__ import annotations

import logging

from repsr_deploy.runtimes.source import Source, name_of
from repsr_deploy.runtimes.tensorrt.build import Built, Job, plan_job, run_job
from repsr_deploy.runtimes.tensorrt.engine_file import find_record
from repsr_deploy.runtimes.tensorrt.options import BuildOptions, Flavour
from repsr_deploy.runtimes.tensorrt.progress import Progress
from repsr_deploy.runtimes.tensorrt.record import device_slug, record_path, slug
from repsr_kernels.cache_dir import cache_dir, locked

log = logging.getLogger(__name__)

_PROGRAMS = {"tensorrt": "trt", "tensorrt-rtx": "trtrtx"}


def cached_engine(
    model: Source, *, flavour: Flavour, options: BuildOptions | None = None, progress: Progress | None = None
) -> Built:
    """The engine of a model, from the user's cache folder; built first where there is none, or none that is whole.

    One process builds while others that want the same engine wait for it.

    Raises:
        As `build.build_engine`.
    """
    return cached_job(plan_job(model, flavour, options or BuildOptions()), progress)


def cached_job(job: Job, progress: Progress | None = None) -> Built:
    """As `cached_engine`, for a model that was read already."""
    path = cache_dir("engines", engine_name(job))
    with locked(path):
        if path.exists() or record_path(path).exists():
            found = find_record(path)
            if not isinstance(found, str) and found.recipe == job.recipe:
                return Built(path=path, record=found, reused=True)
            why = found if isinstance(found, str) else "was built from something else"
            log.warning("%s %s; building it again", path, why)
        return run_job(job, path, progress)


def engine_name(job: Job) -> str:
    """File name that says what the engine is; its last part tells apart what the others do not say."""
    recipe, info = job.recipe, job.model.info
    shapes = "-".join(dict.fromkeys(map(str, job.options.shapes.all)))
    parts = (
        slug(name_of(job.model.source)), info.precision, info.io, shapes,
        f"{_PROGRAMS[recipe.flavour]}{recipe.version}", device_slug(recipe), recipe.key[:8],
    )  # fmt: skip
    return "_".join(parts) + ".engine"
