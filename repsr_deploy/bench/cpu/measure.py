"""The whole measurement: `repsr-bench cpu`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from repsr_deploy.bench.cpu.contestants import NATIVE, OTHERS, Contestant, Engine, find_contestants, find_engine
from repsr_deploy.bench.cpu.figures import rows_of
from repsr_deploy.bench.cpu.heat import Entry, run_heat
from repsr_deploy.bench.cpu.memory import memory_row
from repsr_deploy.bench.cpu.models import Model, read_model
from repsr_deploy.bench.cpu.peaks import Peaks, clock_notes
from repsr_deploy.bench.cpu.profile import profile
from repsr_deploy.bench.cpu.targets import LARGE, WIDER, WIDEST, targets_of
from repsr_deploy.bench.machine import describe_machine, warning
from repsr_deploy.bench.report import Report, Row, utc_now
from repsr_deploy.errors import UsageError

Progress = Callable[[str, float], None]
MODELS = ("photo-x2", "photo-x4", *WIDER, WIDEST)
PEAK_S = 0.05
"""For each instruction and each matrix product, before every heat."""
_END = 0.95
"""Of the progress, when all is timed."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to measure, and how long."""

    models: tuple[str, ...] = MODELS
    """The first at every shape, with one thread and PyTorch's compiler, too, and in memory; the others at the first."""
    shapes: tuple[tuple[int, int], ...] = ((360, 640), (720, 1280), (1080, 1920))
    """(H, W) of the input, LR pixels."""
    instruction_sets: tuple[str, ...] = ()
    """That the engine is made to use, beside the best."""
    threads: int = 1
    seconds: float = 5.0
    """Of counted rounds for each model and shape; three to five rounds at least."""
    memory: tuple[int, int] | None = LARGE
    """(H, W) of the picture on which memory is measured; None to leave that out."""
    compiled: bool = True
    """Whether PyTorch's compiler takes part, for the first model; it takes seconds for each size and precision."""
    profile: bool = False
    """Whether to say where the engine's time goes."""

    def __post_init__(self) -> None:
        if not self.models:
            raise UsageError("no models are given; expected bundled names, .onnx files, or such as plain-m16c64-x2")
        if not self.shapes or min(map(min, self.shapes)) < 1:
            raise UsageError(f"shapes are {self.shapes}; expected (height, width) in pixels, one or more")
        if self.threads < 1 or not self.seconds > 0:
            raise UsageError(f"threads {self.threads}, seconds {self.seconds:g}; expected 1 or more, and more than 0")


@dataclass
class _Found:
    """What has been found out up to now."""

    rows: list[Row] = field(default_factory=list[Row])
    notes: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class _Job:
    """A model at one size."""

    model: Model
    height: int
    width: int
    contestants: Sequence[Contestant]

    @property
    def size(self) -> str:
        """As in a row's key."""
        return f"{self.width}x{self.height}"

    @property
    def macs(self) -> int | None:
        """Multiply-adds of the picture."""
        per_pixel = self.model.macs_per_pixel
        return None if per_pixel is None else per_pixel * self.height * self.width


def measure_cpu(settings: Settings, *, arguments: str, progress: Progress) -> Report:
    """Measure every model in the engine and in every other runtime of processors, pictures to pictures.

    Args:
        arguments: the command line, for the report.

    Raises:
        UsageError: a model or an instruction set that there is not.
        RepsrError: a model cannot be read, or ONNX Runtime cannot run the reference.
    """
    machine = describe_machine(settings.threads)
    engine, notes = find_engine()
    found = _Found(notes=notes)
    engine.chosen(settings.instruction_sets)  # a mistake is said before minutes of measurement
    with tempfile.TemporaryDirectory(prefix="repsr-bench-") as scratch:
        jobs = _jobs(settings, engine, Path(scratch), found, lambda text: progress(text, 0.0))
        peaks = Peaks([one for job in jobs for one in job.contestants], settings.threads)
        found.rows += _time(jobs, peaks, settings, progress)
        if settings.memory is not None:
            found.rows += _memory_rows(jobs[0], found.rows, settings.memory, lambda text: progress(text, _END))
        if settings.profile and engine.instruction_sets:
            progress("where the time goes", _END)
            height, width = settings.shapes[len(settings.shapes) // 2]
            found.notes += profile(jobs[0].model, engine, peaks, height=height, width=width)
    sizes = [f"{width}x{height}" for height, width in settings.shapes]
    targets = targets_of(found.rows, model=settings.models[0], sizes=sizes, threads=settings.threads)
    if engine.instruction_sets:
        found.notes += [*clock_notes(peaks.instructions), *map(str, targets)]
    return Report(
        command="cpu",
        arguments=arguments,
        created=utc_now(),
        machine=machine,
        settings={"seconds": settings.seconds, "targets": [target.to_dict() for target in targets]},
        peaks=peaks.to_dict(),
        rows=found.rows,
        notes=[*warning(machine), *dict.fromkeys(found.notes)],
    )


def _jobs(settings: Settings, engine: Engine, scratch: Path, found: _Found, say: Callable[[str], None]) -> list[_Job]:
    """The first model at every size, the others at the first."""
    jobs: list[_Job] = []
    for index, name in enumerate(settings.models):
        say(f"reading {name}")
        model, notes = read_model(name, scratch, say)
        contestants, more = find_contestants(
            model,
            engine,
            wanted=settings.instruction_sets,
            threads=settings.threads,
            single=index == 0,
            compiled=index == 0 and settings.compiled,
        )
        found.notes += [*notes, *more]
        if not contestants:
            raise UsageError(f"nobody can run {name} here: {'; '.join(found.notes)}")
        shapes = settings.shapes if index == 0 else settings.shapes[:1]
        jobs += [_Job(model, height, width, contestants) for height, width in shapes]
    return jobs


def _time(jobs: Sequence[_Job], peaks: Peaks, settings: Settings, progress: Progress) -> list[Row]:
    """Rows of all heats, once the peaks have been measured before each of them."""
    heats: list[list[Entry]] = []
    for index, job in enumerate(jobs):

        def report(text: str, part: float, index: int = index, job: _Job = job) -> None:
            progress(f"{job.model.name}, {job.size}: {text}", _END * (index + part) / len(jobs))

        peaks.measure(min(PEAK_S, settings.seconds))
        heats.append(
            run_heat(job.model, job.contestants, job.height, job.width, seconds=settings.seconds, progress=report)
        )
    return [
        row
        for job, entries in zip(jobs, heats, strict=True)
        for row in rows_of(
            entries,
            model=job.model.name,
            size=job.size,
            macs=job.macs,
            instructions=peaks.instructions,
            products=peaks.products,
        )
    ]


def _memory_rows(job: _Job, rows: Sequence[Row], shape: tuple[int, int], say: Callable[[str], None]) -> list[Row]:
    """Everybody with all threads but PyTorch, in the way that was the fastest at the largest size."""
    threads = max(one.threads for one in job.contestants)
    taken: list[Row] = []
    for one in job.contestants:
        if one.runtime not in (NATIVE, *OTHERS) or one.features or one.threads != threads:
            continue
        same = [row for row in rows if row.key["model"] == job.model.name and one.key.items() <= row.key.items()]
        if same[-1].timing is not None:
            say(f"memory of {one}")
            taken.append(memory_row(job.model.name, one, same[-1].key["way"], *shape, scale=job.model.info.scale))
    return taken
