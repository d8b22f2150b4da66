"""The whole measurement: `repsr-bench kernels`."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

from repsr_deploy.bench.kernels import On
from repsr_deploy.bench.kernels.bandwidth import ProcessorCopy
from repsr_deploy.bench.kernels.on_device import DeviceSettings, measure_device
from repsr_deploy.bench.kernels.processor import measure_preprocessing, measure_upsampling
from repsr_deploy.bench.kernels.steps import Forms, export_forms, measure_steps, read_network
from repsr_deploy.bench.kernels.usual import opencv_threads
from repsr_deploy.bench.kernels.ways import Timer, Work, with_share
from repsr_deploy.bench.machine import describe_machine, warning
from repsr_deploy.bench.report import Report, Row, utc_now
from repsr_deploy.bench.timing import time_side_by_side
from repsr_deploy.errors import RepsrError, RuntimeUnavailableError, UsageError
from repsr_deploy.runtimes import ON_PROCESSORS, Candidate, candidates, unavailable
from repsr_deploy.weights import find_model
from repsr_kernels.gpu.context import load_pycuda
from repsr_kernels.gpu.driver import Device, find_device, why_no_device

Progress = Callable[[str, float], None]
PROCESSOR = "processor"
COPY_S = 0.3
"""For the processor's copy, before each group of comparisons."""
WARMUP_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to measure, and how long."""

    on: On = "auto"
    shapes: tuple[tuple[int, int], ...] = ((360, 640), (720, 1280), (1080, 1920))
    """(H, W) of the input, LR pixels; on a GPU the largest."""
    scales: tuple[int, ...] = (2, 3, 4)
    """On a GPU the first with every type and layout."""
    models: tuple[str, ...] = ("photo-x2", "photo-x4")
    """Of whole steps on the processor."""
    threads: int = 1
    seconds: float = 1.0
    """Of counted rounds for each comparison; five rounds at least."""

    def __post_init__(self) -> None:
        if self.on not in get_args(On):
            raise UsageError(f"--on is {self.on!r}; expected {', '.join(get_args(On))}")
        if not self.shapes or min(map(min, self.shapes)) < 1:
            raise UsageError(f"shapes are {self.shapes}; expected (height, width) in pixels, one or more")
        if not self.scales or not set(self.scales) <= {2, 3, 4}:
            raise UsageError(f"scales are {self.scales}; expected some of 2, 3, 4")
        if self.threads < 1 or not self.seconds > 0:
            raise UsageError(f"threads {self.threads}, seconds {self.seconds:g}; expected 1 or more, and more than 0")

    @property
    def timer(self) -> Timer:
        """In turns, by the wall clock."""
        return partial(time_side_by_side, seconds=self.seconds, warmup_s=WARMUP_SHARE * self.seconds)


@dataclass
class _Found:
    """What has been found out up to now."""

    rows: list[Row] = field(default_factory=list[Row])
    notes: list[str] = field(default_factory=list[str])
    settings: dict[str, Any] = field(default_factory=dict[str, Any])


def measure_kernels(settings: Settings, *, arguments: str, progress: Progress) -> Report:
    """Measure the kernels on the processor, on the GPU, or both.

    Args:
        arguments: the command line, for the report.

    Raises:
        UsageError: a model is no file.
        RuntimeUnavailableError: a GPU is asked for, and there is none.
    """
    for model in settings.models:
        find_model(model)  # a mistake is said before minutes of measurement
    machine = describe_machine(settings.threads)
    device = find_device()
    if settings.on == "gpu" and device is None:
        raise RuntimeUnavailableError(
            f"no GPU to measure on: {why_no_device()}; leave --on away to measure the processor"
        )
    found = _Found()
    if settings.on != "gpu":
        _measure_processor(settings, found, progress)
    if settings.on != "processor" and device is not None:
        _measure_device(settings, device, found, progress)
    elif settings.on == "auto":
        found.notes.append(
            f"no GPU is measured: {why_no_device()}; where there is one, `scripts/gpu_check` measures it"
        )
    return Report(
        command="kernels",
        arguments=arguments,
        created=utc_now(),
        machine=machine,
        settings={"seconds": settings.seconds, **found.settings},
        rows=found.rows,
        notes=[*warning(machine), *dict.fromkeys(found.notes)],
    )


def _measure_device(settings: Settings, device: Device, found: _Found, progress: Progress) -> None:
    height, width = max(settings.shapes, key=math.prod)
    wanted = DeviceSettings(height=height, width=width, scales=settings.scales, seconds=settings.seconds)
    try:
        load_pycuda()
    except ImportError as error:
        reason = (
            f"{device.name} is not measured: PyCUDA is missing ({error}); `pip install pycuda`, beside CUDA's toolkit"
        )
        if settings.on == "gpu":
            raise RuntimeUnavailableError(reason) from error
        found.notes.append(reason)
        return
    findings = measure_device(device, wanted, progress)
    found.rows += findings.rows
    found.notes += [*findings.notes, *map(str, findings.targets)]
    found.settings |= {"targets": [target.to_dict() for target in findings.targets], "gpu": findings.card}


def _measure_processor(settings: Settings, found: _Found, progress: Progress) -> None:
    copy = ProcessorCopy(settings.threads)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="repsr-bench-") as scratch, opencv_threads(settings.threads):
        jobs = [*_kernel_jobs(settings), *_step_jobs(settings, Path(scratch), found, lambda text: progress(text, 0.0))]
        for index, (text, job) in enumerate(jobs):
            progress(text, index / len(jobs))
            copy.measure(min(COPY_S, settings.seconds))
            rows += job()
    copied = Work(where=PROCESSOR, what="copy", data=f"{copy.size / 2**20:,.0f} MiB", size="")
    by = f"memcpy, {copy.threads} threads" if copy.threads > 1 else "memcpy, 1 thread"
    rate: dict[str, float | None] = {"useful_bytes_per_s": copy.bytes_per_s}
    found.rows += with_share([*rows, Row(key=copied.key(by), timing=copy.timing, figures=rate)], copy.bytes_per_s)


Job = tuple[str, Callable[[], Sequence[Row]]]
"""What it says while it runs, and what it finds."""


def _kernel_jobs(settings: Settings) -> Iterator[Job]:
    """Both kernels at every size."""
    common = {"where": PROCESSOR, "threads": settings.threads, "timer": settings.timer}
    for height, width in settings.shapes:
        yield f"preprocess, {width}x{height}", partial(measure_preprocessing, height, width, **common)
        for scale in settings.scales:
            text = f"fused_upsample x{scale}, {width}x{height}"
            yield text, partial(measure_upsampling, height, width, scale, **common)


def _step_jobs(settings: Settings, scratch: Path, found: _Found, say: Callable[[str], None]) -> Iterator[Job]:
    """Every model in every runtime and precision at every size; a model that cannot be exported is a note."""
    found.notes += [f"{name} is not measured: {why}" for name, why in unavailable().items() if name in ON_PROCESSORS]
    for model in settings.models:
        try:
            forms = export_forms(read_network(model, scratch), say)
        except (RepsrError, ModuleNotFoundError) as error:
            found.notes.append(f"whole steps of {model} are not measured: {error}")
            continue
        known = candidates(forms.source.info, forms.source.file)
        able = [one for one in known if one.runtime in ON_PROCESSORS]
        for (height, width), candidate in itertools.product(settings.shapes, able):
            text = f"{model}, {candidate}, {width}x{height}"
            yield text, partial(_steps, forms, height, width, candidate, settings, found)


def _steps(forms: Forms, height: int, width: int, candidate: Candidate, settings: Settings, found: _Found) -> list[Row]:
    try:
        return measure_steps(
            forms, height, width, candidate, where=PROCESSOR, threads=settings.threads, timer=settings.timer
        )
    except (RepsrError, MemoryError) as error:
        found.notes.append(f"{forms.source.model}, {candidate} at {width}x{height} is not measured: {error}")
        return []
