"""Who is how fast, with proof that all compute the same picture: `repsr-bench throughput`."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from repsr_deploy.bench.contestant import CHANNELS_LAST, PYTORCH, Contestant, Family
from repsr_deploy.bench.families import Selection, find_families
from repsr_deploy.bench.machine import describe_machine, warning
from repsr_deploy.bench.peak import ProcessorPeak
from repsr_deploy.bench.report import Report, Row, utc_now
from repsr_deploy.bench.turns import Conditions, Progress, measure_family
from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.metrics.evaluate import evaluate
from repsr_deploy.runtimes import ON_PROCESSORS

PEAK_SHARE, LONGEST_PEAK_S = 0.1, 1.0
"""Time for the processor's peak before each measurement: a share of that, with an end."""
ON_PROCESSOR = (*ON_PROCESSORS, PYTORCH, CHANNELS_LAST)
"""Runtimes whose speed is a share of the processor's peak."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to measure, and how long."""

    selection: Selection = field(default_factory=Selection)
    shapes: tuple[tuple[int, int], ...] = ((360, 640),)
    """(H, W) of the input, LR pixels."""
    batches: tuple[int, ...] = (1,)
    threads: int = 1
    seconds: float = 10.0
    """Of counted rounds for each model, shape and batch."""
    hr: tuple[Path, ...] = ()
    """HR pictures on which PSNR-Y is measured; none to leave that out."""

    def __post_init__(self) -> None:
        if not self.shapes or min(map(min, self.shapes)) < 1:
            raise UsageError(f"shapes are {self.shapes}; expected (height, width) in pixels, one or more")
        if not self.batches or min(self.batches) < 1:
            raise UsageError(f"batches are {self.batches}; expected numbers of images, one or more")
        if self.threads < 1 or not self.seconds > 0:
            raise UsageError(f"threads {self.threads}, seconds {self.seconds:g}; expected 1 or more, and more than 0")


def measure_throughput(models: Sequence[str], settings: Settings, *, arguments: str, progress: Progress) -> Report:
    """Measure models in every runtime, precision and form that is selected and can be had here.

    Args:
        models: bundled names, .onnx files, checkpoints, engines. Exported models of a shorter precision, engines and
            models of io `image` are compared with the fp32 model of the same network among them.
        arguments: the command line, for the report.

    Raises:
        UsageError: a model is no file, has no reference, or nobody is left to measure.
        RepsrError: a model or an HR picture cannot be read, or ONNX Runtime cannot run a reference.
    """
    machine = describe_machine(settings.threads)
    with tempfile.TemporaryDirectory(prefix="repsr-bench-") as scratch:
        families, notes = find_families(models, settings.selection, Path(scratch), lambda text: progress(text, 0.0))
        members = [one for family in families for one in family.contestants if one.runtime in ON_PROCESSOR]
        peak = ProcessorPeak(settings.threads, {one.computes for one in members})
        rows: list[Row] = []
        groups = [*itertools.product(families, settings.shapes, settings.batches)]
        for index, (family, (height, width), count) in enumerate(groups):

            def report(text: str, part: float, index: int = index) -> None:
                progress(text, (index + part) / len(groups))

            peak.measure(min(PEAK_SHARE * settings.seconds, LONGEST_PEAK_S))
            conditions = Conditions(
                count=count, height=height, width=width, threads=settings.threads, seconds=settings.seconds
            )
            found, said = _measured(family, conditions, report)
            rows += with_gain(found)
            notes += said
        if settings.hr:
            rows = _with_quality(rows, families, settings, progress)
    if members and not peak.macs_per_s:
        notes.append("the processor's peak is not measured: that needs OpenVINO; `pip install repsr-deploy[cpu]`")
    return Report(
        command="throughput",
        arguments=arguments,
        created=utc_now(),
        machine=machine,
        settings={"seconds": settings.seconds, "hr": _named(settings.hr)},
        peaks=dict(peak.macs_per_s),
        rows=[_with_share(row, peak.macs_per_s) for row in rows],
        notes=[*warning(machine), *dict.fromkeys(notes)],
    )


def _measured(family: Family, conditions: Conditions, progress: Progress) -> tuple[list[Row], list[str]]:
    try:
        return measure_family(family, conditions, progress)
    except MemoryError as error:
        failure = f"not enough memory for the fp32 reference: {error}"
        return [Row(key={**one.key, **conditions.key}, failure=failure) for one in family.contestants], []


def with_gain(rows: Sequence[Row]) -> list[Row]:
    """Say of each folded network how many times faster it is than with branches, in the same runtime and precision."""

    def place(row: Row) -> tuple[str, ...]:
        return tuple(text for name, text in row.key.items() if name != "network")

    slow = {place(row): row.timing.median_s for row in rows if row.key["network"] == "branches" and row.timing}
    return [
        replace(row, figures={**row.figures, "faster_than_branches": slow[place(row)] / row.timing.median_s})
        if row.timing and row.key["network"] == "folded" and place(row) in slow
        else row
        for row in rows
    ]


def _with_share(row: Row, peaks: Mapping[str, float]) -> Row:
    """Say what share of the processor's peak in the same precision a row reaches."""
    macs_per_s, peak = row.figures.get("macs_per_s"), peaks.get(row.key["computes"])
    if macs_per_s is None or peak is None or row.key["runtime"] not in ON_PROCESSOR:
        return row
    return replace(row, figures={**row.figures, "peak_share": macs_per_s / peak})


def _with_quality(rows: Sequence[Row], families: Sequence[Family], settings: Settings, progress: Progress) -> list[Row]:
    """PSNR-Y of every contestant who has a speed somewhere; the failure where it cannot be measured."""
    fast = {_place(row.key) for row in rows if row.timing}
    able = [(family, one) for family in families for one in family.contestants if _place(one.key) in fast]
    scores: dict[tuple[str, ...], float | None] = {}
    for done, (family, contestant) in enumerate(able):
        progress(f"PSNR-Y of {contestant.model}, {contestant.runtime} {contestant.computes}", done / len(able))
        scores[_place(contestant.key)] = _psnr_y_db(contestant, family.info.scale, settings)
    return [replace(row, figures={**row.figures, "psnr_y_db": scores.get(_place(row.key))}) for row in rows]


def _psnr_y_db(contestant: Contestant, scale: int, settings: Settings) -> float | None:
    upscaler = Upscaler(contestant.open(settings.threads))
    report = evaluate(upscaler.upscale, scale, settings.hr, metrics=("psnr_y",), bicubic=False)
    return report.model.psnr_y


def _named(hr: Sequence[Path]) -> str | None:
    """`24 pictures of kodak24`."""
    return f"{len(hr)} pictures of {hr[0].parent.name}" if hr else None


def _place(key: Mapping[str, str]) -> tuple[str, ...]:
    """Who a row is of, whatever the shape."""
    return tuple(text for name, text in key.items() if name not in ("input", "batch"))
