"""One family at one shape: everybody is tried alone, verified, then timed in turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.contestant import Contestant, Family, native_batch, run_native
from repsr_deploy.bench.machine import available_memory_bytes
from repsr_deploy.bench.memory import try_alone
from repsr_deploy.bench.pictures import photographs_like
from repsr_deploy.bench.report import Row
from repsr_deploy.bench.timing import Timing, time_side_by_side
from repsr_deploy.bench.verify import loosest, psnr_db, why_wrong
from repsr_deploy.errors import RepsrError
from repsr_deploy.runtimes import open_runtime

T = TypeVar("T")
Progress = Callable[[str, float], None]
"""Told what is being done, and what part of the whole is done, 0 to 1."""
MEMORY_SHARE = 0.8
"""Of the free memory, which those who take turns may fill together."""
WARMUP_SHARE, LONGEST_WARMUP_S = 0.25, 2.0
"""Warm-up: a share of the measurement, but no longer than processors and GPUs take to reach a steady clock."""
TRIALS_SHARE = 0.4
"""Of the progress, until the turns begin."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What all contestants share."""

    count: int
    """Images of a batch."""
    height: int
    """Of the input, LR pixels."""
    width: int
    threads: int
    seconds: float
    """Of counted rounds."""

    @property
    def key(self) -> dict[str, str]:
        """Its part of a row's key."""
        return {"input": f"{self.width}x{self.height}", "batch": str(self.count)}


@dataclass
class Entry:
    """What becomes of a contestant."""

    contestant: Contestant
    resident_bytes: int | None = None
    verified_db: float | None = None
    timing: Timing | None = None
    failure: str = ""

    def try_alone(self, conditions: Conditions) -> None:
        """Find out whether it runs at all, and in how much memory."""
        trial = try_alone(self.contestant, conditions.count, conditions.height, conditions.width, conditions.threads)
        self.resident_bytes, self.failure = trial.resident_bytes, trial.failure

    def attempt(self, action: Callable[[], T]) -> T | None:
        """Do something for the contestant. A failure is its own, and it takes part in nothing after that."""
        if self.failure:
            return None
        try:
            return action()
        except MemoryError as error:
            self.failure = f"not enough memory: {error}"
        except RepsrError as error:
            self.failure = str(error)
        return None

    def verify(self, output: NDArray[Any], reference_nchw: NDArray[np.float32]) -> None:
        """Compare what it makes of the pictures with what the fp32 reference makes of them."""
        rounded = output.dtype == np.uint8
        output_db = psnr_db(output, _rounded(reference_nchw) if rounded else reference_nchw)
        precision = loosest(self.contestant.stored, self.contestant.computes)
        self.failure = why_wrong(output_db, precision, rounded=rounded)
        self.verified_db = None if math.isnan(output_db) else output_db

    def row(self, family: Family, conditions: Conditions) -> Row:
        """Its row, without a speed where it failed."""
        figures: dict[str, float | None] = {"verified_db": self.verified_db, "resident_bytes": self.resident_bytes}
        key = {**self.contestant.key, **conditions.key}
        if self.failure or self.timing is None:
            return Row(key=key, failure=self.failure, figures=figures)
        images_per_s = conditions.count / self.timing.median_s
        pixels = conditions.height * conditions.width
        macs_per_pixel = family.macs_per_lr_pixel.get(self.contestant.form)
        macs_per_s = None if macs_per_pixel is None else macs_per_pixel * pixels * images_per_s
        figures |= {
            "images_per_s": images_per_s,
            "megapixels_per_s": images_per_s * pixels * family.info.scale**2 / 1e6,
            "macs_per_s": macs_per_s,
        }
        return Row(key=key, timing=self.timing, figures=figures)


def measure_family(family: Family, conditions: Conditions, progress: Progress) -> tuple[list[Row], list[str]]:
    """A row for every contestant of a family, and notes.

    Raises:
        RepsrError, MemoryError: ONNX Runtime cannot run the reference.
    """
    where = f"{family.contestants[0].model}, {conditions.key['input']}, batch {conditions.count}"
    entries = [Entry(contestant) for contestant in family.contestants]
    for done, entry in enumerate(entries):
        progress(f"{where}: memory", TRIALS_SHARE * done / len(entries))
        entry.try_alone(conditions)
    if all(entry.failure for entry in entries):
        return [entry.row(family, conditions) for entry in entries], []
    images_nhwc = photographs_like(conditions.count, conditions.height, conditions.width)
    if family.info.colour == "y":
        images_nhwc = images_nhwc[..., 1:2]
    runtime = open_runtime(family.reference, "onnxruntime", threads=conditions.threads, precision="fp32")
    reference_nchw = runtime.run(native_batch(runtime.info, images_nhwc))
    del runtime
    heats = fitting_together([entry for entry in entries if not entry.failure], available_memory_bytes())
    for index, heat in enumerate(heats):

        def report(part: float, index: int = index) -> None:
            progress(f"{where}: timing", TRIALS_SHARE + (1 - TRIALS_SHARE) * (index + part) / len(heats))

        report(0.0)
        _time(heat, images_nhwc, reference_nchw, conditions, report)
    notes = [f"{where}: {len(heats)} groups took their turns apart, as memory is short"] if len(heats) > 1 else []
    return [entry.row(family, conditions) for entry in entries], notes


def fitting_together(entries: Sequence[Entry], available_bytes: int | None) -> list[list[Entry]]:
    """Cut a list of entries into groups that fit in memory together, one entry at least in each."""
    heats: list[list[Entry]] = []
    room = 0.0
    for entry in entries:
        need = entry.resident_bytes or 0
        if not heats or need > room:
            heats.append([])
            room = float("inf") if available_bytes is None else MEMORY_SHARE * available_bytes
        heats[-1].append(entry)
        room -= need
    return heats


def _time(
    heat: Sequence[Entry],
    images_nhwc: NDArray[np.uint8],
    reference_nchw: NDArray[np.float32],
    conditions: Conditions,
    progress: Callable[[float], None],
) -> None:
    """Verify and time those who take their turns together."""
    ready: dict[str, Callable[[], Any]] = {}
    for index, entry in enumerate(heat):
        run = entry.attempt(partial(_opened, entry.contestant, images_nhwc, conditions.threads))
        output = None if run is None else entry.attempt(run)
        if run is not None and output is not None:
            entry.verify(output, reference_nchw)
            if not entry.failure:
                ready[str(index)] = partial(entry.attempt, run)
    if not ready:
        return
    warmup_s = min(WARMUP_SHARE * conditions.seconds, LONGEST_WARMUP_S)
    timings = time_side_by_side(ready, seconds=conditions.seconds, warmup_s=warmup_s, progress=progress)
    for name, timing in timings.items():
        heat[int(name)].timing = timing


def _opened(contestant: Contestant, images_nhwc: NDArray[np.uint8], threads: int) -> Callable[[], NDArray[Any]]:
    """A contestant's run on these pictures."""
    runtime = contestant.open(threads)
    return partial(run_native, runtime, native_batch(runtime.info, images_nhwc))


def _rounded(batch_nchw: NDArray[np.float32]) -> NDArray[np.uint8]:
    """As `Runtime.run_images` would give it."""
    return np.rint(batch_nchw.transpose(0, 2, 3, 1) * np.float32(255)).astype(np.uint8)
