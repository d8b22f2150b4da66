"""Builds engines: ONNX model in, `.engine` file and its record out, whole or not at all."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repsr_deploy.errors import RepsrError
from repsr_deploy.files import sha256, write_bytes, write_text
from repsr_deploy.runtimes.source import Source
from repsr_deploy.runtimes.tensorrt.api import Api, load
from repsr_deploy.runtimes.tensorrt.model import OnnxModel, read_model
from repsr_deploy.runtimes.tensorrt.network import add_profile, parse_model
from repsr_deploy.runtimes.tensorrt.options import BuildOptions, Flavour
from repsr_deploy.runtimes.tensorrt.precision import check_network_types, network_types
from repsr_deploy.runtimes.tensorrt.progress import Progress, make_monitor, run_stoppable
from repsr_deploy.runtimes.tensorrt.record import EngineRecord, Recipe, device_slug, record_path
from repsr_kernels.cache_dir import cache_dir
from repsr_kernels.gpu.driver import find_device

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Built:
    """An engine on disk."""

    path: Path
    record: EngineRecord
    reused: bool = False
    """Whether it was there already."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """An engine to be built: everything is read and checked, nothing built yet."""

    api: Api
    model: OnnxModel
    options: BuildOptions
    recipe: Recipe


def build_engine(
    model: Source,
    out: Path,
    *,
    flavour: Flavour,
    options: BuildOptions | None = None,
    progress: Progress | None = None,
) -> Built:
    """Build an engine from a model file, or from the content of one, and write it to `out`, its record beside it.

    It computes in the types of the graph. TensorRT builds on the GPU that will run it; TensorRT for RTX needs none.

    Args:
        progress: called with the share that is done and what is being done, from another thread.

    Raises:
        RuntimeUnavailableError: TensorRT is not installed, or it needs a GPU and finds none.
        UsageError: options that this flavour does not have, or shapes that the model does not take.
        ModelFileError: no model, one that TensorRT does not understand, or one whose types are not what it says.
        MemoryError: the GPU has no memory for the build.
        RepsrError: the build failed, or the file cannot be written.
        KeyboardInterrupt: the build was interrupted; nothing was written.
    """
    return run_job(plan_job(model, flavour, options or BuildOptions()), out, progress)


def plan_job(model: Source, flavour: Flavour, options: BuildOptions) -> Job:
    """Read the model and find TensorRT; raises as `build_engine` does."""
    options.check_for(flavour)
    api = load(flavour)
    read = read_model(model)
    recipe = Recipe.of(read.digest, read.info, flavour, api.version, options, find_device())
    return Job(api=api, model=read, options=options, recipe=recipe)


def run_job(job: Job, out: Path, progress: Progress | None = None) -> Built:
    """Build and write; raises as `build_engine` does."""
    start = time.perf_counter()
    builder = job.api.create_builder()
    network = parse_model(job.api, builder, job.model)
    types = network_types(job.api.trt, network)
    check_network_types(job.model.label, job.model.info.precision, types)
    plan = _build(job, builder, network, progress or (lambda share, phase: None))
    record = EngineRecord(
        recipe=job.recipe,
        plan_sha256=sha256(plan),
        plan_bytes=len(plan),
        convolutions=dict(sorted(types.items())),
        build_s=round(time.perf_counter() - start, 3),
    )
    write_bytes(out, plan)
    write_text(record_path(out), record.to_json())
    return Built(path=out, record=record)


def _build(job: Job, builder: Any, network: Any, progress: Progress) -> bytes:
    api = job.api
    config = builder.create_builder_config()
    api.apply(config, job.options)
    add_profile(api, builder, config, network, job.model, job.options.shapes)
    timing_cache = _timing_cache(job) if api.times_kernels else None
    if timing_cache is not None:
        _load_timing_cache(api, config, timing_cache)
    cancelled = threading.Event()
    config.progress_monitor = make_monitor(api.trt, progress, cancelled)
    plan = run_stoppable(lambda: builder.build_serialized_network(network, config), cancelled)
    if plan is None:
        reason = api.errors()
        if "OutOfMemory" in reason or "out of memory" in reason.lower():
            raise MemoryError(f"{api.program} has no memory to build {job.model.label}: {reason}")
        raise RepsrError(f"{api.program} cannot build an engine from {job.model.label}: {reason}")
    if timing_cache is not None:
        write_bytes(timing_cache, bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def _timing_cache(job: Job) -> Path:
    """Kernels are timed on one kind of GPU by one version."""
    name = f"{job.api.flavour}-{job.api.version}-{device_slug(job.recipe)}.timing"
    return job.options.timing_cache or cache_dir("timing", name)


def _load_timing_cache(api: Api, config: Any, path: Path) -> None:
    """Use the measurements of earlier builds; of a damaged file TensorRT makes an empty cache by itself."""
    content = path.read_bytes() if path.is_file() else b""
    if not config.set_timing_cache(config.create_timing_cache(content), ignore_mismatch=False):
        log.warning("timing cache %s is of another version or GPU (%s); starting a new one", path, api.errors())
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
