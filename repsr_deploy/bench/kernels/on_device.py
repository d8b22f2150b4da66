"""Everything that is measured on a GPU, in the order in which it is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from repsr_deploy.bench.kernels.device import Card, measure_copy, measure_operation
from repsr_deploy.bench.kernels.device_cases import (
    PREPARATIONS,
    UPSAMPLINGS,
    Preparation,
    Upsampling,
    preparation_operation,
    upsampling_operation,
)
from repsr_deploy.bench.kernels.device_memory import carry_out
from repsr_deploy.bench.kernels.pipeline import TOGETHER, measure_pipeline, slowest_share
from repsr_deploy.bench.kernels.pipeline_networks import find_networks
from repsr_deploy.bench.kernels.processor import random_features
from repsr_deploy.bench.kernels.steps import read_network
from repsr_deploy.bench.kernels.targets import SIMULATED, fastest_copy, targets_of, without_speeds
from repsr_deploy.bench.kernels.torch_ways import preparation_in_torch, upsampling_in_torch
from repsr_deploy.bench.kernels.ways import Timer, Work, time_by_device, with_share
from repsr_deploy.bench.kernels.whole_network import measure_network
from repsr_deploy.bench.machine import gpu_clocks
from repsr_deploy.bench.pictures import photograph_like
from repsr_deploy.bench.report import Row
from repsr_deploy.bench.target import Target
from repsr_deploy.errors import RepsrError
from repsr_deploy.imaging.samples import planes_from
from repsr_deploy.runtimes import open_runtime
from repsr_kernels.fused_network.model import weights_from
from repsr_kernels.gpu.context import shared_context
from repsr_kernels.gpu.driver import Device, load_driver
from repsr_kernels.gpu.pipeline import GpuPipeline

Progress = Callable[[str, float], None]
MOST_LAUNCHES = 400
"""That are timed at once."""
LARGE_COPY_BYTES = 2**30
WARMUP_SHARE = 0.25
MODEL = "photo-x2"
"""In one kernel, and in pipelines."""
FRAMES = 100
"""That go through a pipeline at once."""
_NOTES = (
    "on the GPU everything is recorded as CUDA graphs of many runs and timed by the GPU's own clock: what it costs the "
    "processor to launch a kernel, or PyTorch's seven, is in no figure",
    "sets of buffers take turns so that none of it is in the GPU's cache, but where `the same memory again` is said",
)


@dataclass(frozen=True, kw_only=True)
class DeviceSettings:
    """What to measure on a GPU, and how long."""

    height: int
    """Of the input, LR pixels."""
    width: int
    scales: tuple[int, ...]
    """The first with every type and layout."""
    seconds: float
    """Of counted rounds for each comparison."""


@dataclass(frozen=True, kw_only=True)
class DeviceFindings:
    """Rows of a GPU, and whether the targets are reached."""

    rows: Sequence[Row]
    targets: Sequence[Target]
    card: Mapping[str, Any]
    """What it is and how it was clocked: plain JSON values."""
    notes: Sequence[str]


def measure_device(device: Device, settings: DeviceSettings, progress: Progress) -> DeviceFindings:
    """Measure the first GPU; of a simulated one everything is verified, and no speed is given.

    Raises:
        ImportError: PyCUDA is not installed.
        CudaError: the GPU fails.
    """
    simulated = device.name.startswith(SIMULATED)
    seconds = 0.0 if simulated else settings.seconds
    timer = partial(time_by_device, seconds=seconds, warmup_s=WARMUP_SHARE * seconds)
    context = shared_context()
    with context.current():
        card = Card(
            context.cuda,
            device.name,
            cache_bytes=0 if simulated else _cache_bytes(context.cuda),
            most_launches=1 if simulated else MOST_LAUNCHES,
        )
        rows: list[Row] = []
        jobs = list(_jobs(card, settings, timer, copy_bytes=2**16 if simulated else LARGE_COPY_BYTES))
        for index, (text, job) in enumerate(jobs):
            progress(f"{device.name}: {text}", index / len(jobs))
            rows += job()
        described = _described(device, card)
    copied = fastest_copy(rows)
    if copied is not None:
        rows = with_share(rows, copied)
    frames = 2 if simulated else FRAMES
    of_network, notes = _network(card, settings, timer, progress, frames=frames, seconds=seconds)
    rows += of_network
    if simulated:
        rows = without_speeds(rows)
    targets = targets_of(rows, _counting(device, settings), slowest_share(rows))
    return DeviceFindings(rows=rows, targets=targets, card=described, notes=[*_NOTES, *notes])


def _network(
    card: Card, settings: DeviceSettings, timer: Timer, progress: Progress, *, frames: int, seconds: float
) -> tuple[list[Row], list[str]]:
    """Rows of a network in one kernel and in pipelines, in every way that is here; and notes."""
    with tempfile.TemporaryDirectory(prefix="repsr-bench-") as scratch:
        try:
            source = read_network(MODEL, Path(scratch))
            frame_hwc = photograph_like(settings.height, settings.width)
            expected_hwc = open_runtime(source.file, "onnxruntime").run_images(frame_hwc[None])[0]
            weights = weights_from(source.file)
            networks = list(find_networks(source, lambda text: progress(text, 1.0)))
        except (RepsrError, ModuleNotFoundError) as error:
            return [], [f"neither a network in one kernel nor the pipeline is measured: {error}"]
        progress(f"{MODEL} in one kernel", 1.0)
        work = _work(card.name, "whole network", f"{MODEL}, one kernel in fp16, uint8 to uint8", settings)
        with shared_context().current():
            rows = measure_network(card, work, weights, frame_hwc, expected_hwc, timer)
        for one in networks:
            work = _work(card.name, "pipeline", f"{MODEL}, {one.name} in {one.precision}", settings)
            progress(f"pipeline, {work.data}", 1.0)
            try:
                with one.open() as network, GpuPipeline(network) as pipeline:
                    rows += measure_pipeline(
                        work, pipeline, frame_hwc, expected_hwc, one.precision, frames=frames, seconds=seconds
                    )
            except (RepsrError, MemoryError) as error:
                rows.append(Row(key=work.key(TOGETHER), failure=str(error) or "not enough memory"))
    nothing = "the pipeline is not measured: no runtime for GPUs is here, nor PyTorch with CUDA"
    return rows, [] if networks else [nothing]


def _jobs(
    card: Card, settings: DeviceSettings, timer: Timer, copy_bytes: int
) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """What each says while it runs, and what finds its rows."""
    yield "copy", partial(measure_copy, card, copy_bytes, timer)
    for scale in settings.scales:
        for case in UPSAMPLINGS if scale == settings.scales[0] else UPSAMPLINGS[:1]:
            yield f"fused_upsample, {case.data(scale)}", partial(_upsampling, card, case, scale, settings, timer)
    for case in PREPARATIONS:
        yield f"preprocess, {case.data}", partial(_preparation, card, case, settings, timer)


def _cache_bytes(cuda: Any) -> int:
    """Of the second level, which all of the GPU shares."""
    return cuda.Context.get_device().get_attribute(cuda.device_attribute.L2_CACHE_SIZE)


def _described(device: Device, card: Card) -> dict[str, Any]:
    return {
        "name": device.name,
        "compute_capability": device.compute_capability,
        "cuda_of_driver": "{}.{}".format(*load_driver().version()),
        "cache_bytes": card.cache_bytes,
        "clocks_after": gpu_clocks(),
    }


def _counting(device: Device, settings: DeviceSettings) -> Work:
    """The upsampling whose speed counts."""
    return _work(device.name, "fused_upsample", UPSAMPLINGS[0].data(settings.scales[0]), settings)


def _work(card: str, what: str, data: str, settings: DeviceSettings) -> Work:
    return Work(where=card, what=what, data=data, size=f"{settings.width}x{settings.height}")


def _upsampling(card: Card, case: Upsampling, scale: int, settings: DeviceSettings, timer: Timer) -> list[Row]:
    image_hwc = photograph_like(settings.height, settings.width)
    features_chw = random_features(settings.height, settings.width, scale)
    operation = upsampling_operation(case, features_chw, image_hwc, scale)
    carry_out(operation)
    in_torch = upsampling_in_torch(case, operation, features_chw, planes_from(image_hwc))
    work = _work(card.name, "fused_upsample", case.data(scale), settings)
    return measure_operation(card, work, operation, in_torch, timer)


def _preparation(card: Card, case: Preparation, settings: DeviceSettings, timer: Timer) -> list[Row]:
    image_hwc = photograph_like(settings.height, settings.width)
    operation = preparation_operation(case, image_hwc)
    carry_out(operation)
    in_torch = preparation_in_torch(case, operation, image_hwc)
    work = _work(card.name, "preprocess", case.data, settings)
    return measure_operation(card, work, operation, in_torch, timer)
